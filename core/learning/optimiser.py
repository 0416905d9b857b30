"""Optimisers and precision as a training's settings ask for them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import nn

from core.learning.devices import autocast_for


class OptimiserSettings(Protocol):
    """What is asked of a task's settings."""

    @property
    def optimiser(self) -> str:
        """ "adamw", "adam" or "sgd"."""
        ...

    @property
    def learning_rate(self) -> float:
        """Largest step size."""
        ...

    @property
    def momentum(self) -> float:
        """Momentum of sgd."""
        ...

    @property
    def weight_decay(self) -> float:
        """Pull of the weights to zero."""
        ...


def build_optimiser(network: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """Build the optimiser; biases and norms, which have one dimension, are not pulled to zero."""
    groups: list[dict[str, Any]] = [
        {
            "params": [value for value in network.parameters() if value.ndim > 1],
            "weight_decay": settings.weight_decay,
        },
        {"params": [value for value in network.parameters() if value.ndim <= 1], "weight_decay": 0.0},
    ]
    rate, momentum = settings.learning_rate, settings.momentum
    if settings.optimiser == "sgd":
        # Not fused: that form fails on weights which were frozen in the first steps and have no momentum yet.
        return torch.optim.SGD(groups, rate, momentum=momentum, nesterov=momentum > 0)
    if settings.optimiser == "adam":
        return torch.optim.Adam(groups, rate, fused=True)
    return torch.optim.AdamW(groups, rate, fused=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give all weights this step size."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def precision_for(mixed_precision: str, device: str) -> AbstractContextManager[Any]:
    """Return a fresh context that computes in the precision the settings ask for: auto, off or bf16."""
    if mixed_precision == "off":
        return nullcontext()
    if mixed_precision == "bf16":
        return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
    return autocast_for(device)
