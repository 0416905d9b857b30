"""A model tried on images that are themselves the truth: made coarse, restored, scored; perhaps judged by another."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import NotFound, WeightsError
from core.jobs.payloads import EvaluatePayload
from core.readings.reading import Reading
from core.readings.stored import read_reading, write_reading
from core.settings import load_settings
from core.tasks import TASKS
from core.tasks.task import ImageCase, PredictOptions, ReadPair, Trial
from core.types import Label
from core.workspace.records import Case, Model
from core.workspace.workspace import Workspace

if TYPE_CHECKING:
    from core.evaluation.compare import CaseRow

JUDGED = "judged"  # before a judge's score of restored images; "_bicubic" after it is that of bicubic ones


def try_model(
    workspace: Workspace,
    payload: EvaluatePayload,
    on_progress: Callable[[float, str], None],
    raise_if_stopped: Callable[[], None],
) -> dict[str, Any]:
    """Try ``payload.reader``, a model, on the project's images, of one split where that is asked for.

    Returns:
        As ``core.jobs.evaluating.evaluate``, with the scores of bicubic enlargement under "..._bicubic".

    Raises:
        NotFound: when there is no such model or no case.
        WeightsError: when the model does another task, or does not fit an image.
    """
    from core.evaluation.compare import summarise
    from core.learning.devices import (
        pick_device,  # here: pages, which import no torch, look at keys in this module
    )

    project = workspace.get_project(payload.project)
    model = workspace.get_model(payload.reader)
    truth = TASKS[model.task].image_truth
    if truth is None or model.task != project.task:
        raise WeightsError(
            f"The model {model.name} does {model.task}; only models that make images finer are measured against "
            "images."
        )
    cases = cases_to_try(workspace, payload)
    key = trial_key(workspace, payload, cases)
    known = workspace.load_evaluation(project.id, key)
    if known is not None:
        return known
    options = PredictOptions(device=pick_device(load_settings().device), blend=payload.blend)
    rows: list[CaseRow] = []
    with tempfile.TemporaryDirectory() as folder:
        judge = None if payload.judge is None else Judge(workspace, payload.judge, Path(folder))
        images = (_image_case(workspace, case) for case in cases)
        for number, (case, trial) in enumerate(
            truth.try_on(workspace.model_dir(model), images, options), start=1
        ):
            raise_if_stopped()
            rows.append(_row(case, trial))
            if judge is not None:
                judge.look(case, trial)
            on_progress(number / len(cases), f"{number} of {len(cases)} cases")
        if judge is not None:
            judge.add_scores(rows)
    scores = summarise(rows, TASKS[model.task].headline_metric)
    result = {"key": key, "reader": payload.reader, "against": payload.against, **scores}
    if payload.judge is not None:
        result["judge"] = payload.judge
    workspace.save_evaluation(project.id, key, result)
    return result


def cases_to_try(workspace: Workspace, payload: EvaluatePayload) -> list[Case]:
    """Return the cases of the split that is asked for.

    Raises:
        NotFound: when there is none.
    """
    cases = workspace.list_cases(payload.project, split=payload.split)
    if not cases:
        where = f" in the split {payload.split}" if payload.split else ""
        raise NotFound(f"The project has no images{where}; import some, or split them first.")
    return cases


def trial_key(workspace: Workspace, payload: EvaluatePayload, cases: list[Case]) -> str:
    """Hash of what is tried: the same weights on the same images need no second computation."""
    names = [payload.reader] + ([] if payload.judge is None else [payload.judge])
    content = {
        "models": [workspace.get_model(name).card["weights_sha256"] for name in names],
        "reader": payload.reader,
        "judge": payload.judge,
        "blend": payload.blend or 0.0,
        "images": [[case.id, case.image_sha256, case.patient_key] for case in cases],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Judge:
    """A model of another task: what it reads in restored images is held against what it reads in the true ones."""

    def __init__(self, workspace: Workspace, name: str, folder: Path) -> None:
        """Load the model; readings are kept in the folder until they are scored.

        Raises:
            WeightsError: when the model makes images finer itself.
        """
        from core.learning.devices import pick_device

        model: Model = workspace.get_model(name)
        self._task = TASKS[model.task]
        if self._task.image_truth is not None:
            raise WeightsError(
                f"The model {name} makes images finer itself; a judge segments or detects in them."
            )
        device = pick_device(load_settings().device)
        self._predictor = self._task.load(workspace.model_dir(model), device)
        self._labels = tuple(Label(row["value"], row["name"], row["color"]) for row in model.card["labels"])
        self._options = PredictOptions(device=device, keep_probabilities=False)
        self._folder = folder
        self._cases: list[ImageCase] = []

    def look(self, case: ImageCase, trial: Trial) -> None:
        """Read the true, the bicubic and the restored image of a case."""
        for name, image in (
            ("truth", trial.truth),
            ("_bicubic", trial.baseline),
            ("", trial.restored),
        ):
            reading = self._predictor.predict(image, self._options)
            write_reading(reading, self._path(case, name))
        self._cases.append(case)

    def add_scores(self, rows: list[CaseRow]) -> None:
        """Add the judge's headline score of both images to the rows, such as "judged_dice"."""
        headline = self._task.headline_metric
        for name in ("", "_bicubic"):
            for row, case in zip(rows, self._cases, strict=True):
                result = self._task.evaluate(self._pair(case, name), self._labels, None)
                value = result["metrics"].get(headline, {}).get("value")
                row["scores"] = {**row["scores"], f"{JUDGED}_{headline}{name}": value}

    def _pair(self, case: ImageCase, name: str) -> Iterator[ReadPair]:
        load = partial(_load, self._path(case, name), self._path(case, "truth"))
        yield ReadPair(case.case, case.case_id, case.patient, case.split, case.info, load)

    def _path(self, case: ImageCase, name: str) -> Path:
        return self._folder / f"{case.case_id}{name}.npz"


def _load(ours: Path, theirs: Path) -> tuple[Reading, Reading]:
    return read_reading(ours), read_reading(theirs)


def _image_case(workspace: Workspace, case: Case) -> ImageCase:
    load = partial(workspace.load_image, case)
    return ImageCase(case.name, case.id, case.patient_key, case.split, case.image_sha256, case.info, load)


def _row(case: ImageCase, trial: Trial) -> CaseRow:
    return {
        "case": case.case,
        "case_id": case.case_id,
        "patient": case.patient,
        "split": case.split,
        "scores": dict(trial.scores),
    }
