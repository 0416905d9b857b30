"""Overlap numbers against scikit-learn and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.evaluation.overlap import Counts, count, dice, iou, precision, sensitivity, specificity

MASK_PAIR = arrays.array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(arrays.arrays(np.bool_, shape), arrays.arrays(np.bool_, shape))
)


@settings(max_examples=60, deadline=None)
@given(MASK_PAIR)
def test_equals_scikit_learn(pair) -> None:
    from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

    p, r = pair
    counts = count(p, r)
    flat = r.ravel(), p.ravel()
    assert dice(counts) == pytest.approx(f1_score(*flat, zero_division=1.0))
    assert iou(counts) == pytest.approx(jaccard_score(*flat, zero_division=1.0) if p.any() | r.any() else 1.0)
    if r.any():
        assert sensitivity(counts) == pytest.approx(recall_score(*flat))
    if p.any():
        assert precision(counts) == pytest.approx(precision_score(*flat))
    if not r.all():
        assert specificity(counts) == pytest.approx(recall_score(*flat, pos_label=False))
    assert counts.tp + counts.fp + counts.fn + counts.tn == p.size


@settings(max_examples=60, deadline=None)
@given(MASK_PAIR)
def test_laws(pair) -> None:
    p, r = pair
    there, back = count(p, r), count(r, p)
    assert dice(there) == dice(back)
    assert iou(there) == pytest.approx(dice(there) / (2 - dice(there)))
    assert dice(count(p, p)) == iou(count(p, p)) == 1.0
    if p.any() and r.any():
        assert sensitivity(there) == precision(back)
        assert 0 <= iou(there) <= dice(there) <= 1


def test_planted() -> None:
    p, r = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    p[0:4, 0:5] = True  # 20 pixels
    r[2:6, 0:5] = True  # 20 pixels, 10 shared
    counts = count(p, r)
    assert counts == Counts(10, 10, 10, 70)
    assert dice(counts) == 0.5
    assert iou(counts) == pytest.approx(1 / 3)
    assert sensitivity(counts) == precision(counts) == 0.5
    assert specificity(counts) == 70 / 80


def test_empty_rules() -> None:
    both, only_reference, only_prediction = Counts(0, 0, 0, 9), Counts(0, 0, 4, 5), Counts(0, 4, 0, 5)
    assert [f(both) for f in (dice, iou, sensitivity, precision, specificity)] == [1, 1, 1, 1, 1]
    assert (dice(only_reference), iou(only_reference), sensitivity(only_reference)) == (0, 0, 0)
    assert math.isnan(precision(only_reference))
    assert (dice(only_prediction), iou(only_prediction), precision(only_prediction)) == (0, 0, 0)
    assert math.isnan(sensitivity(only_prediction))
    assert math.isnan(specificity(Counts(9, 0, 0, 0)))


def test_counts_add_up_and_shapes_must_agree() -> None:
    rng = np.random.default_rng(0)
    p, r = rng.random((2, 8, 8)) < 0.5, rng.random((2, 8, 8)) < 0.5
    assert count(p[0], r[0]) + count(p[1], r[1]) == count(p, r)
    with pytest.raises(ValueError, match="one shape"):
        count(p, r[0])
