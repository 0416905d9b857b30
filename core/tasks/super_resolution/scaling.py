"""Values of an image to the network's scale and back, and the planes of an image that the network looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.imaging.resample import FloatArray
from core.tasks.super_resolution.spec import Axes, Scaling
from core.types import Array, Image, ImageInfo

HIGH_PERCENTILE = 99.5
SAMPLED_PLANES, SAMPLED_SIDE = 24, 256


@dataclass(frozen=True)
class ValueScale:
    """The ends of one image's scale, in its own units."""

    low: float
    high: float

    def to_network(self, values: Array) -> FloatArray:
        """Bring values to 0 to 1; what lies outside stays outside."""
        return (
            (np.asarray(values, np.float32) - np.float32(self.low)) / np.float32(self.high - self.low)
        ).astype(np.float32, copy=False)

    def from_network(self, values: FloatArray) -> FloatArray:
        """Bring values back to the image's units."""
        return values * np.float32(self.high - self.low) + np.float32(self.low)


def measure_scale(array: Array, scaling: Scaling) -> ValueScale:
    """Return the scale of one image, a volume as a whole; large ones are sampled on a regular grid.

    Raises:
        ValueError: when values are no numbers, or all of them are one.
    """
    sample = _sample(array)
    if not np.isfinite(sample).all():
        raise ValueError("some of its values are no numbers (NaN or infinite); repair the image first.")
    low, high = float(sample.min()), float(sample.max())
    if low == high:
        raise ValueError(f"all of its values are {low:g}; there is nothing to make finer.")
    if scaling.rule == "range":
        return ValueScale(scaling.low, scaling.high)
    low = min(low, 0.0)
    robust = float(np.percentile(sample, HIGH_PERCENTILE))
    return ValueScale(low, robust if robust > low else high)


def to_dtype(values: FloatArray, dtype: np.dtype) -> Array:
    """Round to an image's own type; what it cannot hold is cut off."""
    if dtype.kind not in "iu":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def plane_count(info: ImageInfo, axes: Axes) -> int:
    """Return how many planes of an image are looked at."""
    return info.spatial_shape[1] if axes == "through_plane" else info.slices


def plane_at(array: Array, info: ImageInfo, axes: Axes, index: int) -> Array:
    """Return one plane as (height, width, channels): yx, or zx at row ``index`` for through_plane."""
    if axes == "through_plane":
        return array[:, index, :, None]
    plane = array if info.layout[0] == "y" else array[index]
    return plane if plane.ndim == 3 else plane[..., None]


def middle_plane(image: Image, axes: Axes) -> Array:
    """Return the plane in the middle."""
    return plane_at(image.array, image.info, axes, plane_count(image.info, axes) // 2)


def image_factors(info: ImageInfo, factors: tuple[int, int], axes: Axes) -> tuple[int, ...]:
    """Return the factor of each spatial axis of an image."""
    if axes == "through_plane":
        return factors[0], 1, factors[1]
    return (1,) * (len(info.spatial_shape) - 2) + factors


def _sample(array: Array) -> Array:
    """Return values of a regular grid: every n-th slice, row and column."""
    steps = [max(1, -(-length // SAMPLED_SIDE)) for length in array.shape]
    if array.ndim > 2 and array.shape[-1] > 4:
        steps[0] = max(1, array.shape[0] // SAMPLED_PLANES)
    return np.asarray(array[tuple(slice(None, None, step) for step in steps)], np.float64)
