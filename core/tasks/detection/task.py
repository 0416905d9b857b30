"""Detection against the protocol in ``core.tasks.task``. Imports nothing heavy; its functions do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from core.errors import LabelError, TrainingError
from core.learning.snapshot import Snapshot
from core.readings.export import Exporter
from core.readings.exporters import BOX_EXPORTERS
from core.readings.reading import Boxes, Reading, ReadingKind
from core.tasks.detection.presets import PRESETS
from core.tasks.detection.settings import DetectionSettings, settings_from_text
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
    from core.evaluation.box_tables import BoxPair


class DetectionTask:
    """Where objects are, of which label, and how sure the model is."""

    name = "detection"
    title = "Detection"
    settings_type: type[BaseModel] = DetectionSettings
    presets: dict[str, dict[str, Any]] = PRESETS
    reading_kind: ReadingKind = "boxes"
    basic_settings: tuple[str, ...] = (
        "minutes",
        "epochs",
        "architecture",
        "encoder",
        "weights",
        "augmentation",
    )
    curves: tuple[Curve, ...] = (
        Curve("Loss", (("training", "train_loss"), ("", "loss/"))),
        Curve(
            "Average precision at IoU 0.5 on validation",
            (("mean", "val_map50"), ("", "val_map50/")),
            limits=(0, 1),
            best="max",
        ),
        Curve("Average precision, IoU 0.5 to 0.95", (("mean", "val_map"),), limits=(0, 1), best="max"),
    )
    metrics: tuple[MetricInfo, ...] = (
        MetricInfo(
            "map50", "mAP@0.5", "Mean over labels of average precision: 0 none, 1 perfect.", limits=(0, 1)
        ),
        MetricInfo("map", "mAP", "The same, averaged over stricter overlaps (0.5 to 0.95).", limits=(0, 1)),
        MetricInfo(
            "froc", "FROC", "Mean share of objects found at 1/8 to 8 false ones per image.", limits=(0, 1)
        ),
        MetricInfo("sensitivity", "Sensitivity", "Share of the objects that were found.", limits=(0, 1)),
        MetricInfo("precision", "Precision", "Share of what was found that is right.", limits=(0, 1)),
        MetricInfo("f1", "F1", "Sensitivity and precision in one number.", limits=(0, 1)),
        MetricInfo(
            "count_error",
            "Count error",
            "How far the number of objects is off, per image.",
            higher_is_better=False,
        ),
    )
    headline_metric = "map50"
    needs_labels = True
    image_truth: ImageTruth | None = None
    exporters: Mapping[str, Exporter] = BOX_EXPORTERS

    def settings_from_text(self, preset: str, pairs: Iterable[str]) -> DetectionSettings:
        """Lay ``key=value`` texts over a preset; raise TrainingError with one sentence for a wrong one."""
        return settings_from_text(preset, pairs)

    def needs_readings(self, settings: BaseModel) -> bool:
        """Training takes the reference's boxes as truth."""
        return True

    def check(self, snapshot: Snapshot, settings: BaseModel) -> list[str]:
        """Return warnings; raise TrainingError with one sentence when training cannot start."""
        from core.tasks.detection.planning import check_start

        return check_start(snapshot, _own(settings))

    def train(self, request: TrainingRequest, on_event: OnEvent, should_stop: ShouldStop) -> TrainingResult:
        """Train, or resume, until done or ``should_stop()``; write the model package to ``out_dir``."""
        from core.tasks.detection.training import train

        return train(request, on_event, should_stop)

    def load(self, package_dir: Path, device: str) -> Predictor:
        """Check a model package (hashes, card, task) and load it."""
        from core.tasks.detection.prediction import load_predictor

        return load_predictor(package_dir, device)

    def preview_augmentation(
        self, image: Image, reading: Reading | None, settings: BaseModel, count: int, seed: int
    ) -> list[tuple[Any, Reading | None]]:
        """Return ``count`` augmented (display image yx/yxc uint8, boxes or None) pairs of a plane with objects."""
        from core.imaging.windows import default_window, to_display
        from core.tasks.detection.preview import preview_samples

        boxes = reading if isinstance(reading, Boxes) else None
        plane = image.info.slices // 2
        if boxes is not None and len(boxes) and not (boxes.planes == plane).any():
            plane = int(boxes.planes[0])
        window = image.info.window or default_window(image.array, image.info)
        picture = to_display(image.plane(plane), window, image.info.inverted)
        shown = None if boxes is None else boxes.only(boxes.planes == plane)
        return preview_samples(picture, shown, _own(settings), count, seed)

    def evaluate(
        self, pairs: Iterable[ReadPair], labels: tuple[Label, ...], threshold: float | None
    ) -> dict[str, Any]:
        """Return average precision, FROC and counts with intervals by patient, and every case, worst first."""
        from core.evaluation.box_scores import score_boxes

        return score_boxes(map(_box_pair, pairs), labels, threshold)


def _box_pair(pair: ReadPair) -> BoxPair:
    """Read one case's boxes by both readers."""
    from core.evaluation.box_tables import BoxPair

    ours, theirs = pair.load()
    if not (isinstance(ours, Boxes) and isinstance(theirs, Boxes)):
        raise LabelError(f"{pair.case} was not read with boxes by both readers; compare readers of boxes.")
    return BoxPair(pair.case, pair.patient, pair.info, ours, theirs, pair.case_id, pair.split)


def _own(settings: BaseModel) -> DetectionSettings:
    if not isinstance(settings, DetectionSettings):
        raise TrainingError(f"Detection needs its own settings, got {type(settings).__name__}.")
    return settings
