"""Losses between logits (N, classes, H, W) and class numbers (N, H, W), all from a softmax over classes.

Overlap losses (Dice, Jaccard, Tversky) look at the foreground classes over the whole batch; a class that
does not occur in a batch does not count in it. Sums are taken in float32 also under autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional

LossName = Literal["dice_ce", "dice", "ce", "focal", "dice_focal", "tversky", "lovasz", "jaccard"]
LOSSES: tuple[str, ...] = get_args(LossName)

FOCAL_GAMMA = 2.0
# Misses weigh more than false alarms, as the paper proposes for small lesions.
TVERSKY_FALSE_POSITIVE, TVERSKY_FALSE_NEGATIVE = 0.3, 0.7


def build_loss(name: str, classes: int, class_weights: Sequence[float] | None = None) -> nn.Module:
    """Build a loss: ``loss(logits, target) -> scalar``.

    Args:
        name: one of ``LOSSES``.
        classes: number of classes with background.
        class_weights: one weight per class, background first; overlap losses use those of the foreground,
            "lovasz" has none and ignores them.

    Raises:
        ValueError: for an unknown name or weights of another number.
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}.")
    weights = None if class_weights is None else [float(weight) for weight in class_weights]
    if weights is not None and (len(weights) != classes or min(weights) < 0 or sum(weights[1:]) <= 0):
        raise ValueError(f"class_weights must be {classes} numbers of at least 0, got {class_weights}.")
    parts = {"dice_ce": ("dice", "ce"), "dice_focal": ("dice", "focal")}.get(name, (name,))
    return SegmentationLoss([_build_part(part, classes, weights) for part in parts])


class SegmentationLoss(nn.Module):
    """The sum of one or two losses, computed in float32."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss for logits (N, classes, H, W) and target (N, H, W) of class numbers, int64."""
        with torch.autocast(device_type=logits.device.type, enabled=False):
            logits = logits.float()
            return torch.stack([part(logits, target) for part in self.parts]).sum()


class FocalLoss(nn.Module):
    """Cross-entropy in which easy pixels count less, by the factor (1 - p) to the power of gamma.

    Source: Lin et al., "Focal Loss for Dense Object Detection", 2017, equation 4, with softmax.
    """

    weights: torch.Tensor | None

    def __init__(self, weights: list[float] | None, gamma: float = FOCAL_GAMMA) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("weights", None if weights is None else torch.tensor(weights))

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean over pixels, weighted as torch's cross-entropy is."""
        log_p = functional.log_softmax(logits, dim=1).gather(1, target[:, None])[:, 0]
        losses = -((1 - log_p.exp()) ** self.gamma) * log_p
        if self.weights is None:
            return losses.mean()
        weights = self.weights[target]
        return (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(losses.dtype).tiny)


def _build_part(name: str, classes: int, weights: list[float] | None) -> nn.Module:
    if name == "ce":
        return nn.CrossEntropyLoss(None if weights is None else torch.tensor(weights))
    if name == "focal":
        return FocalLoss(weights)
    from segmentation_models_pytorch import losses

    if name == "lovasz":
        return losses.LovaszLoss("multiclass")
    foreground = list(range(1, classes))
    if name == "tversky":
        return losses.TverskyLoss(
            "multiclass",
            classes=foreground,
            alpha=TVERSKY_FALSE_POSITIVE,
            beta=TVERSKY_FALSE_NEGATIVE,
            class_weights=weights,
        )
    kind = losses.DiceLoss if name == "dice" else losses.JaccardLoss
    return kind("multiclass", classes=foreground, class_weights=weights)
