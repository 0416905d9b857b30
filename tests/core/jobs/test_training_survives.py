"""A real training whose worker and runner are killed in the middle: seen, resumed, the same end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from core.jobs.payloads import TrainPayload
from core.jobs.queue import Job, JobQueue
from core.jobs.runner import ensure_runner, runner_pid
from core.jobs.submit import submit
from core.learning.package import load_weights
from core.readings.reading import Mask
from core.tasks.segmentation.settings import make_settings
from core.types import Image, ImageInfo, make_labels
from core.workspace.records import NewCase
from core.workspace.workspace import Workspace
from tests.core.jobs.test_runner import kill, wait_until
from tests.core.tasks.segmentation.samples import SMALL, disc

EPOCHS = 24


def train_job(queue: JobQueue, name: str) -> Job:
    settings = make_settings({**SMALL, "epochs": EPOCHS, "base_features": 16})
    project = queue.workspace.get_project("Discs")
    payload = TrainPayload(project=project.id, settings=settings.model_dump(mode="json"), name=name)
    return submit(queue, payload, f"Train {name}")


def epochs_of(queue: JobQueue, job: Job) -> dict[int, float]:
    events = [event.data for event in queue.events(job.id)]
    return {event["epoch"]: event["train_loss"] for event in events if event["kind"] == "epoch"}


@pytest.fixture
def project(queue: JobQueue) -> None:
    make_discs(queue.workspace)


def make_discs(workspace: Workspace) -> None:
    """Make a project of twelve discs with masks, dealt into train and val."""
    made = workspace.create_project("Discs", "segmentation", make_labels(["disc"]))
    for number in range(12):
        picture, truth = disc(number, 1)
        info = ImageInfo("yx", picture.shape, "uint8")
        split = "train" if number < 9 else "val"
        case = workspace.add_case(
            made.id, NewCase(f"disc{number}", Image(picture, info), "test", None, split)
        )
        workspace.save_reading(case.id, "annotator", Mask(truth))


@pytest.mark.slow
def test_kill_9_of_worker_and_runner_costs_nothing(
    queue: JobQueue,
    project: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    home = queue.workspace.home
    ensure_runner(home)
    whole = train_job(queue, "whole")
    wait_until(lambda: queue.get(whole.id).state == "done", 120)

    killed = train_job(queue, "killed")
    wait_until(lambda: len(epochs_of(queue, killed)) >= 3, 60)
    runner, worker = runner_pid(home), queue.get(killed.id).pid
    assert runner is not None
    assert worker is not None
    os.killpg(worker, signal.SIGKILL)
    kill(runner)  # its lock is free once it is gone, not before
    ensure_runner(home)  # what the server does every three seconds
    wait_until(lambda: queue.get(killed.id).state == "interrupted", 20)
    told = len(epochs_of(queue, killed))
    assert told < EPOCHS

    queue.resume(killed.id)
    wait_until(lambda: queue.get(killed.id).state == "done", 120)
    assert queue.get(killed.id).attempt == 2
    expected, found = epochs_of(queue, whole), epochs_of(queue, killed)
    assert found[EPOCHS] == pytest.approx(expected[EPOCHS], abs=1e-5)
    weights, resumed = (
        load_weights(queue.workspace.model_dir(queue.workspace.get_model(name)))
        for name in ("whole", "killed")
    )
    assert all(torch.allclose(weights[key].float(), resumed[key].float(), atol=1e-5) for key in weights)
