"""One scale of values for a whole image, so that all of its planes and tiles look alike to the methods here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.types import Array, Image

FloatArray = npt.NDArray[np.float32]
LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # ITU-R BT.601
PERCENTILES = (0.5, 99.5)
SAMPLES_PER_AXIS = 64


@dataclass(frozen=True)
class Levels:
    """The values that become 0 and 1."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise ValueError(f"high must lie above low, got {self.low} and {self.high}.")


def measure_levels(image: Image) -> Levels:
    """Measure a scale from a regular sub-sample of an image; deterministic, cheap for any size."""
    steps = tuple(slice(None, None, max(1, size // SAMPLES_PER_AXIS)) for size in image.info.spatial_shape)
    sample = np.asarray(image.array[steps], np.float32)
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return Levels(0.0, 1.0)
    low, high = (float(value) for value in np.percentile(sample, PERCENTILES))
    if high <= low:
        low, high = float(sample.min()), float(sample.max())
    return Levels(low, high) if high > low else Levels(low, low + 1.0)


def to_grey(plane: Array, levels: Levels) -> FloatArray:
    """Return a plane (yx or yxc) as float32 in about [0, 1]; colour becomes luminance."""
    values = np.asarray(plane, np.float32)
    if values.ndim == 3:
        values = values[..., :3] @ LUMA if values.shape[2] >= 3 else values.mean(axis=2)
    return _scaled(values, levels)


def to_chroma(plane: Array, levels: Levels) -> list[FloatArray]:
    """Return two opponent colours of a plane with three channels or more; nothing of a grey one."""
    if plane.ndim != 3 or plane.shape[2] < 3:
        return []
    red, green, blue = (_scaled(np.asarray(plane[..., i], np.float32), levels) for i in range(3))
    return [red - green, (red + green) / 2 - blue]


def to_rgb_bytes(plane: Array, levels: Levels) -> npt.NDArray[np.uint8]:
    """Return a plane as uint8 (yx, 3), colour as it is, grey three times."""
    values = np.asarray(plane, np.float32)
    if values.ndim == 2:
        values = values[..., None]
    channels = values[..., :3] if values.shape[2] >= 3 else np.repeat(values[..., :1], 3, axis=2)
    return np.clip(np.rint(_scaled(channels, levels) * 255), 0, 255).astype(np.uint8)


def _scaled(values: FloatArray, levels: Levels) -> FloatArray:
    span = levels.high - levels.low
    scaled = (values - np.float32(levels.low)) * np.float32(1 / span)
    scaled = np.nan_to_num(scaled, nan=0.0, posinf=2.0, neginf=-1.0)
    # Metal or a hot pixel must not drown everything else.
    return np.clip(scaled, -1.0, 2.0)
