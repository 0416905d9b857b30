"""Snapshots, runs, models, evaluations."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from core.errors import Conflict, NotFound, TrainingError, WeightsError
from core.jobs.queue import JobQueue
from core.workspace.records import Project
from core.workspace.workspace import Workspace
from tests.core.workspace import samples

CARD = {"task": "segmentation", "labels": [{"value": 1, "name": "nucleus", "color": "#000000"}]}


def package(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(CARD))
    (folder / "weights.safetensors").write_bytes(b"weights")
    return folder


def ready(workspace: Workspace) -> Project:
    project = samples.project(workspace)
    for seed in range(6):
        case = samples.case(workspace, project, seed, split="train" if seed < 3 else None)
        if seed != 2:
            workspace.save_reading(case.id, "ada", samples.mask(seed))
    return project


def test_a_snapshot_holds_cases_with_reading_and_split(workspace: Workspace) -> None:
    project = ready(workspace)
    snapshot = workspace.make_snapshot(project.id)
    assert [item.case_name for item in snapshot.items] == ["case 0", "case 1"]
    assert snapshot.labels == project.labels and snapshot.task == "segmentation"
    for item in snapshot.items:
        assert item.image_path.is_absolute() and item.image_path.is_file() and item.reading_path.is_file()
    assert workspace.make_snapshot(project.id) == snapshot
    assert workspace.load_snapshot(snapshot.sha256) == snapshot
    workspace.save_reading(snapshot.items[0].case_id, "ada", samples.mask(77))
    assert workspace.make_snapshot(project.id).sha256 != snapshot.sha256
    assert workspace.load_snapshot(snapshot.sha256) == snapshot
    with pytest.raises(NotFound):
        workspace.load_snapshot("0" * 64)


def test_a_snapshot_moves_with_its_home(workspace: Workspace, tmp_path: Path) -> None:
    project = ready(workspace)
    snapshot = workspace.make_snapshot(project.id)
    workspace.close()
    moved = tmp_path / "moved"
    shutil.move(workspace.home, moved)
    with Workspace.open(moved) as there:
        items = there.load_snapshot(snapshot.sha256).items
        assert all(item.image_path.is_file() and moved in item.image_path.parents for item in items)


def test_what_cannot_be_trained_on_is_told(workspace: Workspace) -> None:
    project = samples.project(workspace)
    with pytest.raises(TrainingError, match="no reference"):
        workspace.make_snapshot(project.id)
    case = samples.case(workspace, project, 1)
    workspace.save_reading(case.id, "ada", samples.mask(1))
    with pytest.raises(TrainingError, match="split the project first"):
        workspace.make_snapshot(project.id)
    with pytest.raises(TrainingError, match="bob has read no case"):
        workspace.make_snapshot(project.id, "bob")


def test_a_run_knows_how_its_job_ended(workspace: Workspace) -> None:
    project = ready(workspace)
    queue = JobQueue(workspace)
    job = queue.enqueue("train", {}, project_id=project.id)
    queue.claim()
    run = workspace.start_run(project.id, job.id, {"epochs": 3}, workspace.make_snapshot(project.id))
    assert workspace.get_run(run.id).status == "running" and run.settings == {"epochs": 3}
    queue.add_event(job.id, 1, {"kind": "epoch", "epoch": 1})
    queue.end(job.id, 1, "interrupted")
    assert workspace.get_run(run.id).status == "interrupted"
    queue.resume(job.id)
    assert workspace.get_run(run.id).status == "running"
    workspace.finish_run(run.id, "cancelled", {}, None)
    queue.cancel(job.id)
    assert workspace.get_run(run.id).status == "cancelled"
    done = workspace.finish_run(run.id, "done", {"dice": math.nan, "iou": 0.5}, None)
    assert done.status == "done" and math.isnan(done.metrics["dice"]) and done.finished_at is not None
    assert [entry.id for entry in workspace.list_runs(project.id)] == [run.id]
    assert [event.data["epoch"] for event in workspace.list_run_events(run.id)] == [1]
    with pytest.raises(ValueError, match="status"):
        workspace.finish_run(run.id, "great", {}, None)


def test_a_run_without_a_job_has_events_too(workspace: Workspace) -> None:
    project = ready(workspace)
    run = workspace.start_run(project.id, None, {}, workspace.make_snapshot(project.id))
    other = workspace.start_run(project.id, None, {}, workspace.make_snapshot(project.id))
    workspace.add_run_events(run.id, [{"kind": "epoch", "epoch": 1}, {"kind": "epoch", "epoch": 2}])
    events = workspace.list_run_events(run.id)
    assert [event.data["epoch"] for event in events] == [1, 2]
    assert len(workspace.list_run_events(run.id, after_id=events[0].id)) == 1
    assert workspace.list_run_events(other.id) == []


def test_models_are_taken_in_once(workspace: Workspace, tmp_path: Path) -> None:
    project = ready(workspace)
    run = workspace.start_run(project.id, None, {}, workspace.make_snapshot(project.id))
    source = package(tmp_path / "out")
    model = workspace.register_model(project.id, "unet", source, CARD, run.id)
    assert workspace.register_model(project.id, "unet", source, CARD, run.id) == model
    shutil.rmtree(source)
    assert (workspace.model_dir(model) / "weights.safetensors").read_bytes() == b"weights"
    assert workspace.get_model("unet") == model == workspace.get_model(model.id) == workspace.get_model("1")
    assert model.task == "segmentation" and model.card == CARD
    assert workspace.get_run(run.id).model_id == model.id
    own = workspace.new_model_dir("my / model")
    (own / "card.json").write_text("{}")
    second = workspace.register_model(None, "unet", own, CARD, None)
    assert second.name == "unet (2)" and workspace.model_dir(second) == own
    assert workspace.free_model_name("unet") == "unet (3)" and workspace.free_model_name("x") == "x"
    assert workspace.list_models() == [second, model]
    assert workspace.list_models(project_id=project.id) == [model]
    assert workspace.list_models(task="detection") == []
    with pytest.raises(WeightsError, match="no model package"):
        workspace.register_model(None, "x", tmp_path, CARD, None)
    with pytest.raises(NotFound, match="unet"):
        workspace.get_model("resnet")
    workspace.delete_project(project.id)
    assert workspace.get_model(model.id).project_id is None and workspace.model_dir(model).is_dir()


def test_rename_and_delete_a_model(workspace: Workspace, tmp_path: Path) -> None:
    project = ready(workspace)
    case = workspace.list_cases(project.id)[0]
    model = workspace.register_model(project.id, "unet", package(tmp_path / "out"), CARD, None)
    version = workspace.save_reading(case.id, "unet", samples.mask(9), kind="model", model_id=model.id)
    workspace.set_reference_reader(project.id, "unet")
    with pytest.raises(Conflict, match="ada"):
        workspace.rename_model(model.id, "ada")
    assert workspace.get_model(model.id).name == "unet"
    assert workspace.rename_model(model.id, "better").name == "better"
    assert workspace.reference_of(project.id)[case.id].id == version.id
    assert workspace.latest_reading(case.id, "unet") is None
    workspace.delete_model(model.id)
    assert not workspace.model_dir(model).exists()
    kept = workspace.latest_reading(case.id, "better")
    assert kept is not None and kept.model_id is None


def test_evaluations_and_audit(workspace: Workspace) -> None:
    project = samples.project(workspace)
    assert workspace.load_evaluation(project.id, "k") is None
    workspace.save_evaluation(project.id, "k", {"dice": 0.5, "hd95": math.nan})
    workspace.save_evaluation(project.id, "k", {"dice": 0.75, "per_case": [{"case": "é"}]})
    assert workspace.load_evaluation(project.id, "k") == {"dice": 0.75, "per_case": [{"case": "é"}]}
    with pytest.raises(NotFound):
        workspace.save_evaluation(99, "k", {})
    workspace.log("ada", "signed in", "page")
    entry = workspace.list_audit(1)[0]
    assert (entry.actor, entry.action, entry.target) == ("ada", "signed in", "page")
