"""The kept scorer: average precision by faster-coco-eval, from our readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from core.types import Array

Shape = Literal["bbox", "segm"]
IOU_LIMITS = np.linspace(0.5, 0.95, 10)
SIZES = {"": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
LEAST_CAP = 100  # COCO's cap of found objects per image and label; crowded images raise it


class Plane(NamedTuple):
    """Objects of one label set on one image plane, as COCO counts them.

    Attributes:
        shape: rows and columns.
        labels: label values.
        boxes_xywh: float64 (n, 4).
        areas: float64 (n,) in pixels.
        crowds: bool (n,).
        scores: float64 (n,).
        rles: COCO masks of the objects; None where they have boxes only.
    """

    shape: tuple[int, int]
    labels: Array
    boxes_xywh: Array
    areas: Array
    crowds: Array
    scores: Array
    rles: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Precision:
    """What the scorer found.

    Attributes:
        table: float64 (limits, recalls, labels, sizes), -1 where there is nothing to find.
    """

    table: Array

    def mean(self, size: str = "", limit: int | None = None, label: int | None = None) -> float:
        """Return the average precision of a size class, at one limit and of one label or over all; NaN for nothing.

        Args:
            size: one of ``SIZES``.
            limit: place in ``IOU_LIMITS``.
            label: place in the label set.
        """
        part = self.table[..., list(SIZES).index(size)]
        part = part if label is None else part[..., [label]]
        part = part if limit is None else part[[limit]]
        known = part[part > -1]
        return float(known.mean()) if known.size else float("nan")


def coco_precision(pairs: Sequence[tuple[Plane, Plane]], labels: Sequence[int], kind: Shape) -> Precision:
    """Score planes (found, true) with faster-coco-eval.

    Args:
        pairs: one per image or slice.
        labels: label values, rising; in the order of the result.
        kind: "bbox" compares boxes, "segm" masks.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    if not pairs:
        return Precision(np.full((len(IOU_LIMITS), 101, len(labels), len(SIZES)), -1.0))
    images: list[dict[str, int]] = []
    true: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, (ours, theirs) in enumerate(pairs, start=1):
        images.append({"id": number, "height": theirs.shape[0], "width": theirs.shape[1]})
        true += _annotations(theirs, number, kind, len(true) + 1)
        found += _annotations(ours, number, kind, len(found) + 1)
    categories = [{"id": label, "name": str(label)} for label in labels]
    reference = COCO({"images": images, "annotations": true, "categories": categories})
    results = COCO({"images": images, "annotations": found, "categories": categories})
    scorer = COCOeval_faster(reference, results, kind)
    scorer.params.catIds = list(labels)
    most = max(int(np.bincount(ours.labels).max(initial=0)) for ours, _ in pairs)
    scorer.params.maxDets = [1, 10, max(LEAST_CAP, most)]
    scorer.evaluate()
    scorer.accumulate()
    return Precision(np.asarray(scorer.eval["precision"])[..., -1])


def _annotations(plane: Plane, image: int, kind: Shape, first: int) -> list[dict[str, Any]]:
    rows = []
    for number in range(len(plane.labels)):
        row: dict[str, Any] = {
            "id": first + number,
            "image_id": image,
            "category_id": int(plane.labels[number]),
            "bbox": plane.boxes_xywh[number].tolist(),
            "area": float(plane.areas[number]),
            "iscrowd": int(plane.crowds[number]),
            "score": float(plane.scores[number]),
        }
        if kind == "segm" and plane.rles is not None:
            row["segmentation"] = plane.rles[number]
        rows.append(row)
    return rows


def plane_overlaps(ours: Plane, theirs: Plane, kind: Shape) -> Array:
    """Return the scorer's own overlaps of each found with each true object, float64 (n, m)."""
    from faster_coco_eval.core import mask

    if not len(ours.labels) or not len(theirs.labels):
        return np.zeros((len(ours.labels), len(theirs.labels)))
    found, true = (one.boxes_xywh if kind == "bbox" else one.rles for one in (ours, theirs))
    return np.asarray(mask.iou(found, true, theirs.crowds.astype(int).tolist()))
