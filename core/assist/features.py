"""What a pixel looks like in its surroundings: intensity, edges, blobs, ridges and texture at several scales."""

from __future__ import annotations

import cv2
import numpy as np

from core.assist.levels import FloatArray, Levels, to_chroma, to_grey
from core.types import Array

SIGMAS_PX = (1.0, 2.0, 4.0, 8.0)
TEXTURE_SIGMAS_PX = (2.0, 4.0, 8.0)
HALO_PX = 32  # what a feature sees around its pixel: four times the largest sigma


def pixel_features(plane: Array, levels: Levels) -> FloatArray:
    """Return what every pixel looks like.

    Grey: the value; then for each scale the smoothed value, length of the gradient, Laplacian, the eigenvalues of
    the Hessian (ridges, blobs); for each texture scale the eigenvalues of the structure tensor. Colour: two opponent
    colours, as they are and smoothed. Derivatives are multiplied by sigma (second ones by its square), so that a
    structure answers most strongly at its own scale.

    Args:
        plane: yx or yxc, physical values.
        levels: from ``measure_levels``.

    Returns:
        float32 (h, w, n).

    Source: T. Lindeberg, Feature detection with automatic scale selection, IJCV 30 (1998); C. Sommer et al.,
    ilastik: interactive learning and segmentation toolkit, ISBI 2011 (the choice of filters).
    """
    grey = to_grey(plane, levels)
    columns = [grey]
    for sigma in SIGMAS_PX:
        columns += _scale_features(_smoothed(grey, sigma), sigma)
    columns += _textures(grey)
    for chroma in to_chroma(plane, levels):
        columns += [chroma, *(_smoothed(chroma, sigma) for sigma in SIGMAS_PX)]
    return np.stack(columns, axis=-1)


def feature_count(channels: int) -> int:
    """Return how many numbers ``pixel_features`` gives for a pixel."""
    grey = 1 + 5 * len(SIGMAS_PX) + 2 * len(TEXTURE_SIGMAS_PX)
    return grey + (2 * (1 + len(SIGMAS_PX)) if channels >= 3 else 0)


def _smoothed(values: FloatArray, sigma: float) -> FloatArray:
    reach = 2 * int(4 * sigma + 0.5) + 1
    smooth = cv2.GaussianBlur(values, (reach, reach), sigma, sigmaY=sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(smooth, np.float32)


def _along(values: FloatArray, axis: int) -> FloatArray:
    """Return central differences along an axis (0: y, 1: x)."""
    kernel = np.array([-0.5, 0, 0.5], np.float32)
    one = np.ones(1, np.float32)
    along_x, along_y = (one, kernel) if axis == 0 else (kernel, one)
    slope = cv2.sepFilter2D(values, cv2.CV_32F, along_x, along_y, borderType=cv2.BORDER_REFLECT)
    return np.asarray(slope, np.float32)


def _scale_features(smooth: FloatArray, sigma: float) -> list[FloatArray]:
    dy, dx = _along(smooth, 0), _along(smooth, 1)
    dyy, dyx, dxx = _along(dy, 0), _along(dy, 1), _along(dx, 1)
    low, high = _eigenvalues(dyy, dyx, dxx)
    square = np.float32(sigma**2)
    return [
        smooth,
        cv2.magnitude(dy, dx) * np.float32(sigma),
        (dyy + dxx) * square,
        low * square,
        high * square,
    ]


def _textures(grey: FloatArray) -> list[FloatArray]:
    fine = _smoothed(grey, 1.0)
    dy, dx = _along(fine, 0), _along(fine, 1)
    columns: list[FloatArray] = []
    for sigma in TEXTURE_SIGMAS_PX:
        low, high = _eigenvalues(*(_smoothed(product, sigma) for product in (dy * dy, dy * dx, dx * dx)))
        # Roots, so that they grow with contrast as the other features do.
        columns += [np.sqrt(np.maximum(low, 0)), np.sqrt(np.maximum(high, 0))]
    return columns


def _eigenvalues(yy: FloatArray, yx: FloatArray, xx: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the smaller and the larger eigenvalue of symmetric 2 x 2 matrices."""
    mean = (yy + xx) * np.float32(0.5)
    spread = cv2.magnitude((yy - xx) * np.float32(0.5), yx)
    return mean - spread, mean + spread
