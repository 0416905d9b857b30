"""The protocol every task keeps, so that pages, jobs and the terminal need no task by name.

A task module must import fast: torch and friends are imported inside its functions, because the web
process reads settings, presets and metric names from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from core.learning.snapshot import Snapshot
from core.readings.reading import Reading
from core.types import Image, ImageInfo, Label

Event = dict[str, Any]
OnEvent = Callable[[Event], None]
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class TrainingRequest:
    """Everything one training needs; nothing in it knows of jobs or the store.

    Attributes:
        snapshot: the frozen training data.
        settings: the task's own settings model, already validated.
        work_dir: folder for checkpoints and caches; training resumes from a checkpoint found in it.
        out_dir: folder that becomes the model package (weights, card) when training ends.
        device: "cpu", "cuda" or "cuda:N".
        initial_weights: package folder (source ``model``) or weights file (source ``file``), else None.
    """

    snapshot: Snapshot
    settings: BaseModel
    work_dir: Path
    out_dir: Path
    device: str = "cpu"
    initial_weights: Path | None = None


@dataclass(frozen=True)
class TrainingResult:
    """What came out: validation metrics of the kept weights, and why training ended."""

    metrics: dict[str, float]
    epochs: int
    seconds: float
    stopped: bool = False  # True when ended by should_stop; the checkpoint is kept for resume
    reason: str = "finished"


@dataclass(frozen=True)
class PredictOptions:
    """How to run a model. ``threshold`` is a probability in [0, 1]; None takes the model's own rule."""

    threshold: float | None = None
    flips: bool = True
    overlap: float = 0.5
    device: str = "cpu"
    keep_probabilities: bool = True


@dataclass(frozen=True)
class MetricInfo:
    """A column of the comparison table."""

    key: str
    title: str
    unit: str = ""
    higher_is_better: bool = True


class Predictor(Protocol):
    """A loaded model, ready for many images."""

    def predict(self, image: Image, options: PredictOptions) -> Reading:
        """Return the model's reading of one image, on the image's own grid."""
        ...


class Task(Protocol):
    """What a task offers to the rest of the house."""

    name: str  # "segmentation"
    title: str  # "Segmentation"
    settings_type: type[BaseModel]
    presets: dict[str, dict[str, Any]]  # name -> values laid over the settings' defaults
    metrics: tuple[MetricInfo, ...]
    headline_metric: str  # key of the metric shown first
    needs_labels: bool  # False for tasks without a label set

    def settings_from_text(self, preset: str, pairs: list[str]) -> BaseModel:
        """Lay ``key=value`` texts over a preset; raise ValueError with one sentence for a wrong key or value."""
        ...

    def check(self, snapshot: Snapshot, settings: BaseModel) -> list[str]:
        """Return warnings; raise TrainingError with one sentence when training cannot start."""
        ...

    def train(self, request: TrainingRequest, on_event: OnEvent, should_stop: ShouldStop) -> TrainingResult:
        """Train, or resume, until done or ``should_stop()``; write the model package to ``out_dir``."""
        ...

    def load(self, package_dir: Path, device: str) -> Predictor:
        """Check a model package (hashes, card, task) and load it; raise WeightsError when it is not right."""
        ...

    def preview_augmentation(
        self, image: Image, reading: Reading | None, settings: BaseModel, count: int, seed: int
    ) -> list[tuple[Any, Any]]:
        """Return ``count`` augmented (display image yx/yxc uint8, label map or None) pairs."""
        ...

    def score(
        self, prediction: Reading, reference: Reading, info: ImageInfo, labels: tuple[Label, ...]
    ) -> dict[str, float]:
        """Score one reading against another: keys such as "dice", "dice/nucleus"; NaN where undefined."""
        ...

    def score_units(self, info: ImageInfo) -> dict[str, str]:
        """Return the unit of each score that has one; it may depend on the image (mm where spacing is known)."""
        ...


@dataclass(frozen=True)
class TaskTable:
    """A frozen name -> task table with a helpful error."""

    tasks: tuple[Task, ...] = field(default_factory=tuple)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def names(self) -> list[str]:
        """Return the names of all tasks."""
        return [task.name for task in self.tasks]

    def __getitem__(self, name: str) -> Task:
        for task in self.tasks:
            if task.name == name:
                return task
        raise ValueError(f"task must be one of {', '.join(self.names())}, got {name!r}.")


def mean_of(values: Iterable[float]) -> float:
    """Mean without NaN; NaN for nothing."""
    kept = [value for value in values if value == value]
    return sum(kept) / len(kept) if kept else float("nan")
