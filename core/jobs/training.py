"""The training job: freeze a snapshot, train, register the model. Resuming goes on from the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.errors import JobStopped, TrainingError
from core.jobs.context import JobContext
from core.jobs.payloads import TrainPayload
from core.learning.devices import pick_device
from core.learning.package import read_card
from core.learning.snapshot import Snapshot, snapshot_from_json, snapshot_to_json
from core.settings import load_settings
from core.tasks import TASKS
from core.tasks.task import Event, TrainingRequest

SNAPSHOT_FILE = "snapshot.json"
RUN_FILE = "run.json"


def run_training(context: JobContext) -> dict[str, Any]:
    """Train, or go on where the last attempt's checkpoint ends, and register the resulting model."""
    payload = TrainPayload.model_validate(context.job.payload)
    workspace = context.workspace
    project = workspace.get_project(payload.project)
    task = TASKS[project.task]
    settings = task.settings_type.model_validate(payload.settings)
    snapshot, run_id = _start_or_resume(context, payload, task.needs_readings(settings))
    for warning in task.check(snapshot, settings):
        context.event({"kind": "note", "message": warning})
    out_dir = context.work_dir / "model"
    request = TrainingRequest(
        snapshot=snapshot,
        settings=settings,
        work_dir=context.work_dir,
        out_dir=out_dir,
        device=pick_device(load_settings().device),
        initial_weights=_initial_weights(context, payload),
        other_models=tuple(workspace.model_dir(model) for model in workspace.list_models()),
    )
    result = task.train(request, lambda event: _report(context, event), context.should_stop)
    if result.stopped:
        workspace.finish_run(run_id, "cancelled", result.metrics, None)
        raise JobStopped("Training was stopped; its checkpoint is kept, so it can be resumed.")
    card = read_card(out_dir)
    model = workspace.register_model(project.id, payload.name, out_dir, card, run_id)
    workspace.finish_run(run_id, "done", result.metrics, model.id)
    return {
        "model": model.name,
        "model_id": model.id,
        "run": run_id,
        "metrics": result.metrics,
        "seconds": result.seconds,
        "epochs": result.epochs,
        "reason": result.reason,
    }


def _start_or_resume(
    context: JobContext, payload: TrainPayload, needs_readings: bool
) -> tuple[Snapshot, int]:
    """Return the snapshot and run of this job; a resumed job keeps those of its first attempt."""
    snapshot_file = context.work_dir / SNAPSHOT_FILE
    run_file = context.work_dir / RUN_FILE
    if run_file.exists() and snapshot_file.exists():
        run_id = int(json.loads(run_file.read_text())["run"])
        return snapshot_from_json(json.loads(snapshot_file.read_text())), run_id
    snapshot = context.workspace.make_snapshot(payload.project, payload.reader, needs_readings)
    run = context.workspace.start_run(payload.project, context.job.id, payload.settings, snapshot)
    snapshot_file.write_text(json.dumps(snapshot_to_json(snapshot)))
    run_file.write_text(json.dumps({"run": run.id}))
    return snapshot, run.id


def _initial_weights(context: JobContext, payload: TrainPayload) -> Path | None:
    if payload.initial_model is not None:
        return context.workspace.model_dir(context.workspace.get_model(payload.initial_model))
    if payload.initial_file is not None:
        path = Path(payload.initial_file)
        if not path.is_file():
            raise TrainingError(f"The weights file {path.name} is not there any more; choose it again.")
        return path
    return None


def _report(context: JobContext, event: Event) -> None:
    """Pass a training event on: all to the curves, progress to the bar."""
    if "progress" in event:
        message = f"Epoch {event['epoch']}" if "epoch" in event else "Training"
        context.progress(float(event["progress"]), message, event.get("eta_seconds"))
    context.event(event)
