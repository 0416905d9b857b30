"""The prediction job (cases in, readings out) and its twin for plain files (files in, files out)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import LabelError, SightlineError, StorageError, WeightsError
from core.imaging.found import Skipped
from core.imaging.headers import Headers
from core.imaging.profiles import Profile
from core.imaging.scan import scan
from core.jobs.context import JobContext
from core.jobs.payloads import PredictPayload
from core.learning.devices import pick_device
from core.learning.package import read_card
from core.readings.export import Exporter, ExportItem
from core.readings.reading import Boxes
from core.settings import load_settings
from core.tasks import TASKS
from core.tasks.task import PredictOptions
from core.types import Label
from core.workspace.records import Model

# Formats that name the files they were made from, patient and study as these have them.
REFERRING = ("dicom-seg",)


def run_prediction(context: JobContext) -> dict[str, Any]:
    """Run a model on cases and store each reading under the model's name."""
    payload = PredictPayload.model_validate(context.job.payload)
    workspace = context.workspace
    model = workspace.get_model(payload.model)
    project = workspace.get_project(payload.project)
    if model.task != project.task:
        raise WeightsError(
            f"The model {model.name} does {model.task}, the project {project.name} asks for {project.task}; "
            "choose a model of the same task."
        )
    check_labels(model, project.labels)
    predictor = TASKS[model.task].load(workspace.model_dir(model), pick_device(load_settings().device))
    options = PredictOptions(
        threshold=payload.threshold,
        flips=payload.flips,
        device=load_settings().device,
        blend=payload.blend,
        consistent=payload.consistent,
    )
    stored = 0
    skipped: list[dict[str, str]] = []
    for number, case_id in enumerate(payload.case_ids, start=1):
        context.raise_if_stopped()
        case = workspace.get_case(case_id)
        try:
            reading = predictor.predict(workspace.load_image(case), options)
            workspace.save_reading(
                case.id, model.name, reading, kind="model", note="predicted", model_id=model.id, actor="model"
            )
            stored += 1
        except SightlineError as error:
            skipped.append({"path": case.name, "reason": str(error)})
        context.progress(number / len(payload.case_ids), f"{number} of {len(payload.case_ids)} cases")
    return {"readings": stored, "reader": model.name, "skipped": skipped}


def check_labels(model: Model, labels: tuple[Label, ...]) -> None:
    """Refuse a model whose labels mean something else in a project: a reading is a label map in its numbers.

    Raises:
        WeightsError: naming both.
    """
    theirs = [str(row["name"]) for row in model.card["labels"]]
    ours = [label.name for label in labels]
    if theirs != ours[: len(theirs)]:
        raise WeightsError(
            f"The model {model.name} marks {', '.join(theirs)}, this project has {', '.join(ours)}; "
            "run it in a project with the same labels in the same order."
        )


@dataclass(frozen=True)
class FilePrediction:
    """What ``predict_files`` wrote and what it had to leave out."""

    files: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class FileRequest:
    """Files to predict and where to put the results; ``file_format`` is one of the task's, None its first."""

    paths: Sequence[Path]
    out: Path
    file_format: str | None = None
    flips: bool = True
    threshold: float | None = None
    blend: float | None = None


def exporter_of(task_name: str, file_format: str | None) -> Exporter:
    """Return what writes a task's readings in a format; None takes the task's first.

    Raises:
        LabelError: when the task has no such format.
    """
    exporters = TASKS[task_name].exporters
    if file_format is None:
        return next(iter(exporters.values()))
    if file_format not in exporters:
        raise LabelError(f"The format must be one of {', '.join(exporters)}, got {file_format!r}.")
    return exporters[file_format]


def _kept(headers: Headers | None) -> Headers | None:
    """Return headers that are open already."""
    return headers


def predict_files(
    package_dir: Path, request: FileRequest, work_dir: Path, on_file: Callable[[str], None]
) -> FilePrediction:
    """Run a model on files and write one result per image, on the image's own grid.

    Args:
        package_dir: the model package.
        request: what to read and how to write it.
        work_dir: folder for unpacked archives.
        on_file: called with the name of each image that was read.

    Raises:
        WeightsError: when the package is damaged.
        StorageError: when the results cannot be written.
    """
    card = read_card(package_dir)
    labels = tuple(Label(row["value"], row["name"], row["color"]) for row in card["labels"])
    device = pick_device(load_settings().device)
    predictor = TASKS[card["task"]].load(package_dir, device)
    options = PredictOptions(
        request.threshold, request.flips, device=device, keep_probabilities=False, blend=request.blend
    )
    skipped: list[dict[str, str]] = []

    def items() -> Iterator[ExportItem]:
        profile: Profile | None = "keep" if request.file_format in REFERRING else None
        for found in scan(request.paths, work_dir, "", load_settings(), profile):
            if isinstance(found, Skipped):
                skipped.append({"path": found.source, "reason": found.reason})
                continue
            try:
                reading = predictor.predict(found.image, options)
            except SightlineError as error:
                skipped.append({"path": found.source, "reason": str(error)})
                continue
            on_file(found.source)
            if isinstance(reading, Boxes):
                reading = reading.decided(request.threshold)
            yield ExportItem(
                found.name,
                found.image.info,
                reading,
                str(card["name"]),
                found.source,
                by_model=True,
                load_headers=partial(_kept, found.headers),
            )

    try:
        request.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"Cannot write to {request.out} ({error.strerror}); choose another folder."
        ) from error
    files = exporter_of(card["task"], request.file_format)(items(), labels, request.out)
    return FilePrediction([str(path) for path in files], skipped)
