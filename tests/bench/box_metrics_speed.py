"""Speed of all box scores with 2,000 patient resamples, against scoring anew by faster-coco-eval for each resample.

60 images of 60 patients, 3 labels, about 20 true and 60 found objects each. The peer's time is measured over a few
resamples and multiplied.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from core.evaluation.box_scores import N_BOOT, score_boxes
from core.evaluation.box_tables import BoxPair, gather
from core.evaluation.coco_scorer import coco_precision
from core.readings.reading import Boxes
from core.types import ImageInfo, make_labels

LABELS = make_labels(["red", "white", "platelet"])
INFO = ImageInfo("yx", (480, 640), "uint8")
N_IMAGES, N_TRUE, N_FOUND = 60, 20, 60
PEER_RESAMPLES = 5
GOAL = 10.0


def rows() -> list[dict[str, Any]]:
    """Return one row: ours and peer in seconds."""
    pairs = _pairs()
    begun = time.perf_counter()
    ours = score_boxes(pairs, LABELS)
    seconds = time.perf_counter() - begun
    tables = gather(pairs, LABELS, None)
    random = np.random.default_rng(0)
    begun = time.perf_counter()
    for _ in range(PEER_RESAMPLES):
        drawn = [tables.planes[number] for number in random.integers(0, N_IMAGES, N_IMAGES)]
        coco_precision(drawn, tables.values, "bbox")
    peer = (time.perf_counter() - begun) / PEER_RESAMPLES * N_BOOT
    whole = coco_precision(tables.planes, tables.values, "bbox").mean()
    if abs(whole - ours["metrics"]["map"]["value"]) > 1e-9:
        raise AssertionError("the mean average precision differs from faster-coco-eval's.")
    return [
        {
            "name": f"box-scores-{N_IMAGES}-images-{N_BOOT}-resamples",
            "ours": seconds,
            "peer": peer,
            "peer_name": "faster-coco-eval per resample (extrapolated)",
            "ratio": peer / seconds,
            "goal": GOAL,
            "unit": "s",
            "device": "cpu",
        }
    ]


def _pairs() -> list[BoxPair]:
    random = np.random.default_rng(1)
    return [
        BoxPair(f"image {number}", f"patient {number}", INFO, *_sides(random)) for number in range(N_IMAGES)
    ]


def _sides(random: np.random.Generator) -> tuple[Boxes, Boxes]:
    true = _boxes(random, N_TRUE)
    invented = _boxes(random, N_FOUND - N_TRUE)
    moved = true.box_xyxy + random.normal(0, 3, true.box_xyxy.shape).astype(np.float32)
    table = np.concatenate([moved, invented.box_xyxy]).clip(0, [630, 470, 640, 480]).astype(np.float32)
    table[:, 2:] = np.maximum(table[:, 2:], table[:, :2] + 5)
    labels = np.concatenate([true.labels, invented.labels])
    scores = np.concatenate([random.beta(5, 2, N_TRUE), random.beta(2, 5, N_FOUND - N_TRUE)])
    planes = np.zeros(N_FOUND, np.int32)
    return Boxes(table, labels, planes, scores.astype(np.float32)), true


def _boxes(random: np.random.Generator, count: int) -> Boxes:
    low = random.uniform(0, (560, 400), (count, 2))
    table = np.hstack([low, low + random.uniform(15, 75, (count, 2))]).astype(np.float32)
    return Boxes(table, random.integers(1, 4, count).astype(np.uint16), np.zeros(count, np.int32))
