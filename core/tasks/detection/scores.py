"""How well boxes were found on the validation planes: mean average precision, and the score that serves best.

Average precision is faster-coco-eval's, the same as pycocotools'; the threshold is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from core.tasks.detection.data import PlaneBoxes
from core.tasks.detection.merging import Found, overlaps
from core.types import Array

MATCH_IOU = 0.5
FALLBACK_THRESHOLD = 0.5  # where nothing was found at all
LEAST_DETECTIONS = 100


class PlanePair(NamedTuple):
    """What was found on a plane and what is there, in pixels of the image."""

    found: Found
    truth: PlaneBoxes


@dataclass(frozen=True)
class DetectionScores:
    """Scores over all validation planes.

    Attributes:
        map50: mean over labels of the average precision at IoU 0.5.
        map: mean over labels and over IoU 0.5 to 0.95.
        map50_by_label: (labels,) at IoU 0.5; NaN for labels that validation lacks.
        threshold: score at which F1 (IoU 0.5, all labels together) is best.
        f1: that F1.
    """

    map50: float
    map: float
    map50_by_label: npt.NDArray[np.float64]
    threshold: float
    f1: float


def score_planes(pairs: list[PlanePair], labels: int) -> DetectionScores:
    """Score what was found on all planes together; without any true object average precision is 0."""
    precision = average_precisions(pairs, labels)
    by_label = precision[0]
    threshold, f1 = best_threshold(pairs)
    is_known = ~np.isnan(by_label)
    return DetectionScores(
        map50=float(by_label[is_known].mean()) if is_known.any() else 0.0,
        map=float(precision[:, is_known].mean()) if is_known.any() else 0.0,
        map50_by_label=by_label,
        threshold=threshold,
        f1=f1,
    )


def average_precisions(pairs: list[PlanePair], labels: int) -> npt.NDArray[np.float64]:
    """Return average precision by (IoU threshold 0.5 to 0.95, label); NaN for labels without a true object.

    Source: COCO's definition, 101 recall levels, computed by faster-coco-eval.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    truth, found = _to_coco(pairs, labels)
    if not truth["annotations"]:
        return np.full((10, labels), np.nan)
    if not found:
        present = {row["category_id"] for row in truth["annotations"]}
        return np.array([[0.0 if label in present else np.nan for label in range(1, labels + 1)]] * 10)
    reference = COCO(truth)
    scorer = COCOeval_faster(
        reference, reference.loadRes(found), "bbox", print_function=lambda *words: None
    )
    most = max(LEAST_DETECTIONS, *(len(pair.found) for pair in pairs))
    scorer.params.maxDets = [1, 10, most]
    scorer.evaluate()
    scorer.accumulate()
    precision = scorer.eval["precision"][:, :, :, 0, -1]  # IoU, recall, label
    return np.where(precision[:, 0] < 0, np.nan, precision.mean(axis=1))


def best_threshold(pairs: list[PlanePair]) -> tuple[float, float]:
    """Return the score from which F1 is best, and that F1.

    Objects are matched by score, each with the true object of its label it overlaps most (IoU 0.5 or more). The
    threshold lies midway between the last score that counts and the next one.
    """
    hits = [_hits(pair) for pair in pairs]
    scores = np.concatenate([pair.found.scores for pair in pairs])
    total = sum(len(pair.truth.labels) for pair in pairs)
    if not len(scores) or not total:
        return FALLBACK_THRESHOLD, 0.0
    order = np.argsort(-scores, kind="stable")
    true = np.cumsum(np.concatenate(hits)[order])
    f1 = 2 * true / (np.arange(1, len(scores) + 1) + total)
    # Equal scores come or go together: only the last of them is a possible cut.
    ordered = scores[order]
    f1[:-1][ordered[:-1] == ordered[1:]] = -1
    best = int(f1.argmax())
    below = float(ordered[best + 1]) if best + 1 < len(ordered) else 0.0
    return round((float(ordered[best]) + below) / 2, 4), float(f1[best])


def _hits(pair: PlanePair) -> npt.NDArray[np.bool_]:
    """Tell for each object found whether it is a true one."""
    found, truth = pair.found, pair.truth
    hits = np.zeros(len(found), bool)
    if not len(found) or not len(truth.labels):
        return hits
    overlap = overlaps(found.box_xyxy, truth.box_xyxy)
    overlap[found.labels[:, None] != truth.labels[None]] = 0
    for number in np.argsort(-found.scores, kind="stable"):
        best = int(overlap[number].argmax())
        if overlap[number, best] >= MATCH_IOU:
            hits[number] = True
            overlap[:, best] = 0
    return hits


def _to_coco(pairs: list[PlanePair], labels: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return truth and findings as COCO's plain values."""
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, pair in enumerate(pairs, start=1):
        truth = _boxes_wh(pair.truth.box_xyxy)
        for box, label in zip(truth, pair.truth.labels.tolist(), strict=True):
            row = {"id": len(annotations) + 1, "image_id": image, "category_id": label, "bbox": box}
            annotations.append(row | {"area": box[2] * box[3], "iscrowd": 0})
        columns = (_boxes_wh(pair.found.box_xyxy), pair.found.labels.tolist(), pair.found.scores.tolist())
        for box, label, score in zip(*columns, strict=True):
            found.append({"image_id": image, "category_id": label, "bbox": box, "score": score})
    content = {
        "images": [{"id": image} for image in range(1, len(pairs) + 1)],
        "annotations": annotations,
        "categories": [{"id": label, "name": str(label)} for label in range(1, labels + 1)],
    }
    return content, found


def _boxes_wh(box_xyxy: Array) -> list[list[float]]:
    corners = box_xyxy.astype(np.float64)
    boxes: list[list[float]] = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]).tolist()
    return boxes
