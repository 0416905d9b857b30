"""Grids made finer and coarser, held against torch, OpenCV, SciPy, Pillow and NumPy's FFT."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from scipy.ndimage import gaussian_filter

from core.imaging.resample import REDUCTIONS, enlarge, lift, reduce, reduce_axis

FACTORS = [(2, 2), (3, 3), (4, 4), (4, 1), (1, 3)]


def plane(rows: int = 48, columns: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("factors", FACTORS)
def test_reductions_equal_independent_ones(factors: tuple[int, int]) -> None:
    fine = plane()
    size = (48 // factors[0], 60 // factors[1])
    wanted = {
        "bicubic": torch.nn.functional.interpolate(
            torch.from_numpy(fine)[None, None], size=size, mode="bicubic", antialias=True
        )[0, 0].numpy(),
        "area": cv2.resize(fine, size[::-1], interpolation=cv2.INTER_AREA),
        "nearest": cv2.resize(fine, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT),
    }
    for kind, expected in wanted.items():
        assert np.abs(reduce(fine, factors, kind) - expected).max() < 1e-5, kind
    pillow = PILImage.fromarray(fine).resize(size[::-1], PILImage.Resampling.BICUBIC)
    assert np.abs(reduce(fine, factors, "bicubic") - np.asarray(pillow)).max() < 1e-5


@pytest.mark.parametrize("factors", FACTORS)
def test_enlargement_equals_opencv_and_torch(factors: tuple[int, int]) -> None:
    coarse = plane(12, 15)
    size = (12 * factors[0], 15 * factors[1])
    ours = enlarge(coarse, factors)
    assert np.abs(ours - cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)).max() < 1e-5
    theirs = torch.nn.functional.interpolate(torch.from_numpy(coarse)[None, None], size=size, mode="bicubic")
    assert np.abs(ours - theirs[0, 0].numpy()).max() < 2e-5


@pytest.mark.parametrize("sigma", [0.4, 1.3, 3.0])
def test_blur_equals_scipy(sigma: float) -> None:
    fine = plane()
    blurred = gaussian_filter(fine, sigma, mode="reflect")
    expected = cv2.resize(blurred, (15, 12), interpolation=cv2.INTER_AREA)
    assert np.abs(reduce(fine, (4, 4), "area", sigma) - expected).max() < 1e-5


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_k_space_is_cropped_and_centred(factor: int) -> None:
    """The two-dimensional transform, cropped about its middle, with the phase of half a pixel's shift."""
    fine = plane(48, 60)
    size = np.array(fine.shape) // factor
    spectrum = np.fft.fftshift(np.fft.fft2(fine))
    axes = [np.fft.fftshift(np.fft.fftfreq(length)) for length in fine.shape]
    shift = (factor - 1) / 2
    spectrum = spectrum * np.exp(2j * np.pi * shift * (axes[0][:, None] + axes[1][None, :]))
    middle = [length // 2 for length in fine.shape]
    half = (size - 1) // 2  # the same number of frequencies on both sides of 0
    kept = spectrum[
        middle[0] - half[0] : middle[0] + half[0] + 1, middle[1] - half[1] : middle[1] + half[1] + 1
    ]
    padded = np.zeros(size, complex)
    start = size // 2 - half
    padded[start[0] : start[0] + kept.shape[0], start[1] : start[1] + kept.shape[1]] = kept
    expected = np.fft.ifft2(np.fft.ifftshift(padded)).real / factor**2
    assert np.abs(reduce(fine, (factor, factor), "kspace") - expected).max() < 1e-5


def test_a_wave_keeps_its_place_in_every_reduction() -> None:
    """A slow wave sampled at the coarse pixels' centres: none of the reductions shifts it."""
    rows = (np.arange(480) + 0.5) / 480
    fine = np.repeat(np.sin(2 * np.pi * 2 * rows)[:, None], 8, axis=1)
    coarse = (np.arange(120) + 0.5) / 120
    expected = np.sin(2 * np.pi * 2 * coarse)
    for kind in REDUCTIONS:
        off = reduce(fine, (4, 1), kind)[:, 0] - expected
        tolerance = 0.02 if kind == "nearest" else 2e-3  # the middle of four pixels has no pixel of its own
        assert np.abs(off[5:-5]).max() < tolerance, kind


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(REDUCTIONS),
    factors=st.sampled_from(FACTORS),
    rows=st.integers(3, 12),
    columns=st.integers(3, 12),
)
def test_lifting_an_error_explains_it(kind: str, factors: tuple[int, int], rows: int, columns: int) -> None:
    coarse = np.random.default_rng(rows * 100 + columns).normal(size=(rows, columns)).astype(np.float32)
    if kind == "kspace":  # what its highest frequency has is not kept by a second pass
        coarse = reduce(lift(coarse, factors, kind), factors, kind)
    fine = lift(coarse, factors, kind)
    assert fine.shape == (rows * factors[0], columns * factors[1])
    assert np.abs(reduce(fine, factors, kind) - coarse).max() < 1e-4


@pytest.mark.parametrize("kind", ["bicubic", "area", "nearest"])
def test_the_lifted_error_is_the_least_one(kind: str) -> None:
    """NumPy's own pseudo-inverse of the whole operator gives the same."""
    fine, coarse = 24, 6
    operator = np.stack([reduce_axis(row[:, None], 0, coarse, kind)[:, 0] for row in np.eye(fine)], axis=1)
    error = np.random.default_rng(0).normal(size=(coarse, 1)).astype(np.float32)
    assert np.abs(lift(error, (4, 1), kind) - np.linalg.pinv(operator) @ error).max() < 1e-4


def test_a_constant_stays_and_colour_is_kept_apart() -> None:
    colour = np.stack([np.full((24, 24), value, np.float32) for value in (0.0, 0.25, 1.0)], axis=-1)
    for kind in REDUCTIONS:
        assert np.allclose(reduce(colour, (4, 4), kind), colour[:6, :6], atol=1e-6)
    assert np.allclose(enlarge(colour, (2, 3)), np.broadcast_to(colour[0, 0], (48, 72, 3)), atol=1e-6)


def test_sides_that_cannot_be_divided_are_named() -> None:
    with pytest.raises(ValueError, match="50 pixels cannot be reduced 4 times"):
        reduce(np.zeros((48, 50), np.float32), (4, 4), "area")
