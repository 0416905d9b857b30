"""Training samples: planes decoded once into a cache, with their boxes; then cut, joined and varied per epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from core.learning import plane_cache
from core.learning.plane_cache import OnItem, PlaneImages, flat_plane, plane_shape, write_flat
from core.learning.planes import fit_mask, fit_to_grid
from core.learning.snapshot import Snapshot, SnapshotItem
from core.readings.reading import Boxes
from core.tasks.detection.augmentation import (
    Sample,
    build_augmentation,
    cut,
    is_large_enough,
    join_four,
)
from core.tasks.detection.frames import pad_to, whole_frame
from core.tasks.detection.planning import Plan, read_boxes
from core.types import Array, Label, Split

FORMAT = "sightline-boxes/1"
OBJECTS_FILE = "objects.bin"
AROUND_OBJECTS = 0.7  # share of the crops that show a chosen object whole
MOST_CROPS = 16  # crops of one plane in an epoch

Targets = list[dict[str, torch.Tensor]]


class PlaneBoxes(NamedTuple):
    """The objects of one plane, in pixels of the image.

    Attributes:
        box_xyxy: float32 (n, 4).
        labels: int64 (n,) class numbers from 1.
    """

    box_xyxy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class BoxCache:
    """All planes of a split at the scale the network sees, and their objects.

    Attributes:
        images: the planes' values.
        boxes: of each plane, in pixels of the image.
        sizes: (planes, 2) height and width of each plane in its image.
        objects: uint16 numbers of objects, flat as the images are; None where objects have no masks.
        readings: the cases' references.
    """

    images: PlaneImages
    boxes: tuple[PlaneBoxes, ...]
    sizes: npt.NDArray[np.int64]
    objects: Array | None
    readings: tuple[Boxes, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def marked(self) -> npt.NDArray[np.bool_]:
        """(planes,) whether there is any object."""
        return np.array([len(one.labels) > 0 for one in self.boxes])

    def sample(self, number: int) -> Sample:
        """Return a plane with its objects, in pixels of the cache."""
        image, found = self.images.plane(number), self.boxes[number]
        scale = self.images.shapes[number] / self.sizes[number]
        boxes = found.box_xyxy * np.array([scale[1], scale[0], scale[1], scale[0]], np.float32)
        objects = None if self.objects is None else flat_plane(self.objects, self.images, number)
        numbers = np.arange(1, len(found.labels) + 1)
        return Sample(image, boxes.astype(np.float32), found.labels, objects, numbers)


class SampleKey(NamedTuple):
    """Everything a sample depends on; ``is_calm`` near the end of a training, see ``Plan.calm_from``."""

    plane: int
    seed: int
    height: int
    width: int
    is_calm: bool = False


class Batch(NamedTuple):
    """A step's input: images float32 (N, C, H, W), channels last in memory; targets as torchvision wants them."""

    images: torch.Tensor
    targets: Targets
    planes: torch.Tensor


def open_cache(snapshot: Snapshot, split: Split, plan: Plan, folder: Path, on_item: OnItem) -> BoxCache:
    """Open a split's cache, building it when it is not there or belongs to other data.

    Args:
        snapshot: the data.
        split: which part of it.
        plan: its preprocessing and framing decide what is cached.
        folder: where the cache lies; made anew when it does not fit.
        on_item: told (items done, items) while building; may raise to stop.

    Raises:
        TrainingError: when an image or reading cannot be used.
        StorageError: when the disk is full.
    """
    items = snapshot.of_split(split)
    readings = [read_boxes(item, snapshot.labels) for item in items]
    identity = " ".join(
        (FORMAT, snapshot.sha256, split, str(plan.spec.has_masks),
         plan.preprocessing.model_dump_json(), plan.framing.model_dump_json())
    )  # fmt: skip
    index = plane_cache.open_cache(
        folder, identity, lambda empty: _build(items, readings, plan, empty, on_item)
    )
    boxes = [
        plane_boxes(reading, index, snapshot.labels)
        for item, reading in zip(items, readings, strict=True)
        for index in range(item.info.slices)
    ]
    return BoxCache(
        plane_cache.open_images(folder, index),
        tuple(boxes),
        np.array([plane_shape(item) for item in items for _ in range(item.info.slices)]),
        np.memmap(folder / OBJECTS_FILE, np.uint16, "r") if plan.spec.has_masks else None,
        tuple(readings),
    )


def plane_boxes(reading: Boxes, index: int, labels: tuple[Label, ...]) -> PlaneBoxes:
    """Return the objects of one plane, with labels as class numbers: their places in the label set, from 1."""
    chosen = reading.planes == index
    place = {label.value: number for number, label in enumerate(labels, start=1)}
    numbers = np.array([place[value] for value in reading.labels[chosen].tolist()], np.int64)
    return PlaneBoxes(reading.box_xyxy[chosen], numbers)


class SampleMaker:
    """Makes batches from keys: cut, resize, join, vary, stack. Same keys, same batch, in any process."""

    def __init__(self, cache: BoxCache, plan: Plan) -> None:
        self._cache = cache
        self._augment = build_augmentation(plan.augmentation)
        self._augment_calmly = build_augmentation(replace(plan.augmentation, rotation=0, scale=0))
        self._plan = plan

    def __call__(self, keys: Sequence[SampleKey]) -> Batch:
        """Return the batch of these keys; all must have one size."""
        samples = [self._sample(key) for key in keys]
        # Stacked with channels last, then only the view is turned: no copy for the network's favourite layout.
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
        targets = [target_of(sample) for sample in samples]
        return Batch(images, targets, torch.tensor([key.plane for key in keys]))

    def _sample(self, key: SampleKey) -> Sample:
        random = np.random.default_rng(key.seed)
        sample = self._fitted(key.plane, (key.height, key.width), random)
        if random.random() < self._plan.mosaic and not key.is_calm:
            others = random.integers(len(self._cache), size=3).tolist()
            four = [sample, *(self._fitted(one, (key.height, key.width), random) for one in others)]
            sample = join_four(four, random)
        augment = self._augment_calmly if key.is_calm else self._augment
        return augment(sample, int(random.integers(2**31)))

    def _fitted(self, plane: int, size: tuple[int, int], random: np.random.Generator) -> Sample:
        """Return a plane, or a crop of it, at the input's size."""
        sample = self._cache.sample(plane)
        if self._plan.framing.mode == "tiles":
            return pad_sample(_crop(sample, size, random), size)
        share = min(size[0] / self._plan.input_size[0], size[1] / self._plan.input_size[1])
        return pad_sample(_resize(sample, share), size)


def target_of(sample: Sample) -> dict[str, torch.Tensor]:
    """Return a sample's objects as torchvision's networks want them."""
    target = {"boxes": torch.from_numpy(sample.box_xyxy), "labels": torch.from_numpy(sample.labels)}
    if sample.objects is not None:
        masks = sample.objects[None] == sample.numbers[:, None, None]
        target["masks"] = torch.from_numpy(masks.astype(np.uint8))
    return target


def crops_per_plane(cache: BoxCache, plan: Plan) -> npt.NDArray[np.int64]:
    """Return how many samples each plane gives in an epoch: 1 whole plane, or crops, growing with its side."""
    if plan.framing.mode == "whole":
        return np.ones(len(cache), dtype=np.int64)
    window = plan.input_size[0] * plan.input_size[1]
    return np.clip(np.rint(np.sqrt(cache.images.shapes.prod(axis=1) / window)), 1, MOST_CROPS).astype(
        np.int64
    )


def rarity(cache: BoxCache, classes: int) -> npt.NDArray[np.float64]:
    """Return how rare each plane's rarest label is: 1 / share of its boxes, 0 for planes without objects."""
    counts = np.bincount(np.concatenate([one.labels for one in cache.boxes]), minlength=classes + 1)
    weights = counts.sum() / np.maximum(counts, 1)
    return np.array([weights[one.labels].max(initial=0.0) for one in cache.boxes])


def pad_sample(sample: Sample, size: tuple[int, int]) -> Sample:
    """Fill a sample up to (height, width) with zeros; as float32."""
    image = pad_to(np.ascontiguousarray(sample.image, dtype=np.float32), size)
    objects = sample.objects
    if objects is not None and objects.shape != size:
        missing = [(0, want - have) for have, want in zip(objects.shape, size, strict=True)]
        objects = np.pad(objects, missing)
    return Sample(image, sample.box_xyxy, sample.labels, objects, sample.numbers)


def _build(
    items: tuple[SnapshotItem, ...], readings: list[Boxes], plan: Plan, folder: Path, on_item: OnItem
) -> plane_cache.Index:
    """Write images and, for networks with masks, which object each pixel belongs to; return the index."""
    extra = 2 if plan.spec.has_masks else 0
    index = plane_cache.write_images(
        folder, items, lambda item: _grid(item, plan), plan.preprocessing, on_item, extra
    )
    if plan.spec.has_masks:
        total = sum(height * width for height, width in index["shapes"])
        write_flat(folder / OBJECTS_FILE, np.uint16, _object_planes(items, readings, plan), total)
    return index


def _grid(item: SnapshotItem, plan: Plan) -> tuple[int, int]:
    height, width = plane_shape(item)
    if plan.framing.mode == "tiles":
        return max(1, round(height * plan.framing.scale)), max(1, round(width * plan.framing.scale))
    frame = whole_frame((height, width), plan.preprocessing, plan.framing)
    return frame.rows, frame.columns


def _object_planes(items: tuple[SnapshotItem, ...], readings: list[Boxes], plan: Plan) -> Iterator[Array]:
    """Yield, for every plane at its grid, the number of the object that each pixel belongs to."""
    for item, reading in zip(items, readings, strict=True):
        for index in range(item.info.slices):
            chosen = reading.only(reading.planes == index)
            yield fit_mask(paint_objects(chosen, plane_shape(item)), _grid(item, plan))


def paint_objects(boxes: Boxes, shape_yx: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Return the number, from 1, of the object that each pixel belongs to; where several overlap, the last."""
    painted = np.zeros(shape_yx, np.uint16)
    for number, (box, crop) in enumerate(zip(boxes.box_xyxy, boxes.crops or (), strict=True), start=1):
        left, top = (int(value) for value in np.floor(box[:2]))
        painted[top : top + crop.shape[0], left : left + crop.shape[1]][crop] = number
    return painted


def _resize(sample: Sample, share: float) -> Sample:
    if share == 1:
        return sample
    old = sample.image.shape[:2]
    grid = (max(1, round(old[0] * share)), max(1, round(old[1] * share)))
    scale_x, scale_y = grid[1] / old[1], grid[0] / old[0]
    boxes = sample.box_xyxy * np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
    image = fit_to_grid(sample.image.astype(np.float32), grid)
    objects = None if sample.objects is None else fit_mask(np.ascontiguousarray(sample.objects), grid)
    kept = is_large_enough(boxes)
    return Sample(image, boxes[kept], sample.labels[kept], objects, sample.numbers[kept])


def _crop(sample: Sample, size: tuple[int, int], random: np.random.Generator) -> Sample:
    """Cut a window; most of them so that a chosen object is wholly inside."""
    shape = sample.image.shape[:2]
    window = (min(size[0], shape[0]), min(size[1], shape[1]))
    spare = [have - want for have, want in zip(shape, window, strict=True)]
    corner = [int(random.integers(length + 1)) for length in spare]
    if len(sample.labels) and random.random() < AROUND_OBJECTS:
        box = sample.box_xyxy[random.integers(len(sample.labels))]
        for axis in (0, 1):  # y, x
            low, high = float(box[1 - axis]), float(box[3 - axis])
            first, last = sorted((high - window[axis], low))
            corner[axis] = int(np.clip(random.uniform(first, last), 0, spare[axis]))
    return cut(sample, corner[0], corner[1], window)
