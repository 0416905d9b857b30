"""The evaluation job: one reader against another, case by case, then numbers with intervals by patient."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from core.errors import NotFound, WeightsError
from core.jobs.context import JobContext
from core.jobs.payloads import EvaluatePayload
from core.jobs.trying import try_model
from core.readings.reading import Reading
from core.tasks import TASKS
from core.tasks.task import ReadPair
from core.workspace.records import Project, ReadingVersion
from core.workspace.workspace import Workspace

REFERENCE = "reference"
IMAGES = "images"  # the truth of models that are tried on images made coarse


def truth_of(project: Project, against: str = REFERENCE) -> str:
    """Return what a reader is measured against: the images themselves where a project has no other reference."""
    takes_images = TASKS[project.task].image_truth is not None
    return IMAGES if against == REFERENCE and takes_images and not project.reference_reader else against


def run_evaluation(context: JobContext) -> dict[str, Any]:
    """Score the pair of readers, keep the result in the store, and return it."""
    payload = EvaluatePayload.model_validate(context.job.payload)
    return evaluate(context.workspace, payload, context.progress, context.raise_if_stopped)


def evaluate(
    workspace: Workspace,
    payload: EvaluatePayload,
    on_progress: Callable[[float, str], None],
    raise_if_stopped: Callable[[], None],
) -> dict[str, Any]:
    """Score ``payload.reader`` against ``payload.against`` on the cases that both have read.

    Returns:
        {"key", "reader", "against", "n_cases", "n_patients", "metrics", "per_case"}, see
        ``core.evaluation.compare.summarise``.

    Raises:
        NotFound: when there is no such reader, no reference, or no common case.
        WeightsError: when a model cannot be tried on these images.
    """
    if payload.against == IMAGES:
        return try_model(workspace, payload, on_progress, raise_if_stopped)
    if payload.judge is not None:
        raise WeightsError("Only restored images can be judged by another model; measure against images.")
    project = workspace.get_project(payload.project)
    pairs = common_versions(workspace, project, payload)
    key = evaluation_key(payload, pairs)
    known = workspace.load_evaluation(project.id, key)
    if known is not None:
        return known

    def read() -> Iterator[ReadPair]:
        for number, (case_id, versions) in enumerate(pairs.items(), start=1):
            raise_if_stopped()
            case = workspace.get_case(case_id)
            load = partial(_load, workspace, versions, payload.threshold is not None)
            yield ReadPair(case.name, case.id, case.patient_key, case.split, case.info, load)
            on_progress(number / len(pairs), f"{number} of {len(pairs)} cases")

    scores = TASKS[project.task].evaluate(read(), project.labels, payload.threshold)
    result = {"key": key, "reader": payload.reader, "against": payload.against, **scores}
    workspace.save_evaluation(project.id, key, result)
    return result


def _load(
    workspace: Workspace, versions: tuple[ReadingVersion, ReadingVersion], with_probabilities: bool
) -> tuple[Reading, Reading]:
    ours, theirs = versions
    return workspace.load_reading(ours, with_probabilities), workspace.load_reading(theirs, False)


def common_versions(
    workspace: Workspace, project: Project, payload: EvaluatePayload
) -> dict[int, tuple[ReadingVersion, ReadingVersion]]:
    """Return case id -> (version of the reader, version of the other), for the split asked for.

    Raises:
        NotFound: when one of the two has read nothing here, or there is no common case.
    """
    ours = workspace.readings_of(project.id, payload.reader)
    if not ours:
        known = ", ".join(reader.name for reader in workspace.list_readers(project.id)) or "none yet"
        raise NotFound(f"No reader {payload.reader!r} in {project.name}; its readers are: {known}.")
    if payload.against == REFERENCE:
        theirs = workspace.reference_of(project.id)
        if not theirs:
            raise NotFound(
                f"The project {project.name} has no reference yet; annotate or import labels first."
            )
    else:
        theirs = workspace.readings_of(project.id, payload.against)
    cases = {case.id for case in workspace.list_cases(project.id, split=payload.split)}
    both = sorted(set(ours) & set(theirs) & cases)
    if not both:
        where = f" in the split {payload.split}" if payload.split else ""
        raise NotFound(
            f"{payload.reader} and {payload.against} have no case in common{where}; nothing to compare."
        )
    return {case_id: (ours[case_id], theirs[case_id]) for case_id in both}


def evaluation_key(payload: EvaluatePayload, pairs: dict[int, tuple[ReadingVersion, ReadingVersion]]) -> str:
    """Hash of what is compared: the same versions at the same threshold need no second computation."""
    content = {
        "reader": payload.reader,
        "against": payload.against,
        "threshold": payload.threshold,
        "pairs": [[case_id, ours.id, theirs.id] for case_id, (ours, theirs) in pairs.items()],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
