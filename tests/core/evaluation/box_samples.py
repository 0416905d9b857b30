"""Boxes to score, and scorers written by others (pycocotools) or from the definition, to score them with."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace

import numpy as np

from core.evaluation.box_tables import BoxPair
from core.readings.findings import box_ious
from core.readings.reading import Boxes, crop_shape
from core.types import ImageInfo, make_labels

LABELS = make_labels(["red", "white", "plate"])
INFO = ImageInfo("yx", (200, 240), "uint8")
SCORES = (0.9, 0.7, 0.7, 0.5, 0.3)  # ties on purpose


def boxes(rows: list[tuple[float, ...]], scores: list[float] | None = None, **more: object) -> Boxes:
    """Make boxes from (left, top, right, bottom, label[, plane]) rows."""
    table = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    return Boxes(
        table,
        np.array([row[4] for row in rows], np.uint16),
        np.array([row[5] if len(row) > 5 else 0 for row in rows], np.int32),
        None if scores is None else np.array(scores, np.float32),
        **more,  # type: ignore[arg-type]
    )


def random_pair(random: np.random.Generator, number: int, crops: bool = False) -> BoxPair:
    """An image with some true objects (some of them crowds), found with jitter, duplicates, misses and inventions."""
    count = int(random.integers(0, 9))
    low = random.uniform(0, 150, (count, 2))
    size = random.choice([8.0, 20.0, 45.0, 100.0], (count, 1)) * random.uniform(0.5, 1.0, (count, 2))
    true = np.hstack([low, np.minimum(low + size, [240, 200])])
    labels = random.integers(1, 4, count)
    crowds = random.random(count) < 0.15
    kept = random.random(count) < 0.8
    found = [true[kept], true[random.random(count) < 0.2]]
    taken = [labels[kept], labels[: len(found[1])]]
    found.append(np.hstack([c := random.uniform(0, 150, (2, 2)), c + random.uniform(5, 60, (2, 2))]))
    taken.append(random.integers(1, 4, 2))
    table = np.concatenate(found)
    table = table + random.normal(0, 2.5, table.shape)
    table[:, 2:] = np.maximum(table[:, 2:], table[:, :2] + 2)
    table = table.clip(0, [238, 198, 240, 200])
    table[:, 2:] = np.maximum(table[:, 2:], table[:, :2] + 1).clip(None, [240, 200])
    theirs = Boxes(
        true.astype(np.float32), labels.astype(np.uint16), np.zeros(count, np.int32), crowds=crowds
    )
    ours = Boxes(
        table.astype(np.float32),
        np.concatenate(taken).astype(np.uint16),
        np.zeros(len(table), np.int32),
        random.choice(SCORES, len(table)).astype(np.float32),
    )
    if crops:
        ours, theirs = (
            replace(side, crops=tuple(random.random(crop_shape(box)) < 0.9 for box in side.box_xyxy))
            for side in (ours, theirs)
        )
    return BoxPair(f"case{number}", f"patient{number // 2}", INFO, ours, theirs)


def by_pycocotools(pairs: list[BoxPair], kind: str = "bbox", cap: int = 100) -> np.ndarray:
    """Score with pycocotools; returns its table of precisions (overlaps, recalls, labels, sizes)."""
    from pycocotools import mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(side: Boxes, image: int, first: int) -> list[dict]:
        result = []
        for number in range(len(side)):
            left, top, right, bottom = side.box_xyxy[number].astype(float).tolist()
            row = {
                "id": first + number, "image_id": image, "category_id": int(side.labels[number]),
                "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top),
                "iscrowd": int(side.crowds[number]) if side.crowds is not None else 0,
                "score": 1.0 if side.scores is None else float(side.scores[number]),
            }  # fmt: skip
            if kind == "segm":
                plane = np.zeros(INFO.shape, np.uint8, order="F")
                y, x = int(np.floor(top)), int(np.floor(left))
                crop = side.crops[number]
                plane[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
                row["segmentation"] = mask.encode(plane)
            result.append(row)
        return result

    images, true, found = [], [], []
    for number, pair in enumerate(pairs, start=1):
        images.append({"id": number, "height": INFO.shape[0], "width": INFO.shape[1]})
        true += rows(pair.theirs, number, len(true) + 1)
        found += rows(pair.ours, number, len(found) + 1)
    categories = [{"id": label.value, "name": label.name} for label in LABELS]
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for annotations in (true, found):
            coco = COCO()
            coco.dataset = {"images": images, "annotations": annotations, "categories": categories}
            coco.createIndex()
            sides.append(coco)
        scorer = COCOeval(*sides, iouType=kind)
        scorer.params.maxDets = [1, 10, cap]
        scorer.evaluate()
        scorer.accumulate()
    return scorer.eval["precision"][..., -1]


def mean_precision(table: np.ndarray) -> float | None:
    """Mean over everything that is defined; None for nothing."""
    known = table[table > -1]
    return float(known.mean()) if known.size else None


def froc_by_definition(pairs: list[BoxPair], rates: tuple[float, ...]) -> list[float] | None:
    """Try every score as threshold; count hits and false ones image by image; keep the best allowed sensitivity."""
    total = sum(int((~_crowds(pair.theirs)).sum()) for pair in pairs)
    if not total:
        return None
    thresholds = sorted({float(score) for pair in pairs for score in pair.ours.scores})
    points = [_operating_point(pairs, threshold) for threshold in thresholds]
    return [
        max((hits for hits, false in points if false <= rate * len(pairs)), default=0) / total
        for rate in rates
    ]


def _operating_point(pairs: list[BoxPair], threshold: float) -> tuple[int, int]:
    hits = false = 0
    for pair in pairs:
        crowds, used = _crowds(pair.theirs), set()
        chosen = [n for n in range(len(pair.ours)) if pair.ours.scores[n] >= np.float32(threshold)]
        for number in sorted(chosen, key=lambda n: -float(pair.ours.scores[n])):
            fitting = [
                n for n in range(len(pair.theirs)) if pair.theirs.labels[n] == pair.ours.labels[number]
            ]
            ious = {n: _iou(pair.ours.box_xyxy[number], pair.theirs.box_xyxy[n], crowds[n]) for n in fitting}
            free = [n for n in fitting if not crowds[n] and n not in used and ious[n] >= 0.5]
            if free:
                hits += 1
                used.add(max(free, key=lambda n: (ious[n], n)))
            elif not any(crowds[n] and ious[n] >= 0.5 for n in fitting):
                false += 1
    return hits, false


def _crowds(side: Boxes) -> np.ndarray:
    return np.zeros(len(side), bool) if side.crowds is None else side.crowds


def _iou(one: np.ndarray, other: np.ndarray, crowd: bool) -> float:
    if not crowd:
        return float(box_ious(one[None], other[None])[0, 0])
    one, other = one.astype(float), other.astype(float)
    shared = np.prod(np.maximum(0, np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])))
    return float(shared / np.prod(one[2:] - one[:2]))
