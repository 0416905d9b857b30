"""Varying training samples with their boxes: albumentations moves pixels and boxes, mosaic joins four samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from core.learning.planes import FloatArray
from core.learning.variation import AugmentationPlan, change_colors, change_intensity
from core.types import Array

if TYPE_CHECKING:
    import albumentations

GEOMETRY_SHARE = 0.7  # share of the samples that are rotated, scaled and shifted
LEAST_VISIBLE = 0.4  # of a box's area, or it is no object of the sample any more
LEAST_SIDE = 2.0  # of a box in pixels
MOSAIC_MIDDLE = (0.3, 0.7)  # where four samples may meet, as a share of the sides


@dataclass(frozen=True)
class Sample:
    """An input and its objects.

    Attributes:
        image: float32 (height, width, channels).
        box_xyxy: float32 (n, 4).
        labels: int64 (n,) class numbers from 1.
        objects: uint16 (height, width), the number of the object from 1 that a pixel belongs to; None where
            objects have no masks.
        numbers: int64 (n,) each object's number in ``objects``.
    """

    image: FloatArray
    box_xyxy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    objects: Array | None
    numbers: npt.NDArray[np.int64]

    def with_boxes(self, box_xyxy: Array, kept: Array) -> Sample:
        """Return the sample with other boxes, of which only some are kept."""
        boxes = np.asarray(box_xyxy, dtype=np.float32)[kept]
        return replace(self, box_xyxy=boxes, labels=self.labels[kept], numbers=self.numbers[kept])


Augment = Callable[[Sample, int], Sample]


def build_augmentation(plan: AugmentationPlan) -> Augment:
    """Return ``augment(sample, seed) -> sample``; equal seeds give equal results, the input stays as it is."""
    return partial(_augment, plan, _build_geometry(plan))


def cut(sample: Sample, top: int, left: int, size: tuple[int, int]) -> Sample:
    """Cut a window (height, width) out of a sample; what reaches out of it by much is no object any more."""
    window = np.s_[top : top + size[0], left : left + size[1]]
    boxes = sample.box_xyxy - np.array([left, top, left, top], np.float32)
    whole = _areas(boxes)
    boxes = clip(boxes, size)
    kept = (_areas(boxes) >= LEAST_VISIBLE * whole) & is_large_enough(boxes)
    objects = None if sample.objects is None else sample.objects[window]
    return replace(sample.with_boxes(boxes, kept), image=sample.image[window], objects=objects)


def join_four(samples: Sequence[Sample], random: np.random.Generator) -> Sample:
    """Put one sample together from windows of four of its size: objects keep their scale.

    Source: mosaic of Bochkovskiy et al., YOLOv4, 2020.
    """
    height, width = samples[0].image.shape[:2]
    row, column = (int(random.uniform(*MOSAIC_MIDDLE) * length) for length in (height, width))
    parts = []
    image = np.zeros_like(samples[0].image)
    objects = None if samples[0].objects is None else np.zeros((height, width), np.uint16)
    corners = [(0, 0, row, column), (0, column, row, width - column),
               (row, 0, height - row, column), (row, column, height - row, width - column)]  # fmt: skip
    offset = 0
    for sample, (top, left, rows, columns) in zip(samples, corners, strict=True):
        down, right = (int(random.integers(spare + 1)) for spare in (height - rows, width - columns))
        part = cut(sample, down, right, (rows, columns))
        window = np.s_[top : top + rows, left : left + columns]
        image[window] = part.image
        if objects is not None and part.objects is not None:
            objects[window] = np.where(part.objects > 0, part.objects + offset, 0)
        moved = part.box_xyxy + np.array([left, top, left, top], np.float32)
        parts.append((moved, part.labels, part.numbers + offset))
        offset += int(sample.numbers.max(initial=0))
    boxes, labels, numbers = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Sample(image, boxes.astype(np.float32), labels, objects, numbers)


def clip(box_xyxy: Array, size: tuple[int, int]) -> Array:
    """Bring boxes inside an image of (height, width)."""
    return np.clip(box_xyxy, 0, np.array([size[1], size[0], size[1], size[0]], np.float32))


def is_large_enough(box_xyxy: Array) -> npt.NDArray[np.bool_]:
    """Tell which boxes are large enough to learn from."""
    kept: npt.NDArray[np.bool_] = (box_xyxy[:, 2:] - box_xyxy[:, :2]).min(
        axis=1, initial=np.inf
    ) >= LEAST_SIDE
    return kept


def _augment(
    plan: AugmentationPlan, geometry: albumentations.Compose | None, sample: Sample, seed: int
) -> Sample:
    random = np.random.default_rng(seed)
    sample = _mirror(plan, sample, random)
    if geometry is not None:
        geometry.set_random_seed(int(random.integers(2**31)))
        sample = _move(geometry, sample)
    image = change_intensity(plan, change_colors(plan, sample.image, random), random)
    return replace(sample, image=np.ascontiguousarray(image, dtype=np.float32))


def _build_geometry(plan: AugmentationPlan) -> albumentations.Compose | None:
    """Compose rotation, scaling and shifting; None when there is nothing to do, so that nothing is imported."""
    if not (plan.rotation or plan.scale):
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks the network for a newer version
    import albumentations

    shift = plan.scale / 2  # an enlarged image shows any part of itself
    step = albumentations.Affine(
        rotate=(-plan.rotation, plan.rotation),
        scale=(1 / (1 + plan.scale), 1 + plan.scale),
        translate_percent=(-shift, shift),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        border_mode=cv2.BORDER_CONSTANT,
        fill=0,
        rotate_method="ellipse",  # a box of what fills it, not of its corners: cells and lesions are round
        p=GEOMETRY_SHARE,
    )
    boxes = albumentations.BboxParams(
        "pascal_voc", label_fields=["places"], min_visibility=LEAST_VISIBLE, clip=True
    )
    return albumentations.Compose([step], bbox_params=boxes)


def _move(geometry: albumentations.Compose, sample: Sample) -> Sample:
    given: dict[str, Any] = {
        "image": np.ascontiguousarray(sample.image),
        "bboxes": clip(sample.box_xyxy, sample.image.shape[:2]),
        "places": np.arange(len(sample.box_xyxy)),
    }
    if sample.objects is not None:
        given["mask"] = np.ascontiguousarray(sample.objects)
    moved = geometry(**given)
    places = np.asarray(moved["places"], dtype=np.int64)
    boxes = np.asarray(moved["bboxes"], dtype=np.float32).reshape(-1, 4)
    kept = is_large_enough(boxes)
    return Sample(
        moved["image"].reshape(sample.image.shape),
        boxes[kept],
        sample.labels[places][kept],
        moved["mask"] if sample.objects is not None else None,
        sample.numbers[places][kept],
    )


def _mirror(plan: AugmentationPlan, sample: Sample, random: np.random.Generator) -> Sample:
    """Mirror and turn by quarters as views; all eight positions are equally likely where all are allowed."""
    image, objects, boxes = sample.image, sample.objects, sample.box_xyxy
    height, width = image.shape[:2]
    across, down, transpose = random.random(3) < 0.5
    if plan.flip_x and across:
        image, objects = image[:, ::-1], None if objects is None else objects[:, ::-1]
        boxes = mirror_boxes(boxes, width, axis=0)
    if plan.flip_y and down:
        image, objects = image[::-1], None if objects is None else objects[::-1]
        boxes = mirror_boxes(boxes, height, axis=1)
    if plan.rotate90 and transpose and height == width:
        image, objects = image.transpose(1, 0, 2), None if objects is None else objects.T
        boxes = boxes[:, [1, 0, 3, 2]]
    return replace(sample, image=image, objects=objects, box_xyxy=boxes)


def mirror_boxes(box_xyxy: Array, length: int, axis: int) -> npt.NDArray[np.float32]:
    """Mirror boxes (n, 4) along x (axis 0) or y (axis 1) of an image of this length."""
    mirrored = np.array(box_xyxy, dtype=np.float32)
    mirrored[:, axis], mirrored[:, axis + 2] = length - box_xyxy[:, axis + 2], length - box_xyxy[:, axis]
    return mirrored


def _areas(box_xyxy: Array) -> Array:
    return np.asarray((box_xyxy[:, 2:] - box_xyxy[:, :2]).clip(0).prod(axis=1))
