"""Large images in tiles: a pyramid of square tiles, each level half as large, by averaging boxes of pixels.

Level 0 has the image's own pixels. A pixel of level n is the mean of the 2^n x 2^n pixels it covers, or of as many of
them as there are at the right and bottom edge. Only what a tile covers is read, so that the image may lie on disk.
"""

from __future__ import annotations

import numpy as np

from core.types import Array

TILE_SIZE = 256
PIXELS_AT_ONCE = 2**20  # averaged in one go, to stay in the processor's cache


def level_count(height: int, width: int, size: int = TILE_SIZE) -> int:
    """Return how many levels there are until one tile holds the whole image; 1 for an image of one tile."""
    return max(0, (max(height, width) - 1).bit_length() - (size - 1).bit_length()) + 1


def level_shape(height: int, width: int, level: int) -> tuple[int, int]:
    """Return (height, width) of a level, in its own pixels."""
    factor = 2**level
    return -(-height // factor), -(-width // factor)


def tile(array: Array, level: int, row: int, column: int, size: int = TILE_SIZE) -> Array:
    """Return one tile of an image.

    Args:
        array: ``yx`` or ``yxc``; may be mapped from disk.
        level: 0 for the image's own pixels, up to ``level_count`` - 1.
        row: number of the tile from the top, from 0.
        column: number of the tile from the left, from 0.
        size: pixels along a tile's edge; tiles at the right and bottom edge are smaller.

    Returns:
        Array of the image's type; whole numbers are rounded, halves up.

    Raises:
        ValueError: when there is no such tile.
    """
    height, width = array.shape[:2]
    rows, columns = level_shape(height, width, level)
    top, left = row * size, column * size
    if not (0 <= level < level_count(height, width, size) and 0 <= top < rows and 0 <= left < columns):
        raise ValueError(
            f"there is no tile {level}/{row}/{column} of {size} in an image of {height} x {width}."
        )
    factor = 2**level
    part = array[top * factor : (top + size) * factor, left * factor : (left + size) * factor]
    return box_mean(part, factor)


def box_mean(array: Array, factor: int) -> Array:
    """Return an image made smaller by a power of two: each pixel is the mean of the box it covers.

    Args:
        array: ``yx`` or ``yxc``.
        factor: 1, 2, 4, 8 ...; boxes at the right and bottom edge may be smaller.

    Returns:
        Array of the same type; whole numbers are rounded, halves up.

    Raises:
        ValueError: when the factor is no power of two.
    """
    if factor < 1 or factor & (factor - 1):
        raise ValueError(f"factor must be a power of two, got {factor}.")
    if factor == 1:
        return np.array(array)
    height, width = array.shape[:2]
    out = np.empty((-(-height // factor), -(-width // factor), *array.shape[2:]), array.dtype)
    rows = max(1, PIXELS_AT_ONCE // (factor * width))
    for first in range(0, len(out), rows):
        stripe = np.asarray(array[first * factor : (first + rows) * factor])
        out[first : first + rows] = _means(stripe, factor)
    return out


def _means(stripe: Array, factor: int) -> Array:
    """Average boxes exactly: sums of pairs along y, then x, until a box is one number."""
    heights, widths = (np.diff(np.append(np.arange(0, n, factor), n)) for n in stripe.shape[:2])
    counts = (heights[:, np.newaxis] * widths).reshape(len(heights), len(widths), *(1,) * (stripe.ndim - 2))
    is_float = stripe.dtype.kind == "f"
    sums: Array = stripe
    side = 1
    while side < factor:
        side *= 2
        dtype = np.float64 if is_float else _sum_type(stripe.dtype.itemsize, side)
        sums = _pair_sums(_pair_sums(sums, 0, dtype), 1, dtype)
    if is_float:
        return (sums / counts).astype(stripe.dtype)
    sums = sums.astype(np.int64)
    return ((2 * sums + counts) // (2 * counts)).astype(stripe.dtype)


def _sum_type(itemsize: int, side: int) -> type:
    """Return the smallest type that holds the sum of a box of whole numbers."""
    bits = 8 * itemsize + 2 * (side.bit_length() - 1)
    return np.int16 if bits < 16 else np.int32 if bits < 32 else np.int64


def _pair_sums(array: Array, axis: int, dtype: type) -> Array:
    """Add neighbours along an axis; the last one of an odd number stays alone."""
    even, odd = (slice(None),) * axis + (slice(0, None, 2),), (slice(None),) * axis + (slice(1, None, 2),)
    sums: Array = array[even].astype(dtype)
    second = array[odd]
    sums[(slice(None),) * axis + (slice(0, second.shape[axis]),)] += second.astype(dtype, copy=False)
    return sums
