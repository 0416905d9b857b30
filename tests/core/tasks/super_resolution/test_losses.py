"""Losses, held against the scores' own code, SciPy and their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from core.tasks.super_resolution.losses import (
    FeatureDistance,
    FidelityLoss,
    pixel_distance,
    relativistic_losses,
    spectral_distance,
)
from core.tasks.super_resolution.losses import structural_similarity as ours


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    truth = torch.rand(2, 1, 32, 40, dtype=torch.float64)
    return (truth + 0.1 * torch.randn_like(truth)), truth


def test_similarity_is_scikit_images(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = [
        structural_similarity(
            one[0].numpy(), other[0].numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            data_range=1.0,
        )
        for one, other in zip(*pair, strict=True)
    ]  # fmt: skip
    assert float(ours(*pair)) == pytest.approx(np.mean(expected), abs=1e-9)


def test_pixel_distances(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    difference = (pair[0] - pair[1]).numpy()
    assert float(pixel_distance(*pair, "l1")) == pytest.approx(np.abs(difference).mean())
    assert float(pixel_distance(*pair, "l2")) == pytest.approx(np.square(difference).mean())
    assert float(pixel_distance(*pair, "charbonnier")) == pytest.approx(
        np.sqrt(np.square(difference) + 1e-6).mean()
    )


def test_the_spectrum_is_numpys(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    spectra = np.fft.rfft2((pair[0] - pair[1]).numpy(), norm="ortho")
    expected = np.abs(np.stack([spectra.real, spectra.imag])).mean()
    assert float(spectral_distance(*pair)) == pytest.approx(expected)


def test_parts_add_up(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    whole = FidelityLoss("l1", ssim=0.5, frequency=2.0)(*pair)
    parts = pixel_distance(*pair, "l1") + 0.5 * (1 - ours(*pair)) + 2.0 * spectral_distance(*pair)
    assert float(whole) == pytest.approx(float(parts))
    assert float(FidelityLoss("l1")(pair[1], pair[1])) == 0


def test_relativistic_losses_meet_where_nobody_can_tell() -> None:
    same = torch.zeros(4, 1)
    judge, make = relativistic_losses(same, same)
    assert float(judge) == float(make) == pytest.approx(np.log(2))
    judge, make = relativistic_losses(torch.full((4, 1), 5.0), torch.full((4, 1), -5.0))
    assert float(judge) < 1e-3
    assert float(make) > 9


def test_features_are_compared_whatever_the_channels() -> None:
    class Halves(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [images, images[:, :, ::2, ::2]]

    for wanted, given in ((3, 1), (1, 3), (3, 3)):
        distance = FeatureDistance(Halves(), wanted)
        truth = torch.rand(2, given, 8, 8)
        assert float(distance(truth, truth)) == 0
        found = (truth * 1.1).requires_grad_()
        off = distance(found, truth)
        assert float(off.detach()) == pytest.approx(0.1, rel=1e-3)
        off.backward()
        assert found.grad is not None
