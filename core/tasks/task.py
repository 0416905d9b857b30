"""The protocol every task keeps, so that pages, jobs and the terminal need no task by name.

A task module must import fast: torch and friends are imported inside its functions, because the web
process reads settings, presets and metric names from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel

from core.learning.snapshot import Snapshot
from core.readings.export import Exporter
from core.readings.reading import Reading, ReadingKind
from core.types import Array, Image, ImageInfo, Label, Split

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
        other_models: packages of the workspace's other models, newest first, whose parts may serve.
    """

    snapshot: Snapshot
    settings: BaseModel
    work_dir: Path
    out_dir: Path
    device: str = "cpu"
    initial_weights: Path | None = None
    other_models: tuple[Path, ...] = ()


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
    """How to run a model.

    Attributes:
        threshold: a probability or score in [0, 1]; None takes the model's own rule.
        flips: average over mirrored copies, along the axes the model was trained on mirrored.
        overlap: share of a window that the next one covers again; None takes the model's own.
        device: where to compute.
        keep_probabilities: also keep what another threshold would need: probabilities, or unsure objects.
        across_labels: an object has one label only, so that boxes of different labels suppress each other.
        blend: of models that make images finer: share of their second stage's weights, 0 to 1.
        consistent: of the same: make the result agree with its input; None takes the model's own rule.
    """

    threshold: float | None = None
    flips: bool = True
    overlap: float | None = None
    device: str = "cpu"
    keep_probabilities: bool = True
    across_labels: bool = False
    blend: float | None = None
    consistent: bool | None = None


@dataclass(frozen=True)
class MetricInfo:
    """A column of the comparison table.

    Attributes:
        key: name in the scores, such as "dice".
        title: name on the screen.
        meaning: one sentence for people.
        higher_is_better: whether a low value is bad.
        limits: lowest and highest possible value, where there are such.
    """

    key: str
    title: str
    meaning: str
    higher_is_better: bool = True
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Curve:
    """A chart of the training page: lines against epochs, read from the epoch events.

    Attributes:
        title: above the chart.
        lines: (name, key in the event) of each line; a key ending in "/" stands for one line per label.
        limits: lowest and highest value of the axis; None fits it to the data.
        best: "max" or "min" when the first line's best value is told below the charts.
    """

    title: str
    lines: tuple[tuple[str, str], ...]
    limits: tuple[float, float] | None = None
    best: str = ""


@dataclass(frozen=True)
class ReadPair:
    """One case as two readers saw it; ``load`` reads both, so that one case is in memory at a time."""

    case: str
    case_id: int
    patient: str
    split: Split | None
    info: ImageInfo
    load: Callable[[], tuple[Reading, Reading]]


@dataclass(frozen=True)
class ImageCase:
    """One case whose image is itself the truth; ``load`` opens it, so that one case is in memory at a time."""

    case: str
    case_id: int
    patient: str
    split: Split | None
    image_sha256: str
    info: ImageInfo
    load: Callable[[], Image]


@dataclass(frozen=True)
class Trial:
    """One case made coarse, and what became of it; all images but ``coarse`` have the truth's grid and units.

    Attributes:
        truth: the case's image, without rows and columns that make no whole coarse pixel.
        coarse: what the model was shown.
        restored: what it made of it.
        baseline: what simple interpolation makes of it.
        scores: of both against the truth; those of the baseline end in "_bicubic".
    """

    truth: Image
    coarse: Image
    restored: Image
    baseline: Image
    scores: dict[str, float]


@dataclass(frozen=True)
class View:
    """A part of an image to look at closely.

    Attributes:
        plane: number of the plane one scrolls to.
        top, left: first row and column.
        side: rows and columns.
    """

    plane: int
    top: int
    left: int
    side: int


class Shown(NamedTuple):
    """A part of an image in one of the ways that are looked at beside each other.

    Attributes:
        name: "input" (its pixels enlarged), "bicubic", "restored", or "truth" where it is known.
        blend: share of the second stage, of "restored".
        plane: yx or yxc in the image's units and type, all on one fine grid.
        facts: "psnr" where the truth is known; "consistency_db" of "restored".
    """

    name: str
    blend: float | None
    plane: Array
    facts: dict[str, float]


class ImageTruth(Protocol):
    """What a task offers besides when the image itself is the truth: its models are tried on images made coarse."""

    stages: tuple[str, str]  # names of the two ends of ``PredictOptions.blend``
    blends: tuple[float, ...]  # shares that are shown for choosing one

    def try_on(
        self, package_dir: Path, cases: Iterable[ImageCase], options: PredictOptions
    ) -> Iterator[tuple[ImageCase, Trial]]:
        """Make each case coarse as the model's card says, restore it, score it; raise for a case that cannot be."""
        ...

    def look(
        self, package_dir: Path, image: Image, view: View, options: PredictOptions, degrade: bool
    ) -> list[Shown]:
        """Restore a part of an image with every blend.

        Args:
            package_dir: the model.
            image: the case's image.
            view: the part; of the image as it is, or of the truth when it is made coarse first.
            options: how to run the model; ``blend`` is ignored.
            degrade: make the image coarse first, so that the truth is known.

        Returns:
            "input", "bicubic", "restored" with each blend, and "truth" where it is known.
        """
        ...


class Predictor(Protocol):
    """A loaded model, ready for many images."""

    def predict(self, image: Image, options: PredictOptions) -> Reading:
        """Return the model's reading of one image, on the image's own grid."""
        ...


class Task(Protocol):
    """What a task offers to the rest of the house."""

    name: str  # "segmentation"
    title: str  # "Segmentation"
    reading_kind: ReadingKind  # what its readers produce
    settings_type: type[BaseModel]
    presets: dict[str, dict[str, Any]]  # name -> values laid over the settings' defaults
    basic_settings: tuple[str, ...]  # fields the training page shows first
    curves: tuple[Curve, ...]  # what the training page draws
    metrics: tuple[MetricInfo, ...]  # what the comparison page shows, in this order
    headline_metric: str  # key of the metric shown first
    needs_labels: bool  # False for tasks without a label set
    image_truth: (
        ImageTruth | None
    )  # set where the image itself can be the truth, so that no reading is needed
    exporters: Mapping[str, Exporter]  # format name -> writes readings; the first is the default

    def settings_from_text(self, preset: str, pairs: list[str]) -> BaseModel:
        """Lay ``key=value`` texts over a preset; raise ValueError with one sentence for a wrong key or value."""
        ...

    def needs_readings(self, settings: BaseModel) -> bool:
        """Tell whether training takes readings as truth, or the images themselves."""
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
    ) -> list[tuple[Any, Reading | None]]:
        """Return ``count`` augmented pairs: display image (yx/yxc uint8) and its reading, where there is one."""
        ...

    def evaluate(
        self, pairs: Iterable[ReadPair], labels: tuple[Label, ...], threshold: float | None
    ) -> dict[str, Any]:
        """Score the first reader against the second in all cases.

        Args:
            pairs: loaded one after the other.
            labels: the project's label set.
            threshold: probability or score from which the first reader's findings count; None: its own rule.

        Returns:
            Plain JSON values: {"n_cases", "n_patients", "metrics": {key: {"value", "ci95", "n", ...}}, "per_case":
            [...] worst first}, see ``core.evaluation.compare.summarise``; a task may add more.
        """
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
        """Return a task by its name; hyphens and capitals do not count."""
        wanted = name.strip().lower().replace("-", "_")
        for task in self.tasks:
            if task.name == wanted:
                return task
        raise ValueError(f"task must be one of {', '.join(self.names())}, got {name!r}.")


def mean_of(values: Iterable[float]) -> float:
    """Mean without NaN; NaN for nothing."""
    kept = [value for value in values if value == value]
    return sum(kept) / len(kept) if kept else float("nan")
