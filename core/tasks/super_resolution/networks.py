"""Super-resolvers: coarse planes (N, C, H, W) in, fine planes out. All add a learned residual to bicubic enlargement.

Names of layers follow ESRGAN's published networks where there are such, so that weights files fit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.tasks.super_resolution.spec import NetworkSpec

COMPACT_LAYERS, FULL_LAYERS = 3, 5  # convolutions in a dense block
DENSE_BLOCKS = 3  # in a group
SLOPE = 0.2
# Detail is a few hundredths of the values it lies on: at the precision of bf16 it would drown in them.
DETAIL_GAIN = 8.0
LOCAL_RADIUS = 3  # coarse pixels around one that its local mean is taken over
SMALL_START = 0.1  # of Kaiming's initial weights, so that deep residual networks begin near the identity


def build_network(spec: NetworkSpec) -> nn.Module:
    """Build the network with random weights; its residual begins at zero, so it begins as bicubic enlargement.

    Source: Wang et al., ESRGAN (2018); Lim et al., EDSR (2017); Ledig et al., SRResNet (2017).
    """
    if spec.architecture == "bicubic":
        return Bicubic(spec.factors)
    network = _Residual(spec)
    network.apply(_start_small)
    nn.init.zeros_(network.last_layer.weight)
    if network.last_layer.bias is not None:
        nn.init.zeros_(network.last_layer.bias)
    return network


def receptive_radius(spec: NetworkSpec) -> int:
    """Return how many coarse pixels away an input pixel can still change an output pixel."""
    if spec.architecture == "bicubic":
        return 2
    if spec.architecture in ("rrdb", "rrdb_compact"):
        layers = FULL_LAYERS if spec.architecture == "rrdb" else COMPACT_LAYERS
        body = spec.blocks * DENSE_BLOCKS * layers
    else:
        body = 2 * spec.blocks
    bands = LOCAL_RADIUS if spec.split_bands else 0
    return body + bands + 5  # first, last and closing convolutions; those on the fine grid count less


class Bicubic(nn.Module):
    """Bicubic enlargement as a network without weights: the baseline."""

    def __init__(self, factors: tuple[int, int]) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, coarse: Tensor) -> Tensor:
        """Enlarge."""
        return enlarge(coarse, self.factors)


class _Residual(nn.Module):
    """First convolution, body with a skip around it, upsampling, last convolution; laid over bicubic."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.factors = spec.factors
        self.split_bands = spec.split_bands
        self.conv_first = _conv(spec.channels * (2 if spec.split_bands else 1), spec.features)
        self.body = nn.Sequential(*(_body_block(spec) for _ in range(spec.blocks)))
        self.conv_body = _conv(spec.features, spec.features)
        self.upsampler: nn.Module
        if spec.upsampling == "pixel_shuffle":
            self.upsampler = _ShuffleUp(spec)
        else:
            self.upsampler = _NearestUp(spec)

    @property
    def last_layer(self) -> nn.Conv2d:
        """The convolution that writes the residual's pixels."""
        layer = self.upsampler.conv_last
        if not isinstance(layer, nn.Conv2d):
            raise TypeError("the last layer must be a convolution.")
        return layer

    def forward(self, coarse: Tensor) -> Tensor:
        """Return the fine planes, float32."""
        features = self.conv_first(split_bands(coarse) if self.split_bands else coarse)
        features = features + self.conv_body(self.body(features))
        residual = self.upsampler(features).float()
        return enlarge(coarse, self.factors) + (residual / DETAIL_GAIN if self.split_bands else residual)


class _ShuffleUp(nn.Module):
    """One convolution on the coarse grid that holds all fine pixels in its channels."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.factors = spec.factors
        self.conv_last = _conv(spec.features, spec.channels * spec.factors[0] * spec.factors[1])

    def forward(self, features: Tensor) -> Tensor:
        """Turn channels into fine pixels."""
        return shuffle(self.conv_last(features), self.factors)


class _NearestUp(nn.Module):
    """Repeat pixels and convolve, by steps of 2 (or once by 3); then two convolutions on the fine grid."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.steps = upsampling_steps(spec.factors)
        for number in range(1, len(self.steps) + 1):
            self.add_module(f"conv_up{number}", _conv(spec.features, spec.features))
        self.conv_hr = _conv(spec.features, spec.features)
        self.conv_last = _conv(spec.features, spec.channels)

    def forward(self, features: Tensor) -> Tensor:
        """Enlarge the features, then write pixels."""
        for number, step in enumerate(self.steps, start=1):
            finer = functional.interpolate(features, scale_factor=step, mode="nearest")
            features = functional.leaky_relu(self.get_submodule(f"conv_up{number}")(finer), SLOPE)
        return self.conv_last(functional.leaky_relu(self.conv_hr(features), SLOPE))


class DenseBlock(nn.Module):
    """Convolutions that each see all before; the last one's output is added, scaled."""

    def __init__(self, features: int, growth: int, layers: int, residual_scale: float) -> None:
        super().__init__()
        self.layers = layers
        self.residual_scale = residual_scale
        for number in range(1, layers + 1):
            out = growth if number < layers else features
            self.add_module(f"conv{number}", _conv(features + (number - 1) * growth, out))

    def forward(self, given: Tensor) -> Tensor:
        """Return the input with the block's residual added."""
        seen = [given]
        for number in range(1, self.layers):
            made = self.get_submodule(f"conv{number}")(torch.cat(seen, dim=1))
            seen.append(functional.leaky_relu(made, SLOPE))
        last: Tensor = self.get_submodule(f"conv{self.layers}")(torch.cat(seen, dim=1))
        return given + last * self.residual_scale


class DenseGroup(nn.Module):
    """Three dense blocks in a row and a residual around them: the residual in residual."""

    def __init__(self, spec: NetworkSpec, layers: int) -> None:
        super().__init__()
        self.residual_scale = spec.residual_scale
        for number in range(1, DENSE_BLOCKS + 1):
            block = DenseBlock(spec.features, spec.growth, layers, spec.residual_scale)
            self.add_module(f"rdb{number}", block)

    def forward(self, given: Tensor) -> Tensor:
        """Return the input with the group's residual added."""
        passed = given
        for number in range(1, DENSE_BLOCKS + 1):
            passed = self.get_submodule(f"rdb{number}")(passed)
        return given + passed * self.residual_scale  # with the input in it, as published


class ResidualBlock(nn.Module):
    """Two convolutions with a skip around them, without norm: EDSR's."""

    def __init__(self, features: int, residual_scale: float) -> None:
        super().__init__()
        self.residual_scale = residual_scale
        self.conv1 = _conv(features, features)
        self.conv2 = _conv(features, features)

    def forward(self, given: Tensor) -> Tensor:
        """Return the input with the block's residual added."""
        return given + self.conv2(functional.relu(self.conv1(given))) * self.residual_scale


class NormedBlock(nn.Module):
    """Two convolutions with batch norm and a learned slope: SRResNet's."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = _conv(features, features)
        self.norm1 = nn.BatchNorm2d(features)
        self.slope = nn.PReLU(features)
        self.conv2 = _conv(features, features)
        self.norm2 = nn.BatchNorm2d(features)

    def forward(self, given: Tensor) -> Tensor:
        """Return the input with the block's residual added."""
        made = self.slope(self.norm1(self.conv1(given)))
        return given + self.norm2(self.conv2(made))


def enlarge(coarse: Tensor, factors: tuple[int, int]) -> Tensor:
    """Enlarge planes with bicubic interpolation, as ``core.imaging.resample.enlarge`` does."""
    size = (coarse.shape[2] * factors[0], coarse.shape[3] * factors[1])
    return functional.interpolate(coarse.float(), size=size, mode="bicubic", align_corners=False)


def split_bands(coarse: Tensor) -> Tensor:
    """Return (N, 2C, H, W): what differs from the mean around each pixel, amplified; that mean, centred."""
    coarse = coarse.float()
    around = functional.pad(coarse, (LOCAL_RADIUS,) * 4, mode="replicate")
    mean = functional.avg_pool2d(around, 2 * LOCAL_RADIUS + 1, stride=1)
    return torch.cat([(coarse - mean) * DETAIL_GAIN, mean - 0.5], dim=1)


def shuffle(packed: Tensor, factors: tuple[int, int]) -> Tensor:
    """Turn (N, C x fy x fx, H, W) into (N, C, H x fy, W x fx); torch's pixel shuffle with a factor for each axis."""
    if factors[0] == factors[1]:
        return functional.pixel_shuffle(packed, factors[0])
    n, _, height, width = packed.shape
    parts = packed.reshape(n, -1, *factors, height, width).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, -1, height * factors[0], width * factors[1])


def upsampling_steps(factors: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the enlargements by 1, 2 or 3 along (y, x) whose product is the factors."""
    steps: list[tuple[int, int]] = []
    left = factors
    while left != (1, 1):
        step = (_step(left[0]), _step(left[1]))
        steps.append(step)
        left = (left[0] // step[0], left[1] // step[1])
    return steps


def _step(factor: int) -> int:
    return 2 if factor % 2 == 0 else factor


def _body_block(spec: NetworkSpec) -> nn.Module:
    if spec.architecture == "rrdb":
        return DenseGroup(spec, FULL_LAYERS)
    if spec.architecture == "rrdb_compact":
        return DenseGroup(spec, COMPACT_LAYERS)
    if spec.architecture == "srresnet":
        return NormedBlock(spec.features)
    return ResidualBlock(spec.features, spec.residual_scale)


def _conv(given: int, made: int) -> nn.Conv2d:
    return nn.Conv2d(given, made, 3, padding=1)


def _start_small(module: nn.Module) -> None:
    """Draw a dense block's weights after Kaiming, scaled down; other layers keep torch's own beginning."""
    if not isinstance(module, DenseBlock):
        return
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data.mul_(SMALL_START)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
