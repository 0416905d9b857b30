"""Regions of similar value around a pixel."""

from __future__ import annotations

import numpy as np

from core.types import Array


def grow_region(values: Array, seed: tuple[int, ...], limits: tuple[float, float]) -> Array:
    """Return what hangs together with a pixel over neighbours whose values lie within limits.

    Args:
        values: yx or zyx.
        seed: index of the pixel, in the order of the axes.
        limits: lowest and highest value that belong.

    Returns:
        bool of the same shape; empty when the pixel itself lies outside the limits. Pixels touch by their sides.

    Raises:
        ValueError: when the pixel lies outside of the array.
    """
    from scipy.ndimage import label

    if len(seed) != values.ndim or not all(
        0 <= at < size for at, size in zip(seed, values.shape, strict=True)
    ):
        raise ValueError(f"the pixel {seed} lies outside of an image of {values.shape}.")
    within = (values >= limits[0]) & (values <= limits[1])
    if not within[seed]:
        return np.zeros(values.shape, np.bool_)
    parts, _ = label(within)
    found: Array = parts == parts[seed]
    return found
