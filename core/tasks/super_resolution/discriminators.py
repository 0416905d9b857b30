"""Networks that judge whether a fine plane is real: one logit a pixel (U-Net) or one a plane."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

DiscriminatorName = Literal["unet", "plain"]
SLOPE = 0.2
MULTIPLE = 8  # the sides of what is judged must be divisible by it


def build_discriminator(name: DiscriminatorName, channels: int, features: int) -> nn.Module:
    """Build a discriminator for planes of so many channels; ``features`` is its width."""
    return UnetDiscriminator(channels, features) if name == "unet" else PlainDiscriminator(channels, features)


class UnetDiscriminator(nn.Module):
    """A U-Net with spectral normalisation that judges every pixel: says where, not only whether.

    Source: Wang et al., Real-ESRGAN, ICCV workshops 2021.
    """

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        widths = [features, 2 * features, 4 * features, 8 * features]
        self.first = nn.Conv2d(channels, features, 3, padding=1)
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(given, made, 4, 2, 1, bias=False)) for given, made in pairwise(widths)
        )
        self.up = nn.ModuleList(
            spectral_norm(nn.Conv2d(given, made, 3, 1, 1, bias=False))
            for given, made in pairwise(widths[::-1])
        )
        self.last = nn.ModuleList(
            spectral_norm(nn.Conv2d(features, features, 3, 1, 1, bias=False)) for _ in range(2)
        )
        self.judge = nn.Conv2d(features, 1, 3, padding=1)

    def forward(self, planes: Tensor) -> Tensor:
        """Return logits (N, 1, H, W); H and W must be divisible by 8."""
        levels = [functional.leaky_relu(self.first(planes), SLOPE)]
        for layer in self.down:
            levels.append(functional.leaky_relu(layer(levels[-1]), SLOPE))
        seen = levels.pop()
        for layer in self.up:
            finer = functional.interpolate(seen, scale_factor=2, mode="bilinear", align_corners=False)
            seen = functional.leaky_relu(layer(finer), SLOPE) + levels.pop()
        for layer in self.last:
            seen = functional.leaky_relu(layer(seen), SLOPE)
        logits: Tensor = self.judge(seen)
        return logits


class PlainDiscriminator(nn.Module):
    """Strided convolutions, then the mean over all places: one logit for a plane of any size."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        widths = [channels, features, 2 * features, 4 * features]
        layers: list[nn.Module] = []
        for given, made in pairwise(widths):
            layers += [nn.Conv2d(given, made, 3, padding=1), nn.LeakyReLU(SLOPE)]
            layers += [nn.Conv2d(made, made, 4, 2, 1, bias=False), nn.GroupNorm(1, made), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 1))

    def forward(self, planes: Tensor) -> Tensor:
        """Return logits (N, 1)."""
        logits: Tensor = self.layers(planes).mean(dim=(2, 3))
        return logits
