"""A moving average of a network's weights: smoother than the last step, at no cost at prediction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average over all floating-point weights and statistics of a network.

    The decay rises with the steps, ``min(decay, (1 + steps) / (10 + steps))``, so that a short training does
    not drag its random start along.

    Source: Polyak & Juditsky 1992; the rising decay is TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, got {decay}.")
        self.decay = decay
        self.steps = 0
        self.average = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the network's present weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        present = network.state_dict()
        moving = [name for name, value in present.items() if value.dtype.is_floating_point]
        torch._foreach_lerp_(
            [self.average[name] for name in moving], [present[name] for name in moving], 1 - decay
        )
        for name in present.keys() - set(moving):
            self.average[name].copy_(present[name])

    @contextmanager
    def applied_to(self, network: nn.Module) -> Iterator[None]:
        """Give the network the averaged weights for the length of a ``with`` block."""
        own = {name: value.detach().clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.average)
        try:
            yield
        finally:
            network.load_state_dict(own)

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        """Return what a checkpoint must keep."""
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state: dict[str, int | dict[str, Tensor]]) -> None:
        """Go on from a checkpoint's state."""
        steps, average = state["steps"], state["average"]
        if not isinstance(steps, int) or not isinstance(average, dict):
            raise ValueError("the state must hold steps and average.")
        self.steps = steps
        for name, value in average.items():
            self.average[name].copy_(value)
