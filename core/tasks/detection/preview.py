"""Augmented copies of a display picture with its boxes, for the training page."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.learning.variation import plan_augmentation
from core.readings.reading import Boxes, Reading
from core.tasks.detection.augmentation import Sample, build_augmentation
from core.tasks.detection.planning import unbent
from core.tasks.detection.settings import DetectionSettings
from core.types import Array


def preview_samples(
    picture: Array, boxes: Boxes | None, settings: DetectionSettings, count: int, seed: int
) -> list[tuple[Any, Reading | None]]:
    """Return augmented copies of a display picture (uint8 yx or yxc) and the boxes of that plane.

    Boxes keep their labels but not their masks: what is shown is how pictures and boxes move.
    """
    values = picture.astype(np.float32).reshape(*picture.shape[:2], -1)
    mean, deviation = float(values.mean()), float(values.std()) or 1.0
    augment = build_augmentation(unbent(plan_augmentation(settings)))
    count_of_boxes = 0 if boxes is None else len(boxes)
    corners = np.zeros((0, 4), np.float32) if boxes is None else boxes.box_xyxy
    sample = Sample(
        (values - mean) / deviation, corners, np.arange(count_of_boxes), None, np.arange(count_of_boxes)
    )
    samples: list[tuple[Any, Reading | None]] = []
    for number in range(count):
        varied = augment(sample, seed + number)
        shown = np.clip(np.rint(varied.image * deviation + mean), 0, 255).astype(np.uint8)
        moved = None
        if boxes is not None:
            planes = np.zeros(len(varied.labels), np.int32)
            moved = Boxes(varied.box_xyxy, boxes.labels[varied.labels], planes)
        samples.append((shown[..., 0] if picture.ndim == 2 else shown, moved))
    return samples
