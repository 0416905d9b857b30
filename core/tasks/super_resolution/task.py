"""The super-resolution task as the rest of the house sees it. Imports fast: the work is imported when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from core.errors import TrainingError
from core.learning.snapshot import Snapshot
from core.readings.export import Exporter
from core.readings.reading import Reading, ReadingKind, RestoredImage
from core.readings.restored_files import RESTORED_EXPORTERS
from core.tasks.super_resolution.presets import PRESETS
from core.tasks.super_resolution.settings import (
    SuperResolutionSettings,
    degradation_of,
    settings_from_text,
)
from core.tasks.task import (
    Curve,
    ImageCase,
    ImageTruth,
    MetricInfo,
    OnEvent,
    PredictOptions,
    Predictor,
    ReadPair,
    ShouldStop,
    Shown,
    TrainingRequest,
    TrainingResult,
    Trial,
    View,
)
from core.types import Image, Label

if TYPE_CHECKING:
    from core.evaluation.compare import CaseRow


class MadeCoarse:
    """The image is the truth: models are tried on images that were made coarse as their card says."""

    stages: tuple[str, str] = ("true pixels", "sharp look")
    blends: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

    def try_on(
        self, package_dir: Path, cases: Iterable[ImageCase], options: PredictOptions
    ) -> Iterator[tuple[ImageCase, Trial]]:
        """Make each case coarse, restore it, and score it beside bicubic."""
        from core.tasks.super_resolution.trials import try_on

        return try_on(package_dir, cases, options)

    def look(
        self, package_dir: Path, image: Image, view: View, options: PredictOptions, degrade: bool
    ) -> list[Shown]:
        """Restore a part of an image with every blend the model has."""
        from core.tasks.super_resolution.trials import look

        return look(package_dir, image, view, options, degrade)


class SuperResolutionTask:
    """Which finer image would have given this one."""

    name = "super_resolution"
    title = "Super-resolution"
    settings_type: type[BaseModel] = SuperResolutionSettings
    presets: dict[str, dict[str, Any]] = PRESETS
    reading_kind: ReadingKind = "restored"
    basic_settings: tuple[str, ...] = (
        "minutes",
        "epochs",
        "scale",
        "architecture",
        "degradation",
        "axes",
        "weights",
        "adversarial",
    )
    curves: tuple[Curve, ...] = (
        Curve("Loss", (("training", "train_loss"), ("validation", "val_loss"))),
        Curve(
            "PSNR on validation (dB)", (("model", "val_psnr"), ("bicubic", "val_psnr_bicubic")), best="max"
        ),
        Curve(
            "Second stage",
            (("judge", "judge_loss"), ("looking real", "real_loss"), ("features", "perceptual_loss")),
        ),
    )
    metrics: tuple[MetricInfo, ...] = (
        MetricInfo("psnr", "PSNR", "Nearness to the true pixels in dB; 3 dB is half the squared error."),
        MetricInfo("psnr_bicubic", "PSNR of bicubic", "The same of bicubic enlargement, the baseline."),
        MetricInfo("ssim", "SSIM", "Likeness of local structure: 0 none, 1 equal.", limits=(-1, 1)),
        MetricInfo("ssim_bicubic", "SSIM of bicubic", "The same of bicubic enlargement.", limits=(-1, 1)),
        MetricInfo("ms_ssim", "MS-SSIM", "Likeness of structure over five scales.", limits=(0, 1)),
        MetricInfo("nmse", "NMSE", "Squared error as a share of the image's power.", higher_is_better=False),
    )
    headline_metric = "psnr"
    needs_labels = False
    image_truth: ImageTruth | None = MadeCoarse()
    exporters: Mapping[str, Exporter] = RESTORED_EXPORTERS

    def settings_from_text(self, preset: str, pairs: Iterable[str]) -> SuperResolutionSettings:
        """Lay ``key=value`` texts over a preset; raise TrainingError with one sentence for a wrong one."""
        return settings_from_text(preset, pairs)

    def needs_readings(self, settings: BaseModel) -> bool:
        """Only real pairs take the finer images of a reader; else the images are the truth."""
        return degradation_of(_own(settings)).real_pairs

    def check(self, snapshot: Snapshot, settings: BaseModel) -> list[str]:
        """Return warnings; raise TrainingError with one sentence when training cannot start."""
        from core.tasks.super_resolution.planning import check_start

        return check_start(snapshot, _own(settings))

    def train(self, request: TrainingRequest, on_event: OnEvent, should_stop: ShouldStop) -> TrainingResult:
        """Train, or resume, until done or ``should_stop()``; write the model package to ``out_dir``."""
        from core.tasks.super_resolution.training import train

        return train(request, on_event, should_stop)

    def load(self, package_dir: Path, device: str) -> Predictor:
        """Check a model package (hashes, card, task) and load it."""
        from core.tasks.super_resolution.prediction import load_predictor

        return load_predictor(package_dir, device)

    def preview_augmentation(
        self, image: Image, reading: Reading | None, settings: BaseModel, count: int, seed: int
    ) -> list[tuple[Any, Reading | None]]:
        """Return ``count`` training pairs of the middle plane: the coarse patch left of the fine one."""
        from core.tasks.super_resolution.preview import preview_pairs

        fine = reading if isinstance(reading, RestoredImage) else None
        return [(picture, None) for picture in preview_pairs(image, fine, _own(settings), count, seed)]

    def evaluate(
        self, pairs: Iterable[ReadPair], labels: tuple[Label, ...], threshold: float | None
    ) -> dict[str, Any]:
        """Score one reader's finer images against another's, with intervals by patient, worst first."""
        from core.evaluation.compare import summarise

        return summarise([_score(pair) for pair in pairs], self.headline_metric)


def _score(pair: ReadPair) -> CaseRow:
    """Score one case in which both have a finer image; the baseline is bicubic enlargement of the case's own."""
    from core.evaluation.image_scores import Scoring, range_of, score_images

    ours, theirs = pair.load()
    if not (isinstance(ours, RestoredImage) and isinstance(theirs, RestoredImage)):
        raise ValueError(f"{pair.case} was not read with finer images by both readers.")
    if ours.info.shape != theirs.info.shape:
        raise ValueError(
            f"{pair.case}: the two finer images have {ours.info.shape} and {theirs.info.shape} pixels; compare readers "
            "of one scale."
        )
    scores = score_images(ours.array, theirs.array, theirs.info, Scoring(range_of(theirs.array) or 1.0))
    return {
        "case": pair.case,
        "case_id": pair.case_id,
        "patient": pair.patient,
        "split": pair.split,
        "scores": scores,
    }


def _own(settings: BaseModel) -> SuperResolutionSettings:
    if not isinstance(settings, SuperResolutionSettings):
        raise TrainingError(f"Super-resolution needs its own settings, got {type(settings).__name__}.")
    return settings


SUPER_RESOLUTION = SuperResolutionTask()
