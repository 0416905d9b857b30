"""The average of weights follows its formula, leaves the network alone, and goes on from a checkpoint."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.learning.ema import WeightAverage


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def step(network: nn.Module) -> None:
    with torch.no_grad():
        for value in network.parameters():
            value.add_(torch.randn_like(value))
    network[1].num_batches_tracked += 1


def test_it_is_the_running_mean_with_rising_decay() -> None:
    network = make_network()
    average = WeightAverage(network, 0.5)
    expected = network[0].weight.detach().clone()
    for steps in range(1, 8):
        step(network)
        average.update(network)
        decay = min(0.5, (1 + steps) / (10 + steps))
        expected = decay * expected + (1 - decay) * network[0].weight.detach()
    assert torch.allclose(average.average["0.weight"], expected, atol=1e-6)
    assert average.average["1.num_batches_tracked"] == 7  # counters are copied, not averaged


def test_the_network_gets_its_own_weights_back() -> None:
    network = make_network()
    average = WeightAverage(network, 0.9)
    step(network)
    own = {name: value.clone() for name, value in network.state_dict().items()}
    with average.applied_to(network):
        assert torch.equal(network[0].weight, average.average["0.weight"])
    assert all(torch.equal(value, own[name]) for name, value in network.state_dict().items())


def test_it_goes_on_from_its_state() -> None:
    network, other = make_network(), make_network()
    average = WeightAverage(network, 0.9)
    step(network)
    average.update(network)
    resumed = WeightAverage(other, 0.9)
    resumed.load_state_dict(average.state_dict())
    step(network)
    average.update(network)
    resumed.update(network)
    assert all(torch.equal(value, resumed.average[name]) for name, value in average.average.items())


@pytest.mark.parametrize("decay", [0, 1, -0.1])
def test_senseless_decays_are_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        WeightAverage(make_network(), decay)
