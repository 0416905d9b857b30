"""Label maps as runs: pairs of (value, number of pixels), row after row. ``assets/viewer/runs.js`` does the same."""

from __future__ import annotations

import numpy as np

from core.types import Array


def encode_runs(values: Array) -> Array:
    """Return the runs of an array read row by row.

    Args:
        values: whole numbers from 0 to 65535, any shape.

    Returns:
        uint32 (n, 2): value, length; lengths add up to the number of pixels.
    """
    flat = np.ascontiguousarray(values).ravel()
    if flat.size == 0:
        return np.zeros((0, 2), np.uint32)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.concatenate([starts, [flat.size]]))
    return np.stack([flat[starts], lengths], axis=1).astype(np.uint32)


def decode_runs(runs: Array, shape: tuple[int, ...], dtype: np.dtype | type = np.uint8) -> Array:
    """Return the array that runs stand for.

    Raises:
        ValueError: when the lengths do not fit the shape, or a value does not fit the type.
    """
    pairs = np.asarray(runs, np.uint32).reshape(-1, 2)
    size = int(np.prod(shape))
    if int(pairs[:, 1].sum(dtype=np.uint64)) != size:
        raise ValueError(f"runs must cover {size} pixels, got {int(pairs[:, 1].sum(dtype=np.uint64))}.")
    if len(pairs) and int(pairs[:, 0].max()) > np.iinfo(dtype).max:
        raise ValueError(f"runs hold the value {int(pairs[:, 0].max())}, too large for {np.dtype(dtype)}.")
    return np.repeat(pairs[:, 0].astype(dtype), pairs[:, 1]).reshape(shape)
