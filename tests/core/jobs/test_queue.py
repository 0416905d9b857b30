"""The queue's rules, without processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Conflict, NotFound, SightlineError
from core.jobs.queue import AttemptOver, JobQueue, places_of
from core.workspace.workspace import Workspace


@pytest.fixture
def queue(home: Path) -> JobQueue:
    with Workspace.open(home) as workspace:
        yield JobQueue(workspace)


def test_jobs_wait_for_a_place_in_their_queue(queue: JobQueue) -> None:
    names = ["cpu", "cpu", "cuda:0", "io", "io", "io"]
    jobs = [queue.enqueue("count", {}, queue=name) for name in names]
    claimed = []
    while (job := queue.claim()) is not None:
        claimed.append(job.id)
    assert claimed == [jobs[0].id, jobs[2].id, jobs[3].id, jobs[4].id]
    queue.finish(jobs[0].id, 1, {"a": 1})
    following = queue.claim()
    assert following is not None and following.id == jobs[1].id and following.state == "running"
    assert places_of("io") == 2 and places_of("cuda:1") == 1


def test_a_job_keeps_what_it_was_given(queue: JobQueue) -> None:
    job = queue.enqueue("train", {"name": "é", "nested": [1, {"x": None}]}, queue="cuda", title="Train")
    again = queue.get(job.id)
    assert again == job
    assert again.payload == {"name": "é", "nested": [1, {"x": None}]} and again.queue == "cuda:0"
    assert again.state == "queued" and again.attempt == 1 and again.active and not again.resumable
    with pytest.raises(NotFound, match="no job number 99"):
        queue.get(99)


def test_an_old_attempt_is_refused_everything(queue: JobQueue) -> None:
    job = queue.enqueue("count", {})
    queue.claim()
    queue.heartbeat(job.id, 1, {"progress": 0.5, "message": "half"})
    assert queue.end(job.id, 1, "interrupted", "killed")
    assert not queue.end(job.id, 1, "failed", "twice")
    assert queue.resume(job.id).attempt == 2
    queue.claim()
    for write in (
        lambda: queue.heartbeat(job.id, 1),
        lambda: queue.finish(job.id, 1, {}),
        lambda: queue.fail(job.id, 1, "no"),
        lambda: queue.add_event(job.id, 1, {"kind": "step"}),
        lambda: queue.set_process(job.id, 1, 5, 5.0),
        lambda: queue.asked_to_stop(job.id, 1),
    ):
        with pytest.raises(AttemptOver):
            write()
    assert not issubclass(AttemptOver, SightlineError)  # handlers that skip bad files must not skip this
    queue.add_event(job.id, 2, {"kind": "step"})
    assert [event.attempt for event in queue.events(job.id)] == [2]


def test_a_fenced_workspace_refuses_an_old_attempts_data(queue: JobQueue) -> None:
    job = queue.enqueue("import", {})
    queue.claim()
    queue.fence(job.id, 1)
    queue.workspace.create_project("first", "segmentation", ())
    with Workspace.open(queue.workspace.home) as other:
        JobQueue(other).end(job.id, 1, "interrupted")
    with pytest.raises(AttemptOver):
        queue.workspace.create_project("second", "segmentation", ())
    assert [project.name for project in queue.workspace.list_projects()] == ["first"]


def test_cancel_and_resume(queue: JobQueue) -> None:
    waiting = queue.enqueue("count", {})
    assert queue.cancel(waiting.id).state == "cancelled"
    assert queue.claim() is None
    assert queue.resume(waiting.id).state == "queued"
    running = queue.claim()
    assert running is not None and running.attempt == 2
    assert not queue.asked_to_stop(running.id, 2)
    assert queue.cancel(running.id).state == "running"
    assert queue.asked_to_stop(running.id, 2)
    with pytest.raises(Conflict, match="running"):
        queue.resume(running.id)
    queue.fail(running.id, 2, None, "cancelled")
    resumed = queue.resume(running.id)
    assert not resumed.cancel_requested and resumed.attempt == 3
    queue.claim()
    queue.finish(running.id, 3, {})
    assert queue.cancel(running.id).state == "done"
    with pytest.raises(Conflict, match="done"):
        queue.resume(running.id)


def test_a_job_never_started_goes_back(queue: JobQueue) -> None:
    job = queue.enqueue("count", {})
    queue.claim()
    queue.requeue_unstarted(job.id, 1)
    assert (queue.get(job.id).state, queue.get(job.id).attempt) == ("queued", 2)
    queue.claim()
    queue.set_process(job.id, 2, 4, 1.0)
    queue.requeue_unstarted(job.id, 2)
    assert queue.get(job.id).state == "running"


def test_lists_and_events(queue: JobQueue) -> None:
    project = queue.workspace.create_project("p", "segmentation", ())
    first = queue.enqueue("count", {}, project_id=project.id)
    second = queue.enqueue("count", {})
    queue.cancel(second.id)
    assert [job.id for job in queue.list()] == [second.id, first.id]
    assert [job.id for job in queue.list(project_id=project.id)] == [first.id]
    assert [job.id for job in queue.list(active_only=True)] == [first.id]
    assert len(queue.list(limit=1)) == 1
    queue.claim()
    for step in range(5):
        queue.add_event(first.id, 1, {"kind": "step", "step": step, "loss": float("nan")})
    events = queue.events(first.id)
    ids = [event.id for event in events]
    assert ids == sorted(set(ids))
    assert [event.data["step"] for event in queue.events(first.id, after_id=ids[2])] == [3, 4]
    assert events[0].data["loss"] != events[0].data["loss"]
