"""How well boxes were found on the validation cases, in few numbers, and the score from which they should count."""

from __future__ import annotations

import math
from typing import Any

from core.evaluation.box_scores import best_threshold, score_boxes
from core.evaluation.box_tables import BoxPair
from core.learning.snapshot import SnapshotItem
from core.readings.reading import Boxes
from core.types import Label

FALLBACK_THRESHOLD = 0.5  # where nothing right was found at all
KEPT = ("map50", "map", "f1")  # and "map50/<label>"

Scores = dict[str, float]


def score_readings(
    items: tuple[SnapshotItem, ...],
    found: list[Boxes],
    truth: tuple[Boxes, ...],
    labels: tuple[Label, ...],
) -> Scores:
    """Score what was found in all cases.

    Returns:
        "map50", "map", "f1" (at the threshold), "map50/<label>" for labels that the cases have, and "threshold", the
        score at which F1 of all objects together is best.
    """
    threshold, f1 = best_threshold(_pairs(items, found, truth), labels)
    if f1 == 0:
        threshold = FALLBACK_THRESHOLD
    summary = score_boxes(_pairs(items, found, truth), labels, threshold, n_boot=0)
    metrics = summary["metrics"]
    kept = [*KEPT, *(f"map50/{label.name}" for label in labels)]
    values = {key: metrics[key]["value"] for key in kept if key in metrics}
    known = {key: float(value) for key, value in values.items() if value is not None and math.isfinite(value)}
    return {**dict.fromkeys(KEPT, 0.0), **known, "threshold": round(float(threshold), 4)}


def describe_readings(
    items: tuple[SnapshotItem, ...],
    found: list[Boxes],
    truth: tuple[Boxes, ...],
    labels: tuple[Label, ...],
    threshold: float,
) -> dict[str, Any]:
    """Return every number with its 95 % interval by patient, as the card wants it."""
    summary = score_boxes(_pairs(items, found, truth), labels, threshold)
    named = {
        key: {"value": metric["value"], "ci95": metric["ci95"], "n": metric["n"]}
        for key, metric in summary["metrics"].items()
    }
    return {"split": "val", "n_cases": summary["n_cases"], "n_patients": summary["n_patients"], **named}


def _pairs(items: tuple[SnapshotItem, ...], found: list[Boxes], truth: tuple[Boxes, ...]) -> list[BoxPair]:
    return [
        BoxPair(item.case_name, item.patient_key, item.info, ours, theirs)
        for item, ours, theirs in zip(items, found, truth, strict=True)
    ]
