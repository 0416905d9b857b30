"""Varying training samples: albumentations moves pixels here, ``core.learning.variation`` changes intensities."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from core.learning.planes import FloatArray
from core.learning.variation import RARE_SHARE, AugmentationPlan, change_colors, change_intensity
from core.types import Array

if TYPE_CHECKING:
    import albumentations

Augment = Callable[[FloatArray, Array, int], tuple[FloatArray, Array]]

GEOMETRY_SHARE = 0.5  # share of the samples that are rotated and scaled


def build_augmentation(plan: AugmentationPlan) -> Augment:
    """Return ``augment(image, mask, seed) -> (image, mask)``; equal seeds give equal results.

    The image is float32 (height, width, channels) with values of mean about 0, the mask uint8 or uint16 (yx).
    The result may be a view of the input, never a changed input.
    """
    return partial(_augment, plan, _build_geometry(plan))


def preview_samples(
    picture: Array, mask: Array | None, plan: AugmentationPlan, count: int, seed: int
) -> list[tuple[Array, Array | None]]:
    """Return augmented copies of a display picture (uint8 yx or yxc) and its label map."""
    values = picture.astype(np.float32).reshape(*picture.shape[:2], -1)
    mean, deviation = float(values.mean()), float(values.std()) or 1.0
    labels = np.zeros(picture.shape[:2], np.uint8) if mask is None else np.ascontiguousarray(mask)
    augment = build_augmentation(plan)
    samples: list[tuple[Array, Array | None]] = []
    for number in range(count):
        image, moved = augment((values - mean) / deviation, labels, seed + number)
        shown = np.clip(np.rint(image * deviation + mean), 0, 255).astype(np.uint8)
        samples.append((shown[..., 0] if picture.ndim == 2 else shown, None if mask is None else moved))
    return samples


def _augment(
    plan: AugmentationPlan, geometry: albumentations.Compose | None, image: FloatArray, mask: Array, seed: int
) -> tuple[FloatArray, Array]:
    random = np.random.default_rng(seed)
    image, mask = _mirror(plan, image, mask, random)
    if geometry is not None:
        geometry.set_random_seed(int(random.integers(2**31)))
        moved = geometry(image=np.ascontiguousarray(image), mask=np.ascontiguousarray(mask))
        image, mask = moved["image"].reshape(*mask.shape, -1), moved["mask"]
    image = change_colors(plan, image, random)
    image = change_intensity(plan, image, random)
    return np.ascontiguousarray(image, dtype=np.float32), np.ascontiguousarray(mask)


def _build_geometry(plan: AugmentationPlan) -> albumentations.Compose | None:
    """Compose rotation, scaling and bending; None when there is nothing to do, so that nothing is imported."""
    if not (plan.rotation or plan.scale or plan.elastic):
        return None
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks the network for a newer version
    import albumentations

    steps: list[Any] = []
    if plan.rotation or plan.scale:
        steps.append(
            albumentations.Affine(
                rotate=(-plan.rotation, plan.rotation),
                scale=(1 - plan.scale, 1 + plan.scale),
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_NEAREST,
                border_mode=cv2.BORDER_REFLECT_101,
                p=GEOMETRY_SHARE,
            )
        )
    if plan.elastic:
        steps.append(
            albumentations.ElasticTransform(
                alpha=40, sigma=6, border_mode=cv2.BORDER_REFLECT_101, p=RARE_SHARE
            )
        )
    return albumentations.Compose(steps)


def _mirror(
    plan: AugmentationPlan, image: FloatArray, mask: Array, random: np.random.Generator
) -> tuple[FloatArray, Array]:
    """Mirror and turn by quarters as views; all eight positions are equally likely where all are allowed."""
    across, down, transpose = random.random(3) < 0.5
    if plan.flip_x and across:
        image, mask = image[:, ::-1], mask[:, ::-1]
    if plan.flip_y and down:
        image, mask = image[::-1], mask[::-1]
    if plan.rotate90 and transpose and mask.shape[0] == mask.shape[1]:
        image, mask = image.transpose(1, 0, 2), mask.T
    return image, mask
