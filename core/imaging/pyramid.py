"""Large planes as tiles at several sizes: level 0 is the plane itself, each further level half as large.

A level is the mean of 2 x 2 pixels of the level below, rounded to the image's type; an odd last row or column is
averaged with what is there. Levels are made once, in bands, from the memory-mapped image, and kept on disk.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.errors import StorageError
from core.types import Array

TILE_SIZE = 512
BAND_ROWS = 512  # rows of the upper level that are made at a time
TILED_ABOVE = 2048 * 2048  # pixels of a plane above which the browser asks for tiles


def level_shapes(rows: int, columns: int) -> list[tuple[int, int]]:
    """Return the size of every level, from the plane itself down to one tile."""
    shapes = [(rows, columns)]
    while max(shapes[-1]) > TILE_SIZE:
        rows, columns = -(-rows // 2), -(-columns // 2)
        shapes.append((rows, columns))
    return shapes


def halve(band: Array) -> Array:
    """Return the mean of each 2 x 2 pixels, rounded half to even for whole numbers.

    Args:
        band: yx or yxc.
    """
    rows, columns = band.shape[:2]
    if rows % 2 or columns % 2:
        pad = [(0, rows % 2), (0, columns % 2)] + [(0, 0)] * (band.ndim - 2)
        band = np.pad(band, pad, mode="edge")
    wide: Array = band.astype(np.float32 if band.dtype.itemsize <= 2 else np.float64)
    mean = (wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]) / 4
    return (np.rint(mean) if band.dtype.kind in "iu" else mean).astype(band.dtype)


def build_levels(plane: Array, folder: Path) -> None:
    """Write all levels above 0 as ``1.npy``, ``2.npy`` ... into a folder, which appears when all are there.

    Raises:
        StorageError: when the disk cannot take them.
    """
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        below: Array = plane
        for number, (rows, columns) in enumerate(level_shapes(*plane.shape[:2])[1:], start=1):
            path = temporary / f"{number}.npy"
            level = np.lib.format.open_memmap(
                path, mode="w+", dtype=plane.dtype, shape=(rows, columns, *plane.shape[2:])
            )
            for top in range(0, rows, BAND_ROWS):
                level[top : top + BAND_ROWS] = halve(np.asarray(below[2 * top : 2 * (top + BAND_ROWS)]))
            level.flush()
            below = level
        os.replace(temporary, folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.is_dir():  # else another thread or process was first
            raise StorageError(
                f"The smaller copies of a large image could not be stored ({error.strerror}); "
                "free some disk space."
            ) from error


def open_level(plane: Array, folder: Path, level: int) -> Array:
    """Return one level as a read-only array; the levels are made when they are not there yet.

    Raises:
        ValueError: when there is no such level.
        StorageError: when the disk cannot take the levels.
    """
    count = len(level_shapes(*plane.shape[:2]))
    if not 0 <= level < count:
        raise ValueError(f"level must lie between 0 and {count - 1}, got {level}.")
    if level == 0:
        return plane
    path = folder / f"{level}.npy"
    if not path.is_file():
        build_levels(plane, folder)
    os.utime(folder)  # in use: a sweep lets it be
    opened: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return opened


def cut_tile(level: Array, row: int, column: int) -> Array:
    """Return one tile of a level; smaller at the right and lower border.

    Raises:
        ValueError: when there is no such tile.
    """
    rows, columns = level.shape[:2]
    top, left = row * TILE_SIZE, column * TILE_SIZE
    if not (0 <= top < rows and 0 <= left < columns):
        raise ValueError(f"there is no tile {row}, {column} in a level of {rows} x {columns} pixels.")
    return np.asarray(level[top : top + TILE_SIZE, left : left + TILE_SIZE])


def is_tiled(shape: Sequence[int]) -> bool:
    """Tell whether a plane of this (rows, columns) is large enough to be shown by tiles."""
    return shape[0] * shape[1] > TILED_ABOVE
