"""Training samples: every plane decoded once into one memory-mapped cache, then cut and varied per epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from core.learning import plane_cache
from core.learning.plane_cache import OnItem, PlaneImages, flat_plane, plane_shape, write_flat
from core.learning.planes import fit_mask, fit_to_grid, grid_shape
from core.learning.snapshot import Snapshot, SnapshotItem
from core.tasks.segmentation.augmentation import Augment
from core.tasks.segmentation.planning import Plan, read_labels
from core.types import Array, Label, Split

CLASSES_FILE = "classes.bin"
FORMAT = "sightline-planes/2"
MARKED_CROPS = 0.5  # share of the crops that are centred on a marked pixel
MOST_CROPS = 16  # crops of one plane in an epoch


@dataclass(frozen=True)
class PlaneCache:
    """All planes of a split at the network's grid with their class numbers, on disk, read as touched.

    Attributes:
        images: the planes' values.
        classes: uint8 or uint16 class numbers (0 is background), flat as the images are.
        marked: (planes,) whether any pixel is marked.
    """

    images: PlaneImages
    classes: Array
    marked: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shapes(self) -> npt.NDArray[np.int64]:
        """(planes, 2) height and width of each plane."""
        return self.images.shapes

    @property
    def items(self) -> npt.NDArray[np.int64]:
        """(planes,) number of the item in the split that a plane is from."""
        return self.images.items

    @property
    def slices(self) -> npt.NDArray[np.int64]:
        """(planes,) index of the plane in its image."""
        return self.images.slices

    def plane(self, number: int) -> tuple[Array, Array]:
        """Return a plane's values (height, width, channels) float16 and class numbers (height, width)."""
        return self.images.plane(number), flat_plane(self.classes, self.images, number)


class SampleKey(NamedTuple):
    """Everything a sample depends on."""

    plane: int
    seed: int
    height: int
    width: int


class Batch(NamedTuple):
    """A step's input. Images float32 (N, C, H, W), channels last in memory; targets int64 (N, H, W)."""

    images: torch.Tensor
    targets: torch.Tensor
    planes: torch.Tensor


def open_cache(
    snapshot: Snapshot,
    split: Split,
    plan: Plan,
    folder: Path,
    on_item: OnItem,
) -> PlaneCache:
    """Open a split's cache, building it when it is not there or belongs to other data.

    Args:
        snapshot: the data.
        split: which part of it.
        plan: its preprocessing decides what is cached.
        folder: where the cache lies; made anew when it does not fit.
        on_item: told (items done, items) while building; may raise to stop.

    Raises:
        TrainingError: when an image or reading cannot be used.
        StorageError: when the disk is full.
    """
    items = snapshot.of_split(split)
    identity = f"{FORMAT} {snapshot.sha256} {split} {plan.preprocessing.model_dump_json()}"
    index = plane_cache.open_cache(
        folder, identity, lambda empty: _build(items, snapshot.labels, plan, empty, on_item)
    )
    return PlaneCache(
        plane_cache.open_images(folder, index),
        np.memmap(folder / CLASSES_FILE, str(index["class_type"]), "r"),
        np.array(index["marked"], dtype=bool),
    )


def class_numbers(labels: tuple[Label, ...], mask: Array) -> Array:
    """Turn label values into class numbers: the labels' places in the label set, from 1. Unknown values are 0."""
    table = np.zeros(max(int(mask.max(initial=0)), *(label.value for label in labels)) + 1, np.uint16)
    for number, label in enumerate(labels, start=1):
        table[label.value] = number
    return table[mask].astype(np.uint8 if len(labels) < 256 else np.uint16)


class SampleMaker:
    """Makes batches from keys: cut or resize a plane, vary it, stack. Same keys, same batch, in any process."""

    def __init__(self, cache: PlaneCache, augment: Augment, crops: bool) -> None:
        """Make a maker.

        Args:
            cache: where planes come from.
            augment: varies one sample.
            crops: cut windows out of planes instead of resizing whole ones.
        """
        self._cache = cache
        self._augment = augment
        self._crops = crops

    def __call__(self, keys: Sequence[SampleKey]) -> Batch:
        """Return the batch of these keys; all must have one size."""
        samples = [self._sample(key) for key in keys]
        # Stacked with channels last, then only the view is turned: no copy for the network's favourite layout.
        images = torch.from_numpy(np.stack([image for image, _ in samples])).permute(0, 3, 1, 2)
        targets = torch.from_numpy(np.stack([classes for _, classes in samples]).astype(np.int64))
        return Batch(images, targets, torch.tensor([key.plane for key in keys]))

    def _sample(self, key: SampleKey) -> tuple[Array, Array]:
        image, classes = self._cache.plane(key.plane)
        random = np.random.default_rng(key.seed)
        if self._crops:
            image, classes = _crop(image, classes, (key.height, key.width), random)
            values = image.astype(np.float32)
        else:
            values = fit_to_grid(image.astype(np.float32), (key.height, key.width))
            classes = fit_mask(classes, (key.height, key.width))
        return self._augment(values, classes, int(random.integers(2**31)))


def crops_per_plane(cache: PlaneCache, plan: Plan) -> npt.NDArray[np.int64]:
    """Return how many samples each plane gives in an epoch: 1 whole plane, or crops.

    Crops grow with the plane's side, not its area: between all planes and all pixels counting alike.
    """
    if plan.preprocessing.fit == "resize":
        return np.ones(len(cache), dtype=np.int64)
    window = plan.preprocessing.input_height * plan.preprocessing.input_width
    return np.clip(np.rint(np.sqrt(cache.shapes.prod(axis=1) / window)), 1, MOST_CROPS).astype(np.int64)


def _build(
    items: tuple[SnapshotItem, ...],
    labels: tuple[Label, ...],
    plan: Plan,
    folder: Path,
    on_item: OnItem,
) -> plane_cache.Index:
    """Write images and classes; return the index."""
    preprocessing = plan.preprocessing
    class_type = np.dtype(np.uint8 if len(labels) < 256 else np.uint16)

    def grid_of(item: SnapshotItem) -> tuple[int, int]:
        return grid_shape(plane_shape(item), item.info, preprocessing)

    index = plane_cache.write_images(
        folder, items, grid_of, preprocessing, on_item, extra_bytes=class_type.itemsize
    )
    marked: list[bool] = []

    def planes() -> Iterator[Array]:
        for item in items:
            numbers = class_numbers(labels, read_labels(item))
            for plane in numbers.reshape(item.info.slices, *plane_shape(item)):
                fitted = fit_mask(plane, grid_of(item))
                marked.append(bool(fitted.any()))
                yield fitted

    total = sum(height * width for height, width in index["shapes"])
    write_flat(folder / CLASSES_FILE, class_type, planes(), total)
    return index | {"marked": marked, "class_type": class_type.name}


def _crop(
    image: Array, classes: Array, size: tuple[int, int], random: np.random.Generator
) -> tuple[Array, Array]:
    """Cut a window, half of them around a marked pixel; planes smaller than it are mirrored outwards first."""
    image, classes = _enlarge(image, classes, size)
    spare = [have - want for have, want in zip(classes.shape, size, strict=True)]
    top, left = (int(random.integers(length + 1)) for length in spare)
    if random.random() < MARKED_CROPS:
        places = np.flatnonzero(classes)
        if places.size:
            row, column = divmod(int(places[random.integers(places.size)]), classes.shape[1])
            top = int(np.clip(row - random.integers(size[0]), 0, spare[0]))
            left = int(np.clip(column - random.integers(size[1]), 0, spare[1]))
    window = np.s_[top : top + size[0], left : left + size[1]]
    return image[window], classes[window]


def middle_window(image: Array, classes: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Cut the window in the middle of a plane; smaller planes are mirrored outwards first."""
    image, classes = _enlarge(image, classes, size)
    top, left = ((have - want) // 2 for have, want in zip(classes.shape, size, strict=True))
    window = np.s_[top : top + size[0], left : left + size[1]]
    return image[window], classes[window]


def _enlarge(image: Array, classes: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Mirror a plane outwards at its lower and right border until it has at least this size."""
    missing = [max(0, want - have) for have, want in zip(classes.shape, size, strict=True)]
    if not any(missing):
        return image, classes
    padding = [(0, missing[0]), (0, missing[1])]
    return np.pad(image, [*padding, (0, 0)], mode="symmetric"), np.pad(classes, padding, mode="symmetric")
