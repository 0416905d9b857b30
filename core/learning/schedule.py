"""How far a training is, and the learning rate that belongs to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

ScheduleName = Literal["cosine", "polynomial", "constant"]
FINAL_SHARE = 0.01  # cosine and polynomial end at one hundredth, so that the last steps still move
POLYNOMIAL_POWER = 0.9


@dataclass(frozen=True)
class Budget:
    """When training ends: at so many epochs or so many seconds, whichever comes first.

    Attributes:
        epochs: rounds through the data; 0 sets no limit.
        seconds: wall-clock time; 0 sets no limit.
    """

    epochs: int
    seconds: float

    def __post_init__(self) -> None:
        if self.epochs <= 0 and self.seconds <= 0:
            raise ValueError("a budget needs epochs or seconds above 0.")

    def progress(self, epochs_done: float, elapsed_seconds: float) -> float:
        """Return the used share of the budget that will end first, from 0 to 1."""
        by_epochs = epochs_done / self.epochs if self.epochs > 0 else 0.0
        by_time = elapsed_seconds / self.seconds if self.seconds > 0 else 0.0
        return min(1.0, max(by_epochs, by_time))

    def eta_seconds(self, epochs_done: float, elapsed_seconds: float) -> float | None:
        """Return the seconds left, from the pace so far; None before there is a pace."""
        left = [self.seconds - elapsed_seconds] if self.seconds > 0 else []
        if self.epochs > 0 and epochs_done > 0:
            left.append((self.epochs - epochs_done) * elapsed_seconds / epochs_done)
        return max(0.0, min(left)) if left else None


def learning_rate_share(name: ScheduleName, progress: float, warmup: float = 0.0) -> float:
    """Return the learning rate as a share of its peak, in (0, 1].

    Args:
        name: shape of the fall after the warm-up.
        progress: used share of the training, 0 to 1.
        warmup: share of the training over which the rate rises linearly from 5 % of its peak.

    Raises:
        ValueError: for an unknown name.

    Source:
        cosine: Loshchilov & Hutter 2017; polynomial: Chen et al. 2017 (DeepLab), power 0.9.
    """
    progress = min(1.0, max(0.0, progress))
    if progress < warmup:
        return max(0.05, progress / warmup)
    rest = (progress - warmup) / (1 - warmup) if warmup < 1 else 1.0
    if name == "constant":
        return 1.0
    if name == "cosine":
        fall = (1 + math.cos(math.pi * rest)) / 2
    elif name == "polynomial":
        fall = (1 - rest) ** POLYNOMIAL_POWER
    else:
        raise ValueError(f"schedule must be cosine, polynomial or constant, got {name!r}.")
    return FINAL_SHARE + (1 - FINAL_SHARE) * fall
