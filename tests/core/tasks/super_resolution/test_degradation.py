"""Degradations do what they say: reductions by planted cases, noise by its moments, JPEG by Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PILImage
from scipy import stats
from scipy.ndimage import gaussian_filter

from core.imaging.resample import reduce
from core.tasks.super_resolution.degradation import (
    Agreement,
    add_noise,
    compress,
    crop_to_multiple,
    degrade,
)
from core.tasks.super_resolution.spec import DEGRADATIONS, Degradation

MANY = (400, 500)


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("value", [0.05, 0.5, 1.0])
def test_the_moments_of_noise(value: float) -> None:
    level = 0.1
    flat = np.full(MANY, value, np.float32)
    n = flat.size
    expected = {
        "gaussian": stats.norm(value, level),
        "speckle": stats.norm(value, level * value),
        "rician": stats.rice(value / level, scale=level),
    }
    for kind, law in expected.items():
        noisy = add_noise(flat, kind, level, draws())
        mean, variance = law.stats("mv")
        error = np.sqrt(variance / n)
        assert noisy.dtype == np.float32
        assert abs(noisy.mean() - mean) < 5 * error, kind
        assert noisy.var() == pytest.approx(float(variance), rel=0.02), kind
    counted = add_noise(flat, "poisson", level, draws())
    law = stats.poisson(value / level**2)
    assert counted.mean() == pytest.approx(law.mean() * level**2, abs=5 * level * np.sqrt(value / n))
    assert counted.var() == pytest.approx(law.var() * level**4, rel=0.02)


def test_jpeg_is_pillows() -> None:
    plane = gaussian_filter(draws().random((64, 80)), 2).astype(np.float32)
    plane = (plane - plane.min()) / np.ptp(plane)
    buffer = io.BytesIO()
    PILImage.fromarray(np.rint(plane * 255).astype(np.uint8)).save(buffer, "JPEG", quality=60)
    theirs = np.asarray(PILImage.open(buffer)) / 255
    assert np.abs(compress(plane, 60) - theirs).max() <= 2 / 255  # decoders round differently
    assert np.abs(compress(plane, 10) - plane).mean() > np.abs(compress(plane, 95) - plane).mean()
    colour = np.stack([plane, plane**2, 1 - plane], axis=-1)
    assert compress(colour, 95).shape == colour.shape
    assert compress(colour[..., :2], 95).shape == (64, 80, 2)


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("factors", [(2, 2), (4, 4), (3, 1)])
@pytest.mark.parametrize("channels", [0, 3])
def test_every_named_degradation_gives_a_coarse_plane(
    name: str, factors: tuple[int, int], channels: int
) -> None:
    shape = (48, 60) + ((channels,) if channels else ())
    fine = gaussian_filter(draws().random(shape), (2, 2, 0)[: len(shape)]).astype(np.float32)
    coarse = degrade(fine, factors, DEGRADATIONS[name], draws(1))
    assert coarse.shape == (48 // factors[0], 60 // factors[1], *shape[2:])
    assert coarse.dtype == np.float32
    assert np.isfinite(coarse).all()
    assert np.array_equal(
        coarse, degrade(fine, factors, DEGRADATIONS[name], draws(1))
    )  # same chance, same plane
    assert abs(coarse.mean() - fine.mean()) < 0.05


def test_the_clean_one_is_the_reduction_and_the_blur_is_drawn() -> None:
    fine = draws().random((48, 60)).astype(np.float32)
    assert np.array_equal(
        degrade(fine, (4, 4), DEGRADATIONS["clean"], draws()), reduce(fine, (4, 4), "bicubic")
    )
    blurred = Degradation(blur=(1.0, 1.0), reduction="area")
    expected = reduce(gaussian_filter(fine, 1.0), (4, 4), "area")
    assert np.abs(degrade(fine, (4, 4), blurred, draws()) - expected).max() < 1e-5


def test_thick_slices_are_means_of_thin_ones() -> None:
    volume = draws().random((12, 20)).astype(np.float32)
    thick = degrade(volume, (3, 1), DEGRADATIONS["thick_slices"], draws())
    assert np.allclose(thick, volume.reshape(4, 3, 20).mean(axis=1), atol=1e-6)


def test_agreement_is_restored_by_its_correction() -> None:
    fine = draws().random((48, 60)).astype(np.float32)
    for name in ("clean", "blurred", "mr", "thick_slices"):
        agreement = Agreement.of(DEGRADATIONS[name], (4, 4))
        coarse = reduce(fine, (4, 4), agreement.reduction, agreement.sigma)
        assert np.abs(agreement.error(fine, coarse)).max() < 1e-6
        other = fine + 0.1 * draws(1).random(fine.shape).astype(np.float32)
        corrected = other + agreement.correction(agreement.error(other, coarse))
        assert np.abs(agreement.error(corrected, coarse)).max() < 2e-3, name
        # A projection onto what agrees brings every estimate nearer to the truth, which agrees.
        assert np.square(corrected - fine).sum() <= np.square(other - fine).sum() + 1e-6, name


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"blur": (2.0, 1.0)}, "rising"),
        ({"noise_level": (0.0, 2.0)}, "noise_level"),
        ({"jpeg_quality": (0, 50)}, "jpeg_quality"),
        ({"reduction": "kspace", "blur": (1.0, 1.0)}, "k-space"),
        ({"reduction": "sinc"}, "reduction"),
    ],
)
def test_what_is_no_degradation(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Degradation.model_validate(values)


def test_words() -> None:
    assert DEGRADATIONS["clean"].in_words() == "bicubic reduction"
    assert DEGRADATIONS["camera"].in_words().startswith("twice in a row: Gaussian blur 0.2 to 2.5 px")
    assert "rician noise" in DEGRADATIONS["mr"].in_words()
    assert not DEGRADATIONS["clean"].is_noisy
    assert DEGRADATIONS["mr"].is_noisy


def test_odd_rows_are_left_out() -> None:
    assert crop_to_multiple(np.zeros((50, 61, 3)), (4, 3)).shape == (48, 60, 3)
