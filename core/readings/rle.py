"""COCO's run-length masks: counts of pixels outside, inside, outside ... down the columns, plain or as text.

Source: pycocotools ``maskApi.c`` (rleEncode, rleToString, rleFrString).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.types import Array


def counts_of_crop(crop: Array, corner: tuple[int, int], shape: tuple[int, int]) -> list[int]:
    """Return the run lengths of a mask that is a crop at (left, top) of an otherwise empty plane.

    Args:
        crop: boolean (y, x), inside the plane.
        corner: column and row of the crop's first pixel.
        shape: (rows, columns) of the plane.
    """
    left, top = corner
    rows, columns = shape
    padded = np.zeros((crop.shape[1], crop.shape[0] + 2), np.int8)
    padded[:, 1:-1] = crop.T
    column, place = np.nonzero(np.diff(padded, axis=1))
    flips = (left + column) * rows + top + place
    if len(flips) > 2:  # a run that goes on in the next column ends and begins at one place
        same = np.flatnonzero(flips[1:] == flips[:-1])
        flips = np.delete(flips, np.concatenate([same, same + 1]))
    edges = np.concatenate([[0], flips, [rows * columns]])
    counts = np.diff(edges)
    return counts[:-1].tolist() if len(counts) > 1 and counts[-1] == 0 else counts.tolist()


def counts_of_mask(mask: Array) -> list[int]:
    """Return the run lengths of a boolean plane (y, x)."""
    return counts_of_crop(mask, (0, 0), (mask.shape[0], mask.shape[1]))


def mask_of_counts(counts: list[int], shape: tuple[int, int]) -> Array:
    """Return the boolean plane (y, x) of run lengths.

    Raises:
        ValueError: when the counts are negative or do not add up to the plane.
    """
    runs = np.asarray(counts, dtype=np.int64)
    size = shape[0] * shape[1]
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != size:
        raise ValueError(f"run lengths must be positive and add up to {size} pixels, got {runs.sum()}.")
    values = np.zeros(len(runs), bool)
    values[1::2] = True
    return np.repeat(values, runs).reshape(shape[1], shape[0]).T


def crop_of_counts(counts: list[int], shape: tuple[int, int]) -> tuple[Array, tuple[int, int]]:
    """Return (crop, its (left, top)) of what run lengths mark on a plane, without making the plane.

    The crop is empty where nothing is marked.

    Raises:
        ValueError: when the counts are negative or do not add up to the plane.
    """
    rows, columns = shape
    ends = np.cumsum(np.asarray(counts, dtype=np.int64))
    if not len(ends) or min(counts) < 0 or ends[-1] != rows * columns:
        raise ValueError(f"run lengths must add up to {rows * columns} pixels, got {ends[-1:]}.")
    inside = np.flatnonzero(np.asarray(counts[1::2], dtype=np.int64)) * 2 + 1
    if not len(inside):
        return np.zeros((0, 0), bool), (0, 0)
    start, end = int(ends[inside[0] - 1]), int(ends[inside[-1]])
    left, right = start // rows, (end - 1) // rows + 1
    runs = [start - left * rows, *counts[inside[0] : inside[-1] + 1], right * rows - end]
    part = mask_of_counts(runs, (rows, right - left))
    used = np.flatnonzero(part.any(axis=1))
    return np.ascontiguousarray(part[used[0] : used[-1] + 1]), (left, int(used[0]))


def text_of_counts(counts: list[int]) -> str:
    """Write run lengths as COCO's compressed text: differences to the run before the last, five bits a letter."""
    letters: list[str] = []
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            letters.append(chr((bits | (0x20 if more else 0)) + 48))
    return "".join(letters)


def counts_of_text(text: str) -> list[int]:
    """Read COCO's compressed text.

    Raises:
        ValueError: when it holds other letters or ends in the middle of a number.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"compressed run lengths hold the letters 0 to o, got {letter!r}.")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            if shift > 60:
                raise ValueError("a run length is too large.")
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    if shift:
        raise ValueError("the compressed run lengths end in the middle of a number.")
    return counts


def as_rle(crop: Array, corner: tuple[int, int], shape: tuple[int, int]) -> dict[str, Any]:
    """Return COCO's compressed form of a crop: {"size": [rows, columns], "counts": text}."""
    return {"size": list(shape), "counts": text_of_counts(counts_of_crop(crop, corner, shape))}
