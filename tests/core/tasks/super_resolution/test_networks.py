"""Networks begin as bicubic enlargement, take every scale and channel number, and can learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.imaging.resample import enlarge
from core.tasks.super_resolution.discriminators import build_discriminator
from core.tasks.super_resolution.networks import (
    DETAIL_GAIN,
    build_network,
    receptive_radius,
    shuffle,
    split_bands,
    upsampling_steps,
)
from core.tasks.super_resolution.spec import ARCHITECTURES, NetworkSpec

FACTORS = [(2, 2), (3, 3), (4, 4), (4, 1), (1, 3)]


def spec(architecture: str, **values: object) -> NetworkSpec:
    return NetworkSpec(architecture=architecture, blocks=1, features=8, growth=4, **values)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("upsampling", ["pixel_shuffle", "nearest_conv"])
@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize(("channels", "bands"), [(1, False), (3, True)])
def test_they_begin_as_bicubic_of_any_size(
    architecture: str, upsampling: str, factors: tuple[int, int], channels: int, bands: bool
) -> None:
    network = build_network(
        spec(architecture, upsampling=upsampling, factors=factors, channels=channels, split_bands=bands)
    ).eval()
    coarse = torch.rand(2, channels, 7, 9)
    with torch.inference_mode():
        made = network(coarse)
    assert made.shape == (2, channels, 7 * factors[0], 9 * factors[1])
    expected = enlarge(coarse[1].permute(1, 2, 0).numpy(), factors)
    assert np.abs(made[1].permute(1, 2, 0).numpy() - expected).max() < 2e-5


@pytest.mark.parametrize("architecture", ["rrdb", "rrdb_compact", "edsr", "srresnet"])
def test_every_weight_learns(architecture: str) -> None:
    torch.manual_seed(0)
    network = build_network(spec(architecture, factors=(2, 2)))
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(2):  # the last layer begins at zero, so others learn from the second step on
        optimiser.zero_grad()
        network(torch.rand(2, 1, 8, 8)).square().mean().backward()
        optimiser.step()
    without = [
        name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()
    ]
    # A bias before batch norm is taken out again.
    assert [name for name in without if "conv1.bias" not in name and "conv2.bias" not in name] == []


@pytest.mark.parametrize("bands", [False, True])
@pytest.mark.parametrize("architecture", ["rrdb", "rrdb_compact", "edsr"])
def test_the_receptive_radius_is_an_upper_bound(architecture: str, bands: bool) -> None:
    torch.manual_seed(0)
    made_from = spec(architecture, factors=(2, 2), upsampling="nearest_conv", split_bands=bands)
    network = build_network(made_from).eval()
    torch.nn.init.normal_(network.last_layer.weight)
    radius = receptive_radius(made_from)
    plane = torch.rand(1, 1, 4 * radius + 1, 3)
    other = plane.clone()
    other[0, 0, 2 * radius] += 1
    with torch.inference_mode():
        changed = (network(plane) - network(other)).abs().amax(dim=(0, 1, 3)).nonzero().ravel()
    middle = 2 * (2 * radius) + 0.5
    assert (changed - middle).abs().max() <= 2 * radius + 1


def test_names_are_those_of_published_weights() -> None:
    network = build_network(
        NetworkSpec(
            architecture="rrdb", channels=3, upsampling="nearest_conv", blocks=1, features=64, growth=32
        )
    )
    names = set(network.state_dict())
    assert {
        "conv_first.weight",
        "body.0.rdb1.conv1.weight",
        "body.0.rdb3.conv5.bias",
        "conv_body.bias",
    } <= names
    assert network.body[0].rdb1.conv5.weight.shape == (64, 64 + 4 * 32, 3, 3)


def test_bands_add_up_to_the_plane() -> None:
    coarse = torch.rand(2, 3, 9, 1)
    bands = split_bands(coarse)
    assert bands.shape == (2, 6, 9, 1)
    assert torch.allclose(bands[:, :3] / DETAIL_GAIN + bands[:, 3:] + 0.5, coarse, atol=1e-6)
    assert torch.allclose(bands[:, 3:, 4] + 0.5, coarse[:, :, 1:8].mean(dim=2), atol=1e-6)


def test_shuffle_is_torchs_and_one_axis_is_its_own() -> None:
    packed = torch.rand(2, 12, 3, 5)
    assert torch.equal(shuffle(packed, (2, 2)), torch.nn.functional.pixel_shuffle(packed, 2))
    rows = shuffle(packed, (3, 1))
    assert rows.shape == (2, 4, 9, 5)
    assert torch.equal(rows[:, 1, 1::3], packed[:, 4])


@pytest.mark.parametrize(
    ("factors", "steps"), [((4, 4), 2), ((3, 3), 1), ((2, 1), 1), ((4, 1), 2), ((4, 3), 2)]
)
def test_upsampling_steps_multiply_to_the_factors(factors: tuple[int, int], steps: int) -> None:
    found = upsampling_steps(factors)
    assert len(found) == steps
    assert tuple(np.prod(found, axis=0)) == factors


@pytest.mark.parametrize("name", ["unet", "plain"])
@pytest.mark.parametrize("channels", [1, 3])
def test_discriminators_judge_planes(name: str, channels: int) -> None:
    network = build_discriminator(name, channels, 4)
    logits = network(torch.rand(2, channels, 24, 32))
    assert logits.shape == ((2, 1, 24, 32) if name == "unet" else (2, 1))
    logits.mean().backward()
    assert all(value.grad is not None for value in network.parameters())


@pytest.mark.parametrize("factors", [(1, 1), (5, 2), (0, 2)])
def test_scales_that_there_are_not(factors: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="factors"):
        NetworkSpec(factors=factors)
