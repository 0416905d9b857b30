"""A small promptable network for CPUs: a pyramid of features once an image, a small U-Net for each click or box."""

from __future__ import annotations

import io
import warnings
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGE_PX = 256
FEATURE_PX = 128  # side of the features that the decoder works on
WIDTHS = (12, 24, 48, 96, 128)  # of the encoder, at full size, half, a quarter ...
FEATURES, FINE = 32, 8  # channels of the two outputs of the encoder
NEAR_PX, AROUND_PX = 2.0, 16.0  # how wide a click shines
PRIOR_LOGIT = -2.0  # objects are small: training begins with "nothing here", not with a half everywhere
OPSET = 17


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(2):
        layers.append(nn.Conv2d(inputs if number == 0 else outputs, outputs, 3, padding=1, bias=False))
        layers += [nn.GroupNorm(outputs // 4, outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _twice(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


class PromptEncoder(nn.Module):
    """(n, 3, 256, 256) -> features (n, 32, 128, 128) and fine features (n, 8, 256, 256)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *WIDTHS)
        self.down = nn.ModuleList(_block(a, b) for a, b in pairwise(widths))
        self.lateral = nn.ModuleList(nn.Conv2d(width, FEATURES, 1) for width in WIDTHS[1:])
        self.mix = nn.ModuleList(_block(FEATURES, FEATURES) for _ in WIDTHS[2:])
        self.fine = nn.Conv2d(WIDTHS[0], FINE, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        levels = []
        for number, block in enumerate(self.down):
            image = block(image if number == 0 else F.max_pool2d(image, 2))
            levels.append(image)
        top = self.lateral[-1](levels[-1])
        for lateral, mix, level in zip(
            reversed(self.lateral[:-1]), reversed(self.mix), reversed(levels[1:-1]), strict=True
        ):
            top = mix(_twice(top) + lateral(level))
        return top, self.fine(levels[0])


class PromptDecoder(nn.Module):
    """Features and points -> logits (n, 1, 256, 256).

    Points are given as SAM has them: (n, p, 2) of x and y on the square of 256 pixels, and (n, p) labels: 1 inside,
    0 outside, 2 and 3 two corners of a box, -1 nothing.

    Nothing is convolved at full size, which would take most of the time: each place of half the size gets a
    coefficient for each fine feature, and the answer is their product (as in Gharbi et al., Deep bilateral learning for
    real-time image enhancement, 2017).
    """

    grid: Tensor

    def __init__(self) -> None:
        super().__init__()
        step = IMAGE_PX / FEATURE_PX
        line = (torch.arange(FEATURE_PX, dtype=torch.float32) + 0.5) * step
        self.register_buffer(
            "grid", torch.stack([line.repeat(FEATURE_PX, 1), line[:, None].repeat(1, FEATURE_PX)])
        )
        prompts = 6  # near and around what is inside, the same outside, in the box, alike
        given = FEATURES + prompts
        self.down = nn.ModuleList([_block(given, 48), _block(48, 64), _block(64, 64)])
        self.up = nn.ModuleList([_block(64 + 64, 48), _block(48 + 48, 32), _block(32 + given, 24)])
        self.coefficients = nn.Conv2d(24, FINE + 1, 1)

    def forward(
        self, image_embeddings: Tensor, fine_features: Tensor, point_coords: Tensor, point_labels: Tensor
    ) -> Tensor:
        maps = self._maps(image_embeddings, point_coords, point_labels)
        levels = [torch.cat([image_embeddings, maps], 1)]
        for block in self.down:
            levels.append(block(F.max_pool2d(levels[-1], 2)))
        top = levels.pop()
        for block in self.up:
            top = block(torch.cat([_twice(top), levels.pop()], 1))
        coefficients = _twice(self.coefficients(top))
        answer: Tensor = (coefficients[:, :FINE] * fine_features).sum(1, keepdim=True)
        return answer + coefficients[:, FINE:] + PRIOR_LOGIT

    def _maps(self, features: Tensor, coords: Tensor, labels: Tensor) -> Tensor:
        grid = self.grid[:, : features.shape[2], : features.shape[3]]  # smaller pictures are trained on, too
        away = grid[None, None] - coords[:, :, :, None, None]  # (n, p, 2, side, side)
        square = away.square().sum(2)
        near, around = (torch.exp(-square / (2 * width**2)) for width in (NEAR_PX, AROUND_PX))

        def of_kind(light: Tensor, kind: int) -> Tensor:
            return (light * (labels == kind).float()[:, :, None, None]).amax(1, keepdim=True)

        positive = of_kind(near, 1)
        beyond_first = of_kind((away >= 0).all(2).float(), 2)
        before_last = of_kind((away <= 0).all(2).float(), 3)
        # How alike each place is to what was clicked on.
        weight = positive / (positive.sum((2, 3), keepdim=True) + 1e-4)
        clicked = (features * weight).sum((2, 3), keepdim=True)
        alike = F.cosine_similarity(features, clicked.expand_as(features), dim=1)[:, None]
        return torch.cat(
            [
                positive,
                of_kind(around, 1),
                of_kind(near, 0),
                of_kind(around, 0),
                beyond_first * before_last,
                alike,
            ],
            1,
        )


class PromptModel(nn.Module):
    """Both halves; trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = PromptEncoder()
        self.decoder = PromptDecoder()


def to_onnx(model: PromptModel) -> tuple[bytes, bytes]:
    """Return encoder and decoder as ONNX files, one image at a time, any number of points."""
    model = model.eval().float().to("cpu")
    features = torch.zeros(1, FEATURES, FEATURE_PX, FEATURE_PX)
    fine = torch.zeros(1, FINE, IMAGE_PX, IMAGE_PX)
    points = torch.tensor([[[9.0, 9.0], [0.0, 0.0]]]), torch.tensor([[1.0, -1.0]])
    names = ["image_embeddings", "fine_features"]
    image = torch.zeros(1, 3, IMAGE_PX, IMAGE_PX)
    encoder = _export(model.encoder, (image,), (["image"], names), {})
    count = {"point_coords": {1: "points"}, "point_labels": {1: "points"}}
    inputs = [*names, "point_coords", "point_labels"]
    return encoder, _export(model.decoder, (features, fine, *points), (inputs, ["low_res_masks"]), count)


def _export(
    network: nn.Module,
    example: tuple[Tensor, ...],
    names: tuple[list[str], list[str]],
    free: dict[str, dict[int, str]],
) -> bytes:
    content: Any = io.BytesIO()  # the exporter's types leave out what it takes
    with warnings.catch_warnings():
        # The newer exporter needs another library and twenty times as long for these plain networks.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, example, content, input_names=names[0], output_names=names[1], dynamic_axes=free,
            opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    exported: bytes = content.getvalue()
    return exported
