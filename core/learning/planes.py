"""From physical values to the network's input and back to the image's own grid.

The same functions feed training and prediction, so that both see the same numbers. NumPy and OpenCV only.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from core.learning.preprocessing import Preprocessing
from core.types import Array, Image, ImageInfo

FloatArray = npt.NDArray[np.float32]

# ITU-R BT.601 luma, as PIL and OpenCV turn colour to grey.
LUMA = np.array((0.299, 0.587, 0.114), dtype=np.float32)
CLIP_PERCENTILES = (0.5, 99.5)
_SAMPLED_PLANES = 24
_SAMPLED_PIXELS_PER_PLANE = 2**16


@dataclass(frozen=True)
class IntensityScale:
    """How values are scaled: ``(clip(value, low, high) - shift) * gain``; shift and gain per channel.

    Attributes:
        low, high: clip limits in the image's units.
        shift: subtracted after clipping, one per channel.
        gain: multiplied last, one per channel; negative for images whose low values are shown bright.
    """

    low: float
    high: float
    shift: tuple[float, ...]
    gain: tuple[float, ...]


def measure_scale(image: Image, preprocessing: Preprocessing) -> IntensityScale:
    """Measure the intensity scale of one image, a volume as a whole; deterministic.

    Large images and volumes are sampled on a regular grid (24 planes, 65,536 pixels a plane).
    """
    if preprocessing.normalisation != "zscore":
        return _fixed_scale(image.info, preprocessing)
    count = image.info.slices
    indices = np.unique(np.linspace(0, count - 1, min(count, _SAMPLED_PLANES)).round().astype(int))
    planes = [to_channels(_sample(image.plane(int(index))), preprocessing.channels) for index in indices]
    return _robust_scale(
        np.concatenate([plane.reshape(-1) for plane in planes]), image.info, preprocessing.channels
    )


def prepare_plane(
    plane: Array, info: ImageInfo, preprocessing: Preprocessing, scale: IntensityScale | None = None
) -> FloatArray:
    """Turn one plane of physical values into normalised channels, on the plane's own grid.

    Args:
        plane: yx or yxc, physical values.
        info: what is known of the image the plane is from.
        preprocessing: how the model wants it.
        scale: from ``measure_scale``, so that a volume's planes are scaled alike; None measures this plane.

    Returns:
        float32 array (height, width, channels).

    Raises:
        ValueError: when the channels cannot be brought to the model's.
    """
    values = to_channels(plane, preprocessing.channels)
    if scale is None:
        if preprocessing.normalisation == "zscore":
            scale = _robust_scale(_sample(values), info, preprocessing.channels)
        else:
            scale = _fixed_scale(info, preprocessing)
    np.nan_to_num(values, copy=False, nan=scale.low, posinf=scale.high, neginf=scale.low)
    np.clip(values, scale.low, scale.high, out=values)
    values -= np.asarray(scale.shift, dtype=np.float32)
    values *= np.asarray(scale.gain, dtype=np.float32)
    return values


def to_channels(plane: Array, channels: int) -> FloatArray:
    """Return a fresh float32 (height, width, channels) array; grey is repeated, colour becomes luminance.

    Raises:
        ValueError: for any other change of the number of channels.
    """
    values = np.array(plane if plane.ndim == 3 else plane[..., None], dtype=np.float32)
    given = values.shape[-1]
    if given == channels:
        return values
    if given == 1:
        return np.repeat(values, channels, axis=-1)
    if given == 3 and channels == 1:
        return (values @ LUMA)[..., None]
    raise ValueError(channels_message(given, channels) or "")


def channels_message(given: int, channels: int) -> str | None:
    """Say why an image of so many channels cannot be brought to the model's; None when it can."""
    if given in (1, channels) or (given == 3 and channels == 1):
        return None
    return (
        f"The model takes images of {channels} channels, this one has {given}; choose another model or image."
    )


def grid_shape(shape_yx: tuple[int, int], info: ImageInfo, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return (height, width) of the grid the network works on for a plane of the given size.

    "resize": always the input size. "patch": the plane's own, or that of the target spacing; it may be
    smaller or larger than one input window.
    """
    if preprocessing.fit == "resize":
        return preprocessing.input_height, preprocessing.input_width
    spacing, target = info.in_plane_spacing_mm, preprocessing.target_spacing_mm
    if spacing is None or target is None:
        return shape_yx
    return (
        max(1, round(shape_yx[0] * spacing[0] / target[0])),
        max(1, round(shape_yx[1] * spacing[1] / target[1])),
    )


def fit_to_grid(plane: FloatArray, grid: tuple[int, int]) -> FloatArray:
    """Resample (height, width, channels) to a grid: area average where an axis shrinks, linear elsewhere."""
    height, width, channels = plane.shape
    if (height, width) == grid:
        return plane
    # One axis after the other: OpenCV's area mode blurs only where both axes shrink.
    resized = _resize_axis(_resize_axis(plane, grid[0], axis=0), grid[1], axis=1)
    return resized.reshape(*grid, channels)


def fit_mask(mask: Array, grid: tuple[int, int]) -> Array:
    """Resample a label map (yx, uint8 or uint16) to a grid by the nearest pixel centre."""
    if mask.shape == grid:
        return mask
    return np.asarray(cv2.resize(mask, (grid[1], grid[0]), interpolation=cv2.INTER_NEAREST_EXACT))


def pad_to_window(plane: FloatArray, preprocessing: Preprocessing) -> tuple[FloatArray, tuple[int, int]]:
    """Mirror a plane (height, width, channels) smaller than the input window up to the window's size.

    Returns:
        the plane, at least as large as the window, and where (top, left) the original lies in it.
    """
    height, width, channels = plane.shape
    missing_y = max(0, preprocessing.input_height - height)
    missing_x = max(0, preprocessing.input_width - width)
    if missing_y == 0 and missing_x == 0:
        return plane, (0, 0)
    top, left = missing_y // 2, missing_x // 2
    padded = cv2.copyMakeBorder(
        plane, top, missing_y - top, left, missing_x - left, borderType=cv2.BORDER_REFLECT_101
    )
    return np.asarray(padded, dtype=np.float32).reshape(height + missing_y, width + missing_x, channels), (
        top,
        left,
    )


def undo_fit(probabilities: FloatArray, shape_yx: tuple[int, int]) -> FloatArray:
    """Bring probabilities (classes, h, w) from the network's grid back to the plane's, bilinearly."""
    return undo_fit_rows(probabilities, shape_yx, 0, shape_yx[0])


def undo_fit_rows(probabilities: FloatArray, shape_yx: tuple[int, int], top: int, end: int) -> FloatArray:
    """Bring the rows ``top`` to ``end`` of a plane back, so that a huge plane never exists as floats.

    Pixel centres of both grids are laid over each other; weights sum to one, so the classes still do.
    """
    height, width = probabilities.shape[1:]
    if (height, width) == shape_yx:
        return probabilities[:, top:end]
    centres = (np.arange(top, end) + 0.5) * (height / shape_yx[0]) - 0.5
    centres = np.clip(centres, 0, height - 1)
    above = np.minimum(centres.astype(np.int64), max(height - 2, 0))
    below = np.minimum(above + 1, height - 1)
    share = (centres - above).astype(np.float32)[None, :, None]
    upper = probabilities[:, above]
    rows = upper + (probabilities[:, below] - upper) * share
    if width == shape_yx[1]:
        return rows
    size = (shape_yx[1], end - top)
    return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in rows])


def _resize_axis(plane: FloatArray, length: int, axis: int) -> FloatArray:
    height, width, channels = plane.shape
    old = plane.shape[axis]
    if old == length:
        return plane
    size = (width, length) if axis == 0 else (length, height)
    interpolation = cv2.INTER_AREA if length < old else cv2.INTER_LINEAR
    resized: FloatArray = np.asarray(cv2.resize(plane, size, interpolation=interpolation), dtype=np.float32)
    return resized.reshape(size[1], size[0], channels)


def _sample(plane: Array) -> Array:
    """Return a plane, or every n-th row and column of a large one, so that about 65,536 pixels remain."""
    step = max(1, int(np.sqrt(plane.shape[0] * plane.shape[1] / _SAMPLED_PIXELS_PER_PLANE)))
    return plane[::step, ::step]


def _robust_scale(pixels: FloatArray, info: ImageInfo, channels: int) -> IntensityScale:
    """Scale to mean 0 and deviation 1 after clipping; channels together, which keeps colours apart."""
    finite = pixels[np.isfinite(pixels)]
    if finite.size == 0:
        return IntensityScale(0.0, 0.0, (0.0,) * channels, (0.0,) * channels)
    low, high = (float(value) for value in np.percentile(finite, CLIP_PERCENTILES))
    if low == high:  # a few bright pixels on an empty ground are all there is: do not clip them away
        low, high = float(finite.min()), float(finite.max())
    clipped = np.clip(finite, low, high).astype(np.float64)
    mean, deviation = float(clipped.mean()), float(clipped.std())
    # A constant image carries nothing: it becomes zeros instead of amplified rounding noise.
    gain = 1 / deviation if deviation > 1e-6 * max(1.0, abs(mean)) else 0.0
    sign = -1.0 if info.inverted else 1.0
    return IntensityScale(low, high, (mean,) * channels, (sign * gain,) * channels)


def _fixed_scale(info: ImageInfo, preprocessing: Preprocessing) -> IntensityScale:
    """Scale a window or range to 0..1, turned over when low is shown bright, then by mean and std."""
    if preprocessing.normalisation == "window":
        half = preprocessing.window_width / 2
        low, high = preprocessing.window_center - half, preprocessing.window_center + half
    else:
        low, high = preprocessing.range_low, preprocessing.range_high
    means = preprocessing.mean or (0.0,) * preprocessing.channels
    deviations = preprocessing.std or (1.0,) * preprocessing.channels
    width = high - low
    if info.inverted:
        shift = tuple(high - mean * width for mean in means)
        gain = tuple(-1 / (width * deviation) for deviation in deviations)
    else:
        shift = tuple(low + mean * width for mean in means)
        gain = tuple(1 / (width * deviation) for deviation in deviations)
    return IntensityScale(low, high, shift, gain)
