"""How much two masks share: numbers from the four counts of one label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.types import Array

NAN = float("nan")


@dataclass(frozen=True)
class Counts:
    """Pixels of one label, prediction against reference. Counts add up over frames or cases."""

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def in_prediction(self) -> int:
        """Pixels the prediction marks."""
        return self.tp + self.fp

    @property
    def in_reference(self) -> int:
        """Pixels the reference marks."""
        return self.tp + self.fn

    @property
    def both_empty(self) -> bool:
        """True when neither marks anything: there was nothing to find, and nothing was found."""
        return self.in_prediction == 0 and self.in_reference == 0


def count(prediction: Array, reference: Array) -> Counts:
    """Count the pixels of two binary masks of one shape.

    Args:
        prediction: boolean array.
        reference: boolean array of the same shape.

    Raises:
        ValueError: when the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"masks must have one shape, got {prediction.shape} and {reference.shape}.")
    prediction, reference = prediction.astype(bool, copy=False), reference.astype(bool, copy=False)
    tp = int(np.count_nonzero(prediction & reference))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(reference)) - tp
    return Counts(tp, fp, fn, prediction.size - tp - fp - fn)


def dice(counts: Counts) -> float:
    """Return 2 TP / (2 TP + FP + FN) in [0, 1]; 1 when both masks are empty.

    Source: Dice 1945; the empty rule is ours, see ``mask_scores``.
    """
    total = counts.in_prediction + counts.in_reference
    return 2 * counts.tp / total if total else 1.0


def iou(counts: Counts) -> float:
    """Return TP / (TP + FP + FN) in [0, 1] (Jaccard); 1 when both masks are empty."""
    union = counts.tp + counts.fp + counts.fn
    return counts.tp / union if union else 1.0


def sensitivity(counts: Counts) -> float:
    """Return TP / (TP + FN), the share found; 1 when both are empty, NaN when only the reference is."""
    if counts.both_empty:
        return 1.0
    return counts.tp / counts.in_reference if counts.in_reference else NAN


def precision(counts: Counts) -> float:
    """Return TP / (TP + FP), the share that is right; 1 for both empty, NaN when only the prediction is."""
    if counts.both_empty:
        return 1.0
    return counts.tp / counts.in_prediction if counts.in_prediction else NAN


def specificity(counts: Counts) -> float:
    """Return TN / (TN + FP); NaN when the reference covers the whole image."""
    negatives = counts.tn + counts.fp
    return counts.tn / negatives if negatives else NAN
