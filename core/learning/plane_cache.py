"""Every plane of a split decoded once into one memory-mapped file of float16 values, at the network's grid."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import StorageError, TrainingError
from core.imaging.stored import read_image
from core.learning.planes import FloatArray, fit_to_grid, measure_scale, prepare_plane
from core.learning.preprocessing import Preprocessing
from core.learning.snapshot import SnapshotItem
from core.types import Array, Image

INDEX_FILE = "index.json"
IMAGES_FILE = "images.f16"
SPARE_BYTES = 2**28  # disk left free after the cache is written

Index = dict[str, Any]
OnItem = Callable[[int, int], None]  # told (items done, items) while a cache is built; may raise to stop
GridOf = Callable[[SnapshotItem], tuple[int, int]]  # (height, width) of an item's planes in the cache


@dataclass(frozen=True)
class PlaneImages:
    """All planes of a split, on disk, read as touched.

    Attributes:
        values: float16, all planes flat one after the other.
        shapes: (planes, 2) height and width of each plane.
        starts: (planes,) first pixel of each plane.
        items: (planes,) number of the item in the split that a plane is from.
        slices: (planes,) index of the plane in its image.
        channels: values per pixel.
    """

    values: npt.NDArray[np.float16]
    shapes: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    slices: npt.NDArray[np.int64]
    channels: int

    def __len__(self) -> int:
        return len(self.starts)

    def plane(self, number: int) -> Array:
        """Return a plane's values, float16 (height, width, channels)."""
        height, width = (int(length) for length in self.shapes[number])
        start = int(self.starts[number]) * self.channels
        return self.values[start : start + height * width * self.channels].reshape(
            height, width, self.channels
        )


def open_cache(folder: Path, identity: str, build: Callable[[Path], Index]) -> Index:
    """Return the index of a cache folder, building it when it is not there or is of something else.

    Args:
        folder: where the cache lies; made anew when it does not fit.
        identity: all that the content depends on.
        build: fills an empty folder and returns what its index shall hold; may raise to stop.

    Raises:
        StorageError: when the disk is full or the cache damaged.
    """
    key = hashlib.sha256(identity.encode()).hexdigest()
    index = _read_index(folder)
    if index is None or index["key"] != key:
        shutil.rmtree(folder, ignore_errors=True)
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            (temporary / INDEX_FILE).write_text(json.dumps(build(temporary) | {"key": key}))
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
    return index


def write_images(
    folder: Path,
    items: tuple[SnapshotItem, ...],
    grid_of: GridOf,
    preprocessing: Preprocessing,
    on_item: OnItem,
    extra_bytes: int = 0,
) -> Index:
    """Write every plane of the items at its grid; return what ``open_images`` needs to find them.

    Args:
        folder: an empty folder.
        items: the cases.
        grid_of: (height, width) of an item's planes in the cache.
        preprocessing: how values are scaled.
        on_item: told the progress; may raise to stop.
        extra_bytes: bytes a pixel that will be written besides the values.

    Raises:
        TrainingError: when an image cannot be used.
        StorageError: when the disk has no room.
    """
    shapes = [list(grid_of(item)) for item in items for _ in range(item.info.slices)]
    total, channels = sum(height * width for height, width in shapes), preprocessing.channels
    check_space(folder, total * (2 * channels + extra_bytes))
    values = np.memmap(folder / IMAGES_FILE, np.float16, "w+", shape=(total * channels,))
    start = 0
    for done, item in enumerate(items):
        for plane in _planes_of(item, grid_of(item), preprocessing):
            values[start : start + plane.size] = plane.ravel()
            start += plane.size
        on_item(done + 1, len(items))
    values.flush()
    return {
        "shapes": shapes,
        "items": [number for number, item in enumerate(items) for _ in range(item.info.slices)],
        "slices": [plane for item in items for plane in range(item.info.slices)],
        "channels": channels,
    }


def open_images(folder: Path, index: Index) -> PlaneImages:
    """Open the images of a cache folder by its index."""
    shapes = np.array(index["shapes"], dtype=np.int64).reshape(-1, 2)
    sizes = shapes.prod(axis=1)
    return PlaneImages(
        values=np.memmap(folder / IMAGES_FILE, np.float16, "r"),
        shapes=shapes,
        starts=np.cumsum(sizes) - sizes,
        items=np.array(index["items"], dtype=np.int64),
        slices=np.array(index["slices"], dtype=np.int64),
        channels=int(index["channels"]),
    )


def write_flat(path: Path, kind: npt.DTypeLike, planes: Iterable[Array], total: int) -> None:
    """Write planes of whole numbers (labels, objects) one after the other, as the images' values lie."""
    values = np.memmap(path, kind, "w+", shape=(total,))
    start = 0
    for plane in planes:
        values[start : start + plane.size] = plane.ravel()
        start += plane.size
    values.flush()


def flat_plane(values: Array, images: PlaneImages, number: int) -> Array:
    """Return a plane (height, width) of what ``write_flat`` wrote."""
    height, width = (int(length) for length in images.shapes[number])
    start = int(images.starts[number])
    return values[start : start + height * width].reshape(height, width)


def plane_shape(item: SnapshotItem) -> tuple[int, int]:
    """Return (height, width) of an item's own planes."""
    height, width = item.info.spatial_shape[-2:]
    return height, width


def check_space(folder: Path, needed: int) -> None:
    """Check that a disk has room for so many bytes and some to spare.

    Raises:
        StorageError: when it has not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise StorageError(
            f"The training images need {needed / 2**30:.1f} GiB of disk, {free / 2**30:.1f} GiB are free; "
            "free some space, or train with a smaller input_size."
        )


def read_training_image(item: SnapshotItem) -> Image:
    """Read a case's image.

    Raises:
        TrainingError: when it cannot be used.
    """
    try:
        return read_image(item.image_path, item.info)
    except (OSError, ValueError) as error:
        raise TrainingError(f"The image of case {item.case_name} cannot be used ({error}).") from error


def _planes_of(
    item: SnapshotItem, grid: tuple[int, int], preprocessing: Preprocessing
) -> Iterable[FloatArray]:
    """Yield every plane of an item at a grid."""
    image = read_training_image(item)
    try:
        scale = measure_scale(image, preprocessing)
    except ValueError as error:
        raise TrainingError(f"The image of case {item.case_name} cannot be used ({error}).") from error
    for index in range(item.info.slices):
        yield fit_to_grid(prepare_plane(image.plane(index), item.info, preprocessing, scale), grid)


def _read_index(folder: Path) -> Index | None:
    try:
        index = json.loads((folder / INDEX_FILE).read_text())
    except (OSError, ValueError):
        return None
    return index if isinstance(index, dict) and "key" in index else None
