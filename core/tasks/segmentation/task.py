"""The segmentation task as the rest of the house sees it. Imports fast: the work is imported when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from core.errors import TrainingError
from core.learning.snapshot import Snapshot
from core.readings.export import Exporter
from core.readings.exporters import MASK_EXPORTERS
from core.readings.reading import Mask, Reading, ReadingKind
from core.tasks.segmentation.presets import PRESETS
from core.tasks.segmentation.settings import SegmentationSettings, settings_from_text
from core.tasks.task import (
    Curve,
    ImageTruth,
    MetricInfo,
    OnEvent,
    Predictor,
    ReadPair,
    ShouldStop,
    TrainingRequest,
    TrainingResult,
)
from core.types import Image, Label

if TYPE_CHECKING:
    from core.evaluation.compare import CaseRow


class SegmentationTask:
    """Which pixels belong to which label."""

    name = "segmentation"
    title = "Segmentation"
    settings_type: type[BaseModel] = SegmentationSettings
    presets: dict[str, dict[str, Any]] = PRESETS
    reading_kind: ReadingKind = "mask"
    basic_settings: tuple[str, ...] = (
        "minutes",
        "epochs",
        "architecture",
        "encoder",
        "weights",
        "augmentation",
    )
    curves: tuple[Curve, ...] = (
        Curve("Loss", (("training", "train_loss"), ("validation", "val_loss"))),
        Curve("Dice on validation", (("mean", "val_dice"), ("", "val_dice/")), limits=(0, 1), best="max"),
    )
    metrics: tuple[MetricInfo, ...] = (
        MetricInfo("dice", "Dice", "Overlap: 0 none, 1 perfect.", limits=(0, 1)),
        MetricInfo("iou", "IoU", "Overlap, stricter than Dice: shared area by joint area.", limits=(0, 1)),
        MetricInfo(
            "sensitivity", "Sensitivity", "Share of what the reference marks that was found.", limits=(0, 1)
        ),
        MetricInfo(
            "precision",
            "Precision",
            "Share of what was marked that the reference marks, too.",
            limits=(0, 1),
        ),
        MetricInfo(
            "hd95",
            "HD95",
            "Distance of the outlines, 95th percentile; lower is better.",
            higher_is_better=False,
        ),
        MetricInfo("nsd", "NSD", "Share of the outline that lies within the tolerance.", limits=(0, 1)),
    )
    headline_metric = "dice"
    needs_labels = True
    image_truth: ImageTruth | None = None
    exporters: Mapping[str, Exporter] = MASK_EXPORTERS

    def settings_from_text(self, preset: str, pairs: Iterable[str]) -> SegmentationSettings:
        """Lay ``key=value`` texts over a preset; raise TrainingError with one sentence for a wrong one."""
        return settings_from_text(preset, pairs)

    def needs_readings(self, settings: BaseModel) -> bool:
        """Masks are the truth."""
        return True

    def check(self, snapshot: Snapshot, settings: BaseModel) -> list[str]:
        """Return warnings; raise TrainingError with one sentence when training cannot start."""
        from core.learning.intake import check_cases
        from core.tasks.segmentation.planning import check_start

        check_start(snapshot, _own(settings))
        return check_cases(snapshot)

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
    ) -> list[tuple[Any, Reading | None]]:
        """Return ``count`` augmented (display image yx/yxc uint8, mask or None) pairs of the middle plane."""
        from core.imaging.windows import default_window, to_display
        from core.learning.variation import plan_augmentation
        from core.tasks.segmentation.augmentation import preview_samples

        middle = image.info.slices // 2
        array = reading.array if isinstance(reading, Mask) else None
        planes = None if array is None else array.reshape(image.info.slices, *array.shape[-2:])
        if planes is not None and not planes[middle].any() and planes.any():
            middle = int(np.flatnonzero(planes.reshape(len(planes), -1).any(axis=1))[0])
        window = image.info.window or default_window(image.array, image.info)
        picture = to_display(image.plane(middle), window, image.info.inverted)
        plan = plan_augmentation(_own(settings))
        samples = preview_samples(picture, None if planes is None else planes[middle], plan, count, seed)
        return [(shown, None if labels is None else Mask(labels)) for shown, labels in samples]

    def evaluate(
        self, pairs: Iterable[ReadPair], labels: tuple[Label, ...], threshold: float | None
    ) -> dict[str, Any]:
        """Return means over cases with intervals by patient, and the scores of every case, worst first."""
        from core.evaluation.compare import summarise

        rows = [_score(pair, labels, threshold) for pair in pairs]
        return summarise(rows, self.headline_metric)


def _score(pair: ReadPair, labels: tuple[Label, ...], threshold: float | None) -> CaseRow:
    """Score one case: keys such as "dice", "dice/nucleus"."""
    from core.evaluation.mask_scores import score_masks, score_units

    ours, theirs = pair.load()
    if not (isinstance(ours, Mask) and isinstance(theirs, Mask)):
        raise ValueError(f"{pair.case} was not read with masks by both readers.")
    array = ours.array if threshold is None else ours.at_threshold(threshold)
    return {
        "case": pair.case,
        "case_id": pair.case_id,
        "patient": pair.patient,
        "split": pair.split,
        "scores": score_masks(array, theirs.array, pair.info, labels),
        "units": score_units(pair.info),
    }


def _own(settings: BaseModel) -> SegmentationSettings:
    if not isinstance(settings, SegmentationSettings):
        raise TrainingError(f"Segmentation needs its own settings, got {type(settings).__name__}.")
    return settings
