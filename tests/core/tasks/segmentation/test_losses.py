"""Losses against formulas written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.tasks.segmentation.losses import LOSSES, build_loss


@pytest.fixture(params=[2, 4], ids=["binary", "multiclass"])
def case(request: pytest.FixtureRequest) -> tuple[torch.Tensor, torch.Tensor, np.ndarray, np.ndarray]:
    """Logits, target, and the same as probabilities (classes, pixels) and class numbers (pixels)."""
    generator = torch.Generator().manual_seed(request.param)
    logits = torch.randn(3, request.param, 7, 5, generator=generator) * 2
    target = torch.randint(0, request.param, (3, 7, 5), generator=generator)
    values = logits.double().numpy().transpose(1, 0, 2, 3).reshape(request.param, -1)
    exponentials = np.exp(values - values.max(0))
    return logits, target, exponentials / exponentials.sum(0), target.numpy().reshape(-1)


def _overlap(p: np.ndarray, t: np.ndarray, false_positive: float, false_negative: float) -> np.ndarray:
    """1 - TP / (TP + a FP + b FN) per foreground class; Dice is a = b = 0.5, Jaccard a = b = 1."""
    losses = []
    for label in range(1, len(p)):
        truth = (t == label).astype(float)
        hits = (p[label] * truth).sum()
        alarms, misses = (p[label] * (1 - truth)).sum(), ((1 - p[label]) * truth).sum()
        losses.append(1 - hits / (hits + false_positive * alarms + false_negative * misses))
    return np.array(losses)


def _lovasz(p: np.ndarray, t: np.ndarray) -> float:
    """Sum of sorted errors times the increments of the Jaccard loss; Berman et al. 2018, equation 9."""
    losses = []
    for label in range(len(p)):
        truth = (t == label).astype(float)
        errors = np.abs(truth - p[label])
        order = np.argsort(-errors)
        jaccard = []
        for taken in range(len(order) + 1):
            chosen = np.zeros(len(order))
            chosen[order[:taken]] = 1
            lost = (chosen * truth).sum()
            union = truth.sum() + (chosen * (1 - truth)).sum()
            jaccard.append(1 - (truth.sum() - lost) / union)
        losses.append((errors[order] * np.diff(jaccard)).sum())
    return float(np.mean(losses))


def _expected(name: str, p: np.ndarray, t: np.ndarray) -> float:
    own = p[t, np.arange(len(t))]
    return {
        "dice": lambda: _overlap(p, t, 0.5, 0.5).mean(),
        "jaccard": lambda: _overlap(p, t, 1, 1).mean(),
        "tversky": lambda: _overlap(p, t, 0.3, 0.7).mean(),
        "ce": lambda: -np.log(own).mean(),
        "focal": lambda: -((1 - own) ** 2 * np.log(own)).mean(),
        "dice_ce": lambda: _expected("dice", p, t) + _expected("ce", p, t),
        "dice_focal": lambda: _expected("dice", p, t) + _expected("focal", p, t),
        "lovasz": lambda: _lovasz(p, t),
    }[name]()


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_equals_its_formula(name: str, case: tuple) -> None:
    logits, target, p, t = case
    logits.requires_grad_()
    loss = build_loss(name, logits.shape[1])(logits, target)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(_expected(name, p, t), abs=1e-5)
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0


def test_class_weights_act_as_stated(case: tuple) -> None:
    logits, target, p, t = case
    weights = np.arange(1, len(p) + 1) / 2
    own = p[t, np.arange(len(t))]
    weight = weights[t]
    losses = {
        "ce": (-np.log(own) * weight).sum() / weight.sum(),
        "focal": (-((1 - own) ** 2) * np.log(own) * weight).sum() / weight.sum(),
        "dice": (_overlap(p, t, 0.5, 0.5) * weights[1:]).sum() / weights[1:].sum(),
        "tversky": (_overlap(p, t, 0.3, 0.7) * weights[1:]).sum() / weights[1:].sum(),
    }
    for name, expected in losses.items():
        loss = build_loss(name, len(p), list(weights))(logits, target)
        assert loss.item() == pytest.approx(expected, abs=1e-5), name


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_foreground_gives_finite_numbers(name: str) -> None:
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    loss = build_loss(name, 3)(logits, torch.zeros(2, 8, 8, dtype=torch.int64))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_logits_are_summed_in_float32(name: str) -> None:
    target = torch.zeros(1, 256, 256, dtype=torch.int64)
    target[:, :40] = 1
    logits = torch.randn(1, 2, 256, 256, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = build_loss(name, 2)(logits, target)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(build_loss(name, 2)(logits.float(), target).item(), rel=1e-6)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "lovasz", "ce"])
def test_right_answers_cost_nothing(name: str) -> None:
    target = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    logits = torch.nn.functional.one_hot(target, 3).permute(0, 3, 1, 2) * 50.0
    assert build_loss(name, 3)(logits, target).item() == pytest.approx(0, abs=1e-5)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"loss must be one of dice_ce, .* got 'mse'"):
        build_loss("mse", 2)
    for weights in ([1.0], [1.0, -1.0], [1.0, 0.0]):
        with pytest.raises(ValueError, match="class_weights"):
            build_loss("ce", 2, weights)
