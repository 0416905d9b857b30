"""How near one image comes to another: PSNR, SSIM, MS-SSIM, NMSE, in a stated data range and without the border."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from core.types import Array, ImageInfo

SIGMA, RADIUS = 1.5, 5  # Wang et al.'s window: 11 x 11 pixels
K1, K2 = 0.01, 0.03
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SMALLEST = (2 * RADIUS + 1) * 2 ** (len(MS_WEIGHTS) - 1)  # the window must fit at the coarsest scale
SCORES = ("psnr", "ssim", "ms_ssim", "nmse")


@dataclass(frozen=True)
class Scoring:
    """The rule scores are taken by.

    Attributes:
        data_range: span of possible values that PSNR and SSIM refer to, in the image's units.
        border: pixels left out at each edge of a plane.
    """

    data_range: float
    border: int = 0

    def __post_init__(self) -> None:
        if not self.data_range > 0:
            raise ValueError(f"data_range must be positive, got {self.data_range}.")
        if self.border < 0:
            raise ValueError(f"border must be 0 or more, got {self.border}.")


def range_of(truth: Array) -> float:
    """Return the data range that goes without saying: 255 for bytes, else the span of the true image."""
    if truth.dtype == np.uint8:
        return 255.0
    return float(np.max(truth)) - float(np.min(truth))


def score_images(found: Array, truth: Array, info: ImageInfo, scoring: Scoring) -> dict[str, float]:
    """Score one image against the true one.

    PSNR and NMSE are taken over all pixels, SSIM and MS-SSIM plane by plane (and channel by channel), then
    averaged. A score that is not defined, such as the PSNR of equal images, is NaN.

    Args:
        found: of the shape of ``truth``.
        truth: the true image.
        info: the true image's layout.
        scoring: data range and border.

    Raises:
        ValueError: when the shapes differ or the border leaves nothing.
    """
    if found.shape != truth.shape or tuple(truth.shape) != info.shape:
        raise ValueError(f"images must have one shape, got {found.shape} and {truth.shape}.")
    if min(info.spatial_shape[-2:]) <= 2 * scoring.border:
        raise ValueError(f"a border of {scoring.border} pixels leaves nothing of {info.spatial_shape[-2:]}.")
    squared, power, count = 0.0, 0.0, 0
    similar: list[tuple[float, float]] = []
    for one, other in _planes(found, truth, info, scoring.border):
        difference = one - other
        squared += float((difference * difference).sum())
        power += float((other * other).sum())
        count += other.size
        similar.append((ssim(one, other, scoring.data_range), ms_ssim(one, other, scoring.data_range)))
    mean = np.mean(similar, axis=0)
    return {
        "psnr": psnr_of(squared / count, scoring.data_range),
        "ssim": float(mean[0]),
        "ms_ssim": float(mean[1]),
        "nmse": squared / power if power > 0 else math.nan,
    }


def psnr_of(mean_squared_error: float, data_range: float) -> float:
    """Return the peak signal-to-noise ratio in dB; NaN for images that are equal."""
    if not mean_squared_error > 0:
        return math.nan
    return 10 * math.log10(data_range**2 / mean_squared_error)


def ssim(found: Array, truth: Array, data_range: float) -> float:
    """Return the mean structural similarity of two grey planes; NaN below 11 pixels a side.

    Gaussian window of deviation 1.5, population covariance, window wholly inside; scikit-image's with
    ``gaussian_weights=True, use_sample_covariance=False``.

    Source: Wang et al., Image quality assessment, IEEE TIP 13 (2004).
    """
    if min(truth.shape) < 2 * RADIUS + 1:
        return math.nan
    luminance, contrast = _similarity(found, truth, data_range)
    return float((luminance * contrast).mean())


def ms_ssim(found: Array, truth: Array, data_range: float) -> float:
    """Return multi-scale structural similarity of two grey planes over 5 scales; NaN below 176 pixels a side.

    Source: Wang, Simoncelli, Bovik, Multiscale structural similarity, Asilomar 2003. Negative terms count as 0.
    """
    if min(truth.shape) < MS_SMALLEST:
        return math.nan
    product = 1.0
    for level, weight in enumerate(MS_WEIGHTS):
        luminance, contrast = _similarity(found, truth, data_range)
        last = level == len(MS_WEIGHTS) - 1
        term = float((luminance * contrast).mean() if last else contrast.mean())
        product *= max(term, 0.0) ** weight
        found, truth = _halved(found), _halved(truth)
    return product


def _similarity(found: Array, truth: Array, data_range: float) -> tuple[Array, Array]:
    """Return the luminance term and the contrast-structure term of every window."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_x, mean_y = _smooth(found), _smooth(truth)
    variance_x = _smooth(found * found) - mean_x * mean_x
    variance_y = _smooth(truth * truth) - mean_y * mean_y
    covariance = _smooth(found * truth) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (variance_x + variance_y + c2)


def _smooth(plane: Array) -> Array:
    """Average with the Gaussian window where it lies wholly inside."""
    kernel = cv2.getGaussianKernel(2 * RADIUS + 1, SIGMA, cv2.CV_64F)
    return cv2.sepFilter2D(plane, cv2.CV_64F, kernel, kernel)[RADIUS:-RADIUS, RADIUS:-RADIUS]


def _halved(plane: Array) -> Array:
    """Average 2 x 2 pixels; an odd last row or column is left out."""
    rows, columns = (length // 2 for length in plane.shape)
    return plane[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean(axis=(1, 3))


def _planes(found: Array, truth: Array, info: ImageInfo, border: int) -> Iterator[tuple[Array, Array]]:
    """Yield pairs of grey float64 planes without their border."""
    channels, (height, width) = info.channels, info.spatial_shape[-2:]
    shape = (info.slices, height, width, channels)
    inner = np.s_[border : height - border, border : width - border]
    for one, other in zip(found.reshape(shape), truth.reshape(shape), strict=True):
        for channel in range(channels):
            yield (
                np.ascontiguousarray(one[inner][..., channel], np.float64),
                np.ascontiguousarray(other[inner][..., channel], np.float64),
            )
