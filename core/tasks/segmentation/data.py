"""Training samples: every plane decoded once into one memory-mapped cache, then cut and varied per epoch."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from core.errors import StorageError, TrainingError
from core.imaging.stored import read_image
from core.learning.snapshot import Snapshot, SnapshotItem
from core.tasks.segmentation.augmentation import Augment
from core.tasks.segmentation.planning import Plan, read_labels
from core.tasks.segmentation.preprocessing import (
    fit_mask,
    fit_to_grid,
    grid_shape,
    measure_scale,
    prepare_plane,
)
from core.types import Array, Label, Split

INDEX_FILE = "index.json"
FORMAT = "sightline-planes/1"
SPARE_BYTES = 2**28  # disk left free after the cache is written
MARKED_CROPS = 0.5  # share of the crops that are centred on a marked pixel
MOST_CROPS = 16  # crops of one plane in an epoch


@dataclass(frozen=True)
class PlaneCache:
    """All planes of a split at the network's grid: float16 values and class numbers, on disk, read as touched.

    Attributes:
        images: float16, all planes flat one after the other.
        classes: uint8 or uint16 class numbers (0 is background), flat in the same way.
        shapes: (planes, 2) height and width of each plane.
        starts: (planes,) first pixel of each plane.
        items: (planes,) number of the item in the split that a plane is from.
        slices: (planes,) index of the plane in its image.
        marked: (planes,) whether any pixel is marked.
        channels: values per pixel.
    """

    images: npt.NDArray[np.float16]
    classes: Array
    shapes: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    slices: npt.NDArray[np.int64]
    marked: npt.NDArray[np.bool_]
    channels: int

    def __len__(self) -> int:
        return len(self.starts)

    def plane(self, number: int) -> tuple[Array, Array]:
        """Return a plane's values (height, width, channels) float16 and class numbers (height, width)."""
        height, width = (int(length) for length in self.shapes[number])
        start, pixels = int(self.starts[number]), height * width
        image = self.images[start * self.channels : (start + pixels) * self.channels]
        return image.reshape(height, width, self.channels), self.classes[start : start + pixels].reshape(
            height, width
        )


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
    on_item: Callable[[int, int], None],
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
    identity = f"{FORMAT} {snapshot.sha256} {split} {plan.preprocessing.model_dump_json()}"
    key = hashlib.sha256(identity.encode()).hexdigest()
    index = _read_index(folder)
    if index is None or index["key"] != key:
        shutil.rmtree(folder, ignore_errors=True)
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            _build(snapshot.of_split(split), snapshot.labels, plan, temporary, key, on_item)
            os.replace(temporary, folder)
        except OSError as error:
            raise StorageError(
                f"The training images could not be cached ({error.strerror}). Free some disk space and try again."
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        index = _read_index(folder)
    if index is None:
        raise StorageError("The cache of the training images is damaged; try again.")
    return _open(folder, index)


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


def sample_seed(seed: int, epoch: int, position: int) -> int:
    """Return the seed of one sample: by training seed, epoch and place in it, so never by worker or timing."""
    return int(np.random.SeedSequence((seed, epoch, position)).generate_state(1, np.uint32)[0])


def _build(
    items: tuple[SnapshotItem, ...],
    labels: tuple[Label, ...],
    plan: Plan,
    folder: Path,
    key: str,
    on_item: Callable[[int, int], None],
) -> None:
    """Write images, classes and, last, the index."""
    preprocessing = plan.preprocessing
    shapes = [
        grid_shape(_plane_shape(item), item.info, preprocessing)
        for item in items
        for _ in range(item.info.slices)
    ]
    starts = np.concatenate([[0], np.cumsum([height * width for height, width in shapes])])
    class_type = np.dtype(np.uint8 if len(labels) < 256 else np.uint16)
    total = int(starts[-1])
    _check_space(folder.parent, total * (2 * preprocessing.channels + class_type.itemsize))
    folder.mkdir(parents=True)
    images = np.memmap(folder / "images.f16", np.float16, "w+", shape=(total * preprocessing.channels,))
    classes = np.memmap(folder / "classes.bin", class_type, "w+", shape=(total,))
    marked: list[bool] = []
    for done, item in enumerate(items):
        for values, numbers in _planes_of(item, labels, plan):
            start = int(starts[len(marked)])
            stop = start + numbers.size
            images[start * preprocessing.channels : stop * preprocessing.channels] = values.ravel()
            classes[start:stop] = numbers.ravel()
            marked.append(bool(numbers.any()))
        on_item(done + 1, len(items))
    images.flush()
    classes.flush()
    index = {
        "key": key,
        "shapes": shapes,
        "items": [number for number, item in enumerate(items) for _ in range(item.info.slices)],
        "slices": [plane for item in items for plane in range(item.info.slices)],
        "marked": marked,
        "channels": preprocessing.channels,
        "class_type": class_type.name,
    }
    (folder / INDEX_FILE).write_text(json.dumps(index))


def _planes_of(item: SnapshotItem, labels: tuple[Label, ...], plan: Plan) -> Iterator[tuple[Array, Array]]:
    """Yield every plane of an item at the network's grid: float16 values and class numbers."""
    try:
        image = read_image(item.image_path, item.info)
        scale = measure_scale(image, plan.preprocessing)
    except (OSError, ValueError) as error:
        raise TrainingError(f"The image of case {item.case_name} cannot be used ({error}).") from error
    numbers = class_numbers(labels, read_labels(item)).reshape(item.info.slices, *_plane_shape(item))
    grid = grid_shape(_plane_shape(item), item.info, plan.preprocessing)
    for index in range(item.info.slices):
        values = prepare_plane(image.plane(index), item.info, plan.preprocessing, scale)
        yield fit_to_grid(values, grid).astype(np.float16), fit_mask(numbers[index], grid)


def _plane_shape(item: SnapshotItem) -> tuple[int, int]:
    height, width = item.info.spatial_shape[-2:]
    return height, width


def _check_space(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise StorageError(
            f"The training images need {needed / 2**30:.1f} GiB of disk, {free / 2**30:.1f} GiB are free; "
            "free some space, or train with a smaller input_size."
        )


def _read_index(folder: Path) -> dict[str, object] | None:
    try:
        index = json.loads((folder / INDEX_FILE).read_text())
    except (OSError, ValueError):
        return None
    return index if isinstance(index, dict) and "key" in index else None


def _open(folder: Path, index: dict[str, object]) -> PlaneCache:
    shapes = np.array(index["shapes"], dtype=np.int64).reshape(-1, 2)
    sizes = shapes.prod(axis=1)
    return PlaneCache(
        images=np.memmap(folder / "images.f16", np.float16, "r"),
        classes=np.memmap(folder / "classes.bin", str(index["class_type"]), "r"),
        shapes=shapes,
        starts=np.cumsum(sizes) - sizes,
        items=np.array(index["items"], dtype=np.int64),
        slices=np.array(index["slices"], dtype=np.int64),
        marked=np.array(index["marked"], dtype=bool),
        channels=int(str(index["channels"])),
    )


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
