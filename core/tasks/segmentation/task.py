"""The segmentation task as the rest of the house sees it. Imports fast: the work is imported when asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from core.errors import TrainingError
from core.learning.snapshot import Snapshot
from core.readings.reading import Reading
from core.tasks.segmentation.presets import PRESETS
from core.tasks.segmentation.settings import SegmentationSettings, settings_from_text
from core.tasks.task import MetricInfo, OnEvent, Predictor, ShouldStop, TrainingRequest, TrainingResult
from core.types import Image, ImageInfo, Label


class SegmentationTask:
    """Which pixels belong to which label."""

    name = "segmentation"
    title = "Segmentation"
    settings_type: type[BaseModel] = SegmentationSettings
    presets: dict[str, dict[str, Any]] = PRESETS
    metrics: tuple[MetricInfo, ...] = (
        MetricInfo("dice", "Dice"),
        MetricInfo("iou", "IoU"),
        MetricInfo("sensitivity", "Sensitivity"),
        MetricInfo("precision", "Precision"),
        MetricInfo("hd95", "HD95", "mm", higher_is_better=False),
        MetricInfo("nsd", "NSD at 2 mm"),
    )
    headline_metric = "dice"
    needs_labels = True

    def settings_from_text(self, preset: str, pairs: Iterable[str]) -> SegmentationSettings:
        """Lay ``key=value`` texts over a preset; raise TrainingError with one sentence for a wrong one."""
        return settings_from_text(preset, pairs)

    def check(self, snapshot: Snapshot, settings: BaseModel) -> list[str]:
        """Return warnings; raise TrainingError with one sentence when training cannot start."""
        from core.tasks.segmentation.planning import check_snapshot, check_start

        check_start(snapshot, _own(settings))
        return check_snapshot(snapshot)

    def train(self, request: TrainingRequest, on_event: OnEvent, should_stop: ShouldStop) -> TrainingResult:
        """Train, or resume, until done or ``should_stop()``; write the model package to ``out_dir``."""
        from core.tasks.segmentation.training import train

        return train(request, on_event, should_stop)

    def load(self, package_dir: Path, device: str) -> Predictor:
        """Check a model package (hashes, card, task) and load it."""
        from core.tasks.segmentation.prediction import load_predictor

        return load_predictor(package_dir, device)

    def preview_augmentation(
        self, image: Image, reading: Reading | None, settings: BaseModel, count: int, seed: int
    ) -> list[tuple[Any, Any]]:
        """Return ``count`` augmented (display image yx/yxc uint8, label map or None) pairs of the middle plane."""
        from core.imaging.windows import default_window, to_display
        from core.tasks.segmentation.augmentation import plan_augmentation, preview_samples

        middle = image.info.slices // 2
        planes = (
            None if reading is None else reading.array.reshape(image.info.slices, *reading.array.shape[-2:])
        )
        if planes is not None and not planes[middle].any() and planes.any():
            middle = int(np.flatnonzero(planes.reshape(len(planes), -1).any(axis=1))[0])
        window = image.info.window or default_window(image.array, image.info)
        picture = to_display(image.plane(middle), window, image.info.inverted)
        plan = plan_augmentation(_own(settings))
        return list(preview_samples(picture, None if planes is None else planes[middle], plan, count, seed))

    def score(
        self, prediction: Reading, reference: Reading, info: ImageInfo, labels: tuple[Label, ...]
    ) -> dict[str, float]:
        """Score one reading against another: keys such as "dice", "dice/nucleus"; NaN where undefined."""
        from core.evaluation.mask_scores import score_masks

        return score_masks(prediction.array, reference.array, info, labels)

    def score_units(self, info: ImageInfo) -> dict[str, str]:
        """Return the unit of each score that has one."""
        from core.evaluation.mask_scores import score_units

        return score_units(info)


def _own(settings: BaseModel) -> SegmentationSettings:
    if not isinstance(settings, SegmentationSettings):
        raise TrainingError(f"Segmentation needs its own settings, got {type(settings).__name__}.")
    return settings
