"""Finer and coarser grids as one linear operator per axis: the same numbers on a whole plane and on a part of it.

Pixel i covers [i, i + 1), and both grids cover the same field of view: pixel centres do not coincide, nothing shifts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from core.types import Array

if TYPE_CHECKING:  # SciPy is imported where it is used: pages read the names of the reductions from here
    from scipy import sparse

Reduction = Literal["bicubic", "area", "nearest", "kspace"]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)
FloatArray = npt.NDArray[np.float32]

REDUCING_CUBIC = -0.5  # Keys' own value; Pillow's and torch's where they antialias
ENLARGING_CUBIC = -0.75  # OpenCV's and torch's where they do not
TRUNCATE = 4.0  # deviations at which a Gaussian ends, as in scipy.ndimage
RIDGE = 1e-4  # of the gram matrix: what a blur has wiped out is not blown up again


def enlarge(plane: Array, factors: tuple[int, int]) -> FloatArray:
    """Enlarge the first two axes of a plane (yx or yxc) by whole factors with bicubic interpolation.

    Equals OpenCV's INTER_CUBIC and torch's bicubic interpolation; borders are repeated.
    """
    for axis, factor in enumerate(factors):
        if factor > 1:
            length = plane.shape[axis]
            plane = _along(enlarging_matrix(length, length * factor), plane, axis)
    return np.ascontiguousarray(plane, np.float32)


def reduce(plane: Array, factors: tuple[int, int], kind: Reduction, sigma: float = 0.0) -> FloatArray:
    """Blur and reduce the first two axes of a plane (yx or yxc); an axis of factor 1 stays as it is.

    Args:
        plane: its sides must be divisible by their factors.
        factors: along y and x.
        kind: "bicubic" with antialiasing (as Pillow and torch have it); "area" is the mean over what a pixel
            covers; "nearest" takes one pixel; "kspace" keeps the middle of the Fourier transform, as a shorter
            MR readout does.
        sigma: deviation of a Gaussian before it, in pixels of the plane; borders are mirrored.
    """
    for axis, factor in enumerate(factors):
        length = plane.shape[axis]
        if length % factor:
            raise ValueError(f"a side of {length} pixels cannot be reduced {factor} times; crop it first.")
        if factor > 1:
            plane = reduce_axis(plane, axis, length // factor, kind, sigma)
    return np.ascontiguousarray(plane, np.float32)


def reduce_axis(plane: Array, axis: int, coarse: int, kind: Reduction, sigma: float = 0.0) -> FloatArray:
    """Blur one axis and bring it to ``coarse`` pixels, which need not divide its length ("kspace": must not exceed)."""
    if sigma > 0:
        from scipy.ndimage import gaussian_filter1d

        plane = gaussian_filter1d(
            np.asarray(plane, np.float32), sigma, axis, mode="reflect", truncate=TRUNCATE
        )
    if kind == "kspace":
        return _crop_spectrum(plane, axis, coarse)
    return _along(reducing_matrix(kind, plane.shape[axis], coarse), plane, axis)


def lift(plane: Array, factors: tuple[int, int], kind: Reduction, sigma: float = 0.0) -> FloatArray:
    """Return the smallest fine plane that ``reduce`` turns into this coarse one (its pseudo-inverse)."""
    from scipy import sparse

    for axis, factor in enumerate(factors):
        if factor == 1:
            continue
        coarse = plane.shape[axis]
        if kind == "kspace":
            plane = _pad_spectrum(plane, axis, coarse * factor)
            continue
        matrix = reducing_matrix(kind, coarse * factor, coarse, sigma)
        solve = _gram_solver(kind, coarse * factor, coarse, sigma)
        moved = np.moveaxis(np.asarray(plane, np.float64), axis, 0)
        solved = solve(np.ascontiguousarray(moved).reshape(coarse, -1)).reshape(moved.shape)
        plane = _along(sparse.csr_array(matrix.T), np.moveaxis(solved, 0, axis), axis)
    return np.ascontiguousarray(plane, np.float32)


@lru_cache(maxsize=64)
def enlarging_matrix(coarse: int, fine: int) -> sparse.csr_array:
    """Return the (fine, coarse) matrix of bicubic interpolation along an axis."""
    centres = (np.arange(fine) + 0.5) * coarse / fine - 0.5
    taps = np.floor(centres).astype(np.int64)[:, None] - 1 + np.arange(4)
    weights = cubic_weight(centres[:, None] - taps, ENLARGING_CUBIC)
    return _from_taps(np.clip(taps, 0, coarse - 1), weights, coarse)


@lru_cache(maxsize=64)
def reducing_matrix(kind: Reduction, fine: int, coarse: int, sigma: float = 0.0) -> sparse.csr_array:
    """Return the (coarse, fine) matrix of ``reduce_axis`` with its blur, for every kind but "kspace"."""
    from scipy import sparse

    if kind == "nearest":
        taps = np.floor((np.arange(coarse) + 0.5) * fine / coarse).astype(np.int64)[:, None]
        matrix = _from_taps(taps, np.ones(taps.shape), fine)
    elif kind == "area":
        matrix = _area_matrix(fine, coarse)
    elif kind == "bicubic":
        matrix = _antialiased_matrix(fine, coarse)
    else:
        raise ValueError(f"{kind} has no matrix of few taps.")
    return sparse.csr_array(matrix @ _blurring_matrix(fine, sigma)) if sigma > 0 else matrix


def cubic_weight(distance: Array, sharpness: float) -> Array:
    """Return the cubic convolution kernel at distances in pixels.

    Source: Keys, Cubic convolution interpolation for digital image processing, IEEE TASSP 29 (1981).
    """
    x = np.abs(distance)
    near = ((sharpness + 2) * x - (sharpness + 3)) * x * x + 1
    far = sharpness * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _antialiased_matrix(fine: int, coarse: int) -> sparse.csr_array:
    """Stretch the cubic kernel over what a coarse pixel covers; weights beyond the border are left out."""
    ratio = max(1.0, fine / coarse)
    centres = (np.arange(coarse) + 0.5) * fine / coarse
    first = np.floor(centres - 2 * ratio).astype(np.int64)
    taps = first[:, None] + np.arange(int(np.ceil(4 * ratio)) + 2)
    weights = cubic_weight((taps + 0.5 - centres[:, None]) / ratio, REDUCING_CUBIC)
    weights = np.where((taps >= 0) & (taps < fine), weights, 0.0)
    return _from_taps(np.clip(taps, 0, fine - 1), weights / weights.sum(axis=1, keepdims=True), fine)


def _area_matrix(fine: int, coarse: int) -> sparse.csr_array:
    """Weigh each fine pixel by the share of the coarse one that it covers."""
    ratio = fine / coarse
    left = np.arange(coarse)[:, None] * ratio
    taps = np.floor(left).astype(np.int64) + np.arange(int(np.ceil(ratio)) + 1)
    covered = np.minimum(taps + 1, left + ratio) - np.maximum(taps, left)
    weights = np.where(taps < fine, np.clip(covered, 0, None), 0.0)
    return _from_taps(np.clip(taps, 0, fine - 1), weights / weights.sum(axis=1, keepdims=True), fine)


def _blurring_matrix(length: int, sigma: float) -> sparse.csr_array:
    """Return the (length, length) matrix of a Gaussian with mirrored borders, as scipy.ndimage's."""
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    taps = np.arange(length)[:, None] + offsets
    folded = np.mod(taps, 2 * length)  # mirrored outwards again and again: d c b a | a b c d | d c b a
    folded = np.where(folded < length, folded, 2 * length - 1 - folded)
    return _from_taps(folded, np.broadcast_to(kernel / kernel.sum(), taps.shape), length)


def _from_taps(taps: Array, weights: Array, columns: int) -> sparse.csr_array:
    """Build a matrix from each row's columns and weights; equal columns add up."""
    from scipy import sparse

    rows = np.repeat(np.arange(len(taps)), taps.shape[1])
    return sparse.csr_array((weights.ravel(), (rows, taps.ravel())), shape=(len(taps), columns))


@lru_cache(maxsize=32)
def _gram_solver(kind: Reduction, fine: int, coarse: int, sigma: float) -> Any:
    from scipy import sparse
    from scipy.sparse.linalg import splu

    matrix = reducing_matrix(kind, fine, coarse, sigma)
    gram = matrix @ matrix.T
    ridge = RIDGE * float(gram.diagonal().max()) if sigma > 0 else 0.0
    return splu(sparse.csc_matrix(gram + ridge * sparse.eye_array(coarse))).solve


def _along(matrix: sparse.csr_array, array: Array, axis: int) -> FloatArray:
    """Multiply along one axis of an array; returns float32."""
    moved = np.moveaxis(np.asarray(array, np.float32), axis, 0)
    flat = np.ascontiguousarray(moved).reshape(moved.shape[0], -1)
    done = matrix.astype(np.float32) @ flat
    return np.moveaxis(np.asarray(done, np.float32).reshape(matrix.shape[0], *moved.shape[1:]), 0, axis)


def _crop_spectrum(plane: Array, axis: int, coarse: int) -> FloatArray:
    """Keep the lowest frequencies of an axis and lay the coarse pixels' centres over what they cover."""
    fine = plane.shape[axis]
    spectrum = np.moveaxis(np.fft.rfft(np.asarray(plane, np.float64), axis=axis), axis, -1)
    kept = spectrum[..., : coarse // 2 + 1] * _shift(fine, coarse)
    values = np.fft.irfft(kept, coarse, axis=-1) * (coarse / fine)
    return np.moveaxis(values, -1, axis).astype(np.float32)


def _pad_spectrum(plane: Array, axis: int, fine: int) -> FloatArray:
    """Undo ``_crop_spectrum`` with zeros for the frequencies that are gone."""
    coarse = plane.shape[axis]
    spectrum = np.moveaxis(np.fft.rfft(np.asarray(plane, np.float64), axis=axis), axis, -1)
    values = np.fft.irfft(spectrum * _shift(fine, coarse).conj(), fine, axis=-1) * (fine / coarse)
    return np.moveaxis(values, -1, axis).astype(np.float32)


def _shift(fine: int, coarse: int) -> Array:
    """Return the phase that moves the first sample to the middle of the first coarse pixel.

    An even axis' highest frequency has no sine part; it is left out, so that the operator stays real and exact.
    """
    frequency = np.arange(coarse // 2 + 1) / fine
    phase = np.exp(2j * np.pi * frequency * (fine / coarse - 1) / 2)
    return phase if coarse % 2 else np.where(np.arange(len(phase)) == coarse // 2, 0.0, phase)
