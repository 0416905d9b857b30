"""What training makes small: distance to the true pixels, to their structure, spectrum and features; and realism."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

PixelLoss = Literal["l1", "charbonnier", "l2"]
CHARBONNIER = 1e-3  # rounds the corner of the absolute value, on a scale of 0 to 1
SIGMA, RADIUS = 1.5, 5  # SSIM's window, as in core.evaluation.image_scores
C1, C2 = 0.01**2, 0.03**2


@dataclass(frozen=True)
class FidelityLoss:
    """Distance of found to true planes (N, C, H, W) on a scale of 0 to 1.

    Attributes:
        pixel: "l1", "charbonnier" (a smooth l1) or "l2".
        ssim: weight of one minus the structural similarity.
        frequency: weight of the absolute difference of the spectra.
    """

    pixel: PixelLoss = "charbonnier"
    ssim: float = 0.0
    frequency: float = 0.0

    def __call__(self, found: Tensor, truth: Tensor) -> Tensor:
        """Return the mean distance."""
        loss = pixel_distance(found, truth, self.pixel)
        if self.ssim > 0:
            loss = loss + self.ssim * (1 - structural_similarity(found, truth))
        if self.frequency > 0:
            loss = loss + self.frequency * spectral_distance(found, truth)
        return loss


def pixel_distance(found: Tensor, truth: Tensor, kind: PixelLoss) -> Tensor:
    """Return the mean distance of pixels.

    Source: Charbonnier et al., Two deterministic half-quadratic regularization algorithms, ICIP 1994.
    """
    if kind == "l1":
        return functional.l1_loss(found, truth)
    if kind == "l2":
        return functional.mse_loss(found, truth)
    difference = found - truth
    return torch.sqrt(difference * difference + CHARBONNIER**2).mean()


def structural_similarity(found: Tensor, truth: Tensor) -> Tensor:
    """Return the mean SSIM of planes on a scale of 0 to 1; see ``core.evaluation.image_scores.ssim``."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=found.dtype, device=found.device)
    line = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel = torch.outer(line, line) / line.sum() ** 2
    window = kernel.expand(found.shape[1], 1, *kernel.shape)

    def smooth(planes: Tensor) -> Tensor:
        return functional.conv2d(planes, window, groups=planes.shape[1])

    mean_x, mean_y = smooth(found), smooth(truth)
    variance_x = smooth(found * found) - mean_x**2
    variance_y = smooth(truth * truth) - mean_y**2
    covariance = smooth(found * truth) - mean_x * mean_y
    similar = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    return (similar / ((mean_x**2 + mean_y**2 + C1) * (variance_x + variance_y + C2))).mean()


def spectral_distance(found: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute difference of the planes' Fourier coefficients (orthonormal)."""
    difference = torch.fft.rfft2(found - truth, norm="ortho")
    return torch.view_as_real(difference).abs().mean()


def relativistic_losses(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return (the discriminator's loss, the generator's loss) from logits of real and made planes.

    Each is judged against the mean of the other kind: a real one should look more real than the average made one.

    Source: Jolicoeur-Martineau, The relativistic discriminator (2018), as ESRGAN uses it.
    """
    real_over, fake_over = real - fake.mean(), fake - real.mean()
    one, zero = torch.ones_like, torch.zeros_like
    bce = functional.binary_cross_entropy_with_logits
    judge = (bce(real_over, one(real_over)) + bce(fake_over, zero(fake_over))) / 2
    make = (bce(real_over, zero(real_over)) + bce(fake_over, one(fake_over))) / 2
    return judge, make


class FeatureDistance(nn.Module):
    """Distance of the features that a fixed network sees in two images: the perceptual loss."""

    def __init__(self, features: nn.Module, channels: int) -> None:
        """Keep the network.

        Args:
            features: gives a list of feature maps for (N, channels, H, W) on a scale of 0 to 1; never trained.
            channels: it takes; grey planes are repeated, colour ones averaged to fit.
        """
        super().__init__()
        self.features = features.eval().requires_grad_(False)
        self.channels = channels

    def forward(self, found: Tensor, truth: Tensor) -> Tensor:
        """Return the mean absolute difference over the maps, each relative to the size of the true features."""
        with torch.no_grad():
            wanted = self.features(self._fitted(truth))
        distances = [
            functional.l1_loss(one.float(), other.float()) / (other.float().abs().mean() + 1e-6)
            for one, other in zip(self.features(self._fitted(found)), wanted, strict=True)
        ]
        return torch.stack(distances).mean()

    def _fitted(self, planes: Tensor) -> Tensor:
        if planes.shape[1] == self.channels:
            return planes
        return planes.mean(dim=1, keepdim=True).expand(-1, self.channels, -1, -1)
