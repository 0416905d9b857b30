"""The U-Net as textbooks draw it.

Source: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015.
Two departures, both usual today: padded convolutions, so that the output has the input's size, and
optional normalisation.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from core.tasks.segmentation.spec import NetworkSpec


class ClassicUnet(nn.Module):
    """Pairs of 3x3 convolutions, 2x2 max pooling, 2x2 transposed convolutions, skips, 1x1 head.

    Attributes:
        encoder: the contracting path, bottom included; what ``freeze_encoder`` freezes.
        decoder: the expanding path.
        segmentation_head: 1x1 convolution to one logit per class.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        widths = [spec.base_features * 2**level for level in range(spec.levels)]
        self.stride = spec.stride
        self.encoder = nn.ModuleList(
            _convolution_pair(before, after, spec.norm)
            for before, after in zip([spec.in_channels, *widths[:-1]], widths, strict=True)
        )
        self.decoder = nn.ModuleList(
            nn.ModuleDict(
                {
                    "up": nn.ConvTranspose2d(width * 2, width, kernel_size=2, stride=2),
                    "pair": _convolution_pair(width * 2, width, spec.norm),
                }
            )
            for width in reversed(widths[:-1])
        )
        self.pool = nn.MaxPool2d(2)
        self.segmentation_head = nn.Conv2d(widths[0], spec.classes, kernel_size=1)
        self._is_encoder_frozen = False  # set by networks.freeze_encoder
        self.apply(_initialise)

    def train(self, mode: bool = True) -> ClassicUnet:
        """Switch between training and prediction; a frozen encoder stays in prediction."""
        super().train(mode)
        if self._is_encoder_frozen:
            self.encoder.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, classes, height, width) for images (batch, channels, height, width).

        Raises:
            ValueError: when height or width is not divisible by 2 to the power of (levels - 1).
        """
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(
                f"Input height and width must be divisible by {self.stride}, got {height} x {width}."
            )
        skips: list[torch.Tensor] = []
        features = images
        for level, pair in enumerate(self.encoder):
            features = pair(self.pool(features) if level else features)
            skips.append(features)
        skips.pop()
        for step in self.decoder:
            assert isinstance(step, nn.ModuleDict)  # noqa: S101 - tells the type checker what the list holds
            features = step["pair"](torch.cat((skips.pop(), step["up"](features)), dim=1))
        logits: torch.Tensor = self.segmentation_head(features)
        return logits


def _convolution_pair(before: int, after: int, norm: str) -> nn.Sequential:
    """Return conv, norm, ReLU twice; a convolution has a bias only where no norm follows."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, width in ((1, before), (2, after)):
        layers[f"conv{number}"] = nn.Conv2d(width, after, kernel_size=3, padding=1, bias=norm == "none")
        if norm != "none":
            layers[f"norm{number}"] = _norm(after, norm)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)


def _norm(width: int, norm: str) -> nn.Module:
    """Return batch norm, or group norm with the most groups up to 8 that divide the width."""
    if norm == "batch":
        return nn.BatchNorm2d(width)
    return nn.GroupNorm(max(groups for groups in (1, 2, 4, 8) if width % groups == 0), width)


def _initialise(module: nn.Module) -> None:
    """Draw weights with deviation sqrt(2 / fan-in), as the paper asks for ReLU networks."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
