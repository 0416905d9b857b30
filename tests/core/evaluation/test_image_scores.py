"""Scores of images, held against scikit-image and torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from core.evaluation.image_scores import Scoring, range_of, score_images
from core.types import ImageInfo


def pair(shape: tuple[int, ...], dtype: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a disturbed and a true image."""
    random = np.random.default_rng(seed)
    sigma = (3.0,) * 2 if len(shape) == 2 else (0.0, 3.0, 3.0) if shape[-1] > 4 else (3.0, 3.0, 0.0)
    smooth = gaussian_filter(random.random(shape), sigma)
    truth = (smooth - smooth.min()) / np.ptp(smooth) * 255
    found = truth + random.normal(0, 8, shape)
    if dtype == "int16":
        truth, found = truth * 10 - 1000, found * 10 - 1000
    if dtype != "float32":
        truth, found = np.rint(truth), np.rint(found)
    limits = np.iinfo(dtype) if dtype != "float32" else np.finfo(dtype)
    return tuple(np.clip(one, limits.min, limits.max).astype(dtype) for one in (found, truth))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("border", [0, 4])
def test_grey_images_score_as_scikit_image_says(dtype: str, border: int) -> None:
    found, truth = pair((190, 210), dtype)
    span = range_of(truth)
    assert span == (255 if dtype == "uint8" else float(truth.max()) - float(truth.min()))
    scores = score_images(found, truth, ImageInfo("yx", truth.shape, dtype), Scoring(span, border))
    inner = np.s_[border : 190 - border, border : 210 - border]
    one, other = found[inner].astype(float), truth[inner].astype(float)
    similar = structural_similarity(
        one, other, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=span
    )
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(other, one, data_range=span), abs=1e-9)
    assert scores["ssim"] == pytest.approx(similar, abs=1e-9)
    assert scores["nmse"] == pytest.approx(normalized_root_mse(other, one) ** 2, rel=1e-9)
    multi = multiscale_structural_similarity_index_measure(
        torch.from_numpy(one)[None, None], torch.from_numpy(other)[None, None], data_range=span
    )
    assert scores["ms_ssim"] == pytest.approx(float(multi), abs=2e-4)


def test_colour_is_the_mean_over_channels() -> None:
    found, truth = pair((40, 50, 3), "uint8")
    scores = score_images(found, truth, ImageInfo("yxc", truth.shape, "uint8"), Scoring(255))
    similar = structural_similarity(
        found, truth, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
        channel_axis=-1,
    )  # fmt: skip
    assert scores["ssim"] == pytest.approx(similar, abs=1e-9)
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, found, data_range=255), abs=1e-9)
    assert math.isnan(scores["ms_ssim"])  # too small for five scales


def test_a_volume_is_scored_whole_and_plane_by_plane() -> None:
    found, truth = pair((4, 40, 50), "int16")
    span = range_of(truth)
    scores = score_images(found, truth, ImageInfo("zyx", truth.shape, "int16"), Scoring(span))
    planes = [
        structural_similarity(
            one.astype(float), other.astype(float), gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, data_range=span,
        )
        for one, other in zip(found, truth, strict=True)
    ]  # fmt: skip
    whole = peak_signal_noise_ratio(truth.astype(float), found.astype(float), data_range=span)
    assert scores["psnr"] == pytest.approx(whole, abs=1e-9)
    assert scores["ssim"] == pytest.approx(np.mean(planes), abs=1e-9)


def test_equal_images_have_no_psnr_and_small_ones_no_ssim() -> None:
    truth = np.arange(64, dtype=np.uint8).reshape(8, 8)
    scores = score_images(truth, truth, ImageInfo("yx", (8, 8), "uint8"), Scoring(255))
    assert math.isnan(scores["psnr"])
    assert math.isnan(scores["ssim"])
    assert scores["nmse"] == 0


@pytest.mark.parametrize(
    ("found", "scoring", "says"),
    [
        ((8, 9), {"data_range": 255}, "one shape"),
        ((8, 8), {"data_range": 255, "border": 4}, "leaves nothing"),
    ],
)
def test_what_cannot_be_scored(found: tuple[int, int], scoring: dict[str, float], says: str) -> None:
    truth = np.zeros((8, 8), np.uint8)
    with pytest.raises(ValueError, match=says):
        score_images(np.zeros(found, np.uint8), truth, ImageInfo("yx", (8, 8), "uint8"), Scoring(**scoring))


def test_a_scoring_needs_a_range() -> None:
    with pytest.raises(ValueError, match="data_range"):
        Scoring(0)
