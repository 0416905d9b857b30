"""The queue of long work: rows in the workspace's database, each run by a process of its own.

A job's attempt number is its fence: every write of a worker names the attempt it belongs to, and is refused
once the job has ended or a later attempt has begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.errors import Conflict, NotFound
from core.workspace.database import now
from core.workspace.records import ACTIVE_STATES, RESUMABLE_STATES, Event, Job, JobState
from core.workspace.tables import EventRow, JobRow
from core.workspace.workspace import Workspace

__all__ = ["ACTIVE_STATES", "RESUMABLE_STATES", "AttemptOver", "Event", "Job", "JobQueue", "places_of"]

IO_PLACES = 2


class AttemptOver(Exception):
    """This attempt of the job is over. No SightlineError: a handler must not pass over it."""


def places_of(queue: str) -> int:
    """Return how many jobs of a queue may run at once: one per device, two that only move files."""
    return IO_PLACES if queue == "io" else 1


class JobQueue:
    """All jobs of a workspace: asked for by pages and terminal, done by workers, watched by the runner."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._database = workspace.store.database

    # for those who ask

    def enqueue(
        self,
        kind: str,
        payload: dict[str, Any],
        queue: str = "cpu",
        project_id: int | None = None,
        title: str = "",
    ) -> Job:
        """Put work into a queue ("cpu", "cuda:0", "io" ...); a runner starts it when there is a place."""
        with self._database.write() as session:
            row = JobRow(
                kind=kind,
                title=title or kind,
                queue="cuda:0" if queue == "cuda" else queue,
                state="queued",
                attempt=1,
                progress=0.0,
                message="",
                payload=payload,
                project_id=project_id,
                cancel_requested=False,
                created_at=now(),
            )
            session.add(row)
            session.flush()
            return _to_job(row)

    def get(self, job_id: int) -> Job:
        """Return a job as it is now.

        Raises:
            NotFound: when there is none of that number.
        """
        with self._database.read() as session:
            return _to_job(_row(session, job_id))

    def cancel(self, job_id: int) -> Job:
        """Ask a job to stop; a waiting one is cancelled at once, an ended one stays as it is."""
        with self._database.write() as session:
            row = _row(session, job_id)
            if row.state == "queued":
                row.state, row.finished_at = "cancelled", now()
            elif row.state == "running":
                row.cancel_requested = True
            return _to_job(row)

    def resume(self, job_id: int) -> Job:
        """Put an interrupted, failed or cancelled job back into its queue as its next attempt.

        Raises:
            Conflict: when it waits, runs or is done.
        """
        with self._database.write() as session:
            row = _row(session, job_id)
            if row.state not in RESUMABLE_STATES:
                raise Conflict(
                    f"Job {job_id} is {row.state}; only one that was cut off or stopped can be resumed."
                )
            _requeue(row)
            return _to_job(row)

    def events(self, job_id: int, after_id: int = 0, limit: int | None = None) -> Sequence[Event]:
        """Return what a job told after event ``after_id``, oldest first."""
        query = (
            select(EventRow).where(EventRow.job_id == job_id, EventRow.id > after_id).order_by(EventRow.id)
        )
        with self._database.read() as session:
            rows = session.scalars(query.order_by(EventRow.id).limit(limit))
            return [Event(row.id, row.attempt, row.data, row.created_at) for row in rows]

    def log_path(self, job_id: int) -> Path:
        """Return where a job's log lies (all attempts in one file)."""
        return self.workspace.home / "logs" / f"job-{job_id}.log"

    def work_dir(self, job_id: int) -> Path:
        """Return a job's folder for checkpoints and caches; the same for all its attempts."""
        return self.workspace.home / "work" / f"job-{job_id}"

    # for the runner

    def claim(self) -> Job | None:
        """Take the oldest waiting job whose queue has a free place, and mark it running."""
        with self._database.read() as session:  # without the lock, as mostly there is nothing to do
            if _next_row(session) is None:
                return None
        with self._database.write() as session:
            row = _next_row(session)
            if row is None:
                return None
            row.state, row.started_at, row.heartbeat_at = "running", now(), now()
            row.finished_at, row.pid, row.pid_created = None, None, None
            return _to_job(row)

    def running(self) -> Sequence[Job]:
        """Return the jobs that are marked running, oldest first."""
        with self._database.read() as session:
            rows = session.scalars(select(JobRow).where(JobRow.state == "running").order_by(JobRow.id))
            return [_to_job(row) for row in rows]

    def any_waiting(self) -> bool:
        """Return whether a job waits for its turn."""
        with self._database.read() as session:
            return session.scalar(select(JobRow.id).where(JobRow.state == "queued").limit(1)) is not None

    def requeue_unstarted(self, job_id: int, attempt: int) -> None:
        """Put back a claimed job whose worker was never started (the runner died in between)."""
        with self._database.write() as session:
            row = _row(session, job_id)
            if row.state == "running" and row.attempt == attempt and row.pid is None:
                _requeue(row)

    def end(self, job_id: int, attempt: int, state: JobState, error: str | None = None) -> bool:
        """Mark a running attempt as ended, whoever says so; False when it had ended before."""
        values: dict[str, Any] = {"state": state, "finished_at": now(), "eta_seconds": None, "error": error}
        with self._database.write() as session:
            return _write_attempt(session, job_id, attempt, values)

    # for the worker; every write is refused with AttemptOver once the attempt is over

    def set_process(self, job_id: int, attempt: int, pid: int, pid_created: float) -> None:
        """Note which process does a job; the creation time tells it from a later one of the same number."""
        self._fenced(job_id, attempt, {"pid": pid, "pid_created": pid_created, "heartbeat_at": now()})

    def heartbeat(self, job_id: int, attempt: int, progress: dict[str, Any] | None = None) -> None:
        """Say that the attempt lives; ``progress`` may hold progress, message and eta_seconds."""
        self._fenced(job_id, attempt, {**(progress or {}), "heartbeat_at": now()})

    def finish(self, job_id: int, attempt: int, result: dict[str, Any]) -> None:
        """Mark an attempt as done."""
        done = {"state": "done", "progress": 1.0, "eta_seconds": None, "finished_at": now(), "error": None}
        self._fenced(job_id, attempt, {**done, "result": result})

    def fail(self, job_id: int, attempt: int, error: str | None, state: JobState = "failed") -> None:
        """Mark an attempt as failed (or cancelled, or interrupted) with one sentence."""
        self._fenced(
            job_id, attempt, {"state": state, "error": error, "eta_seconds": None, "finished_at": now()}
        )

    def add_event(self, job_id: int, attempt: int, event: dict[str, Any]) -> None:
        """Add an event to what the job told."""
        with self._database.write() as session:
            if not _is_current(session, job_id, attempt):
                raise AttemptOver(f"Attempt {attempt} of job {job_id} is over.")
            session.add(EventRow(job_id=job_id, run_id=None, attempt=attempt, data=event, created_at=now()))

    def asked_to_stop(self, job_id: int, attempt: int) -> bool:
        """Return whether somebody wants the attempt to stop.

        Raises:
            AttemptOver: when it is over already.
        """
        query = select(JobRow.cancel_requested).where(*_current(job_id, attempt))
        with self._database.read() as session:
            asked = session.scalar(query)
        if asked is None:
            raise AttemptOver(f"Attempt {attempt} of job {job_id} is over.")
        return asked

    def fence(self, job_id: int, attempt: int) -> None:
        """Refuse every later write of this workspace (cases and readings, too) once the attempt is over."""

        def check(session: Session) -> None:
            if not _is_current(session, job_id, attempt):
                raise AttemptOver(f"Attempt {attempt} of job {job_id} is over.")

        self.workspace.fence_writes(check)

    def _fenced(self, job_id: int, attempt: int, values: dict[str, Any]) -> None:
        with self._database.write() as session:
            if not _write_attempt(session, job_id, attempt, values):
                raise AttemptOver(f"Attempt {attempt} of job {job_id} is over.")

    # last, because its name hides the built-in type from what follows in this class

    def list(
        self, project_id: int | None = None, active_only: bool = False, limit: int | None = None
    ) -> list[Job]:
        """Return jobs, newest first."""
        query = select(JobRow).order_by(JobRow.id.desc()).limit(limit)
        if project_id is not None:
            query = query.where(JobRow.project_id == project_id)
        if active_only:
            query = query.where(JobRow.state.in_(ACTIVE_STATES))
        with self._database.read() as session:
            return [_to_job(row) for row in session.scalars(query)]


def _next_row(session: Session) -> JobRow | None:
    running = select(JobRow.queue, func.count()).where(JobRow.state == "running").group_by(JobRow.queue)
    full = [queue for queue, number in session.execute(running) if number >= places_of(queue)]
    waiting = select(JobRow).where(JobRow.state == "queued", JobRow.queue.not_in(full))
    return session.scalar(waiting.order_by(JobRow.id).limit(1))


def _requeue(row: JobRow) -> None:
    row.state, row.attempt = "queued", row.attempt + 1
    row.cancel_requested, row.error, row.result = False, None, None
    row.message, row.eta_seconds = "", None
    row.pid, row.pid_created, row.heartbeat_at, row.finished_at = None, None, None, None


def _current(job_id: int, attempt: int) -> tuple[Any, ...]:
    return (JobRow.id == job_id, JobRow.attempt == attempt, JobRow.state == "running")


def _is_current(session: Session, job_id: int, attempt: int) -> bool:
    return session.scalar(select(JobRow.id).where(*_current(job_id, attempt))) is not None


def _write_attempt(session: Session, job_id: int, attempt: int, values: dict[str, Any]) -> bool:
    """Write to a job's row if the attempt is the running one; returns whether it was."""
    written = session.execute(update(JobRow).where(*_current(job_id, attempt)).values(**values))
    return bool(getattr(written, "rowcount", 0) == 1)


def _row(session: Session, job_id: int) -> JobRow:
    row = session.get(JobRow, job_id)
    if row is None:
        raise NotFound(f"There is no job number {job_id}.")
    return row


def _to_job(row: JobRow) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        title=row.title,
        state=_as_state(row.state),
        attempt=row.attempt,
        progress=row.progress,
        message=row.message,
        eta_seconds=row.eta_seconds,
        payload=row.payload,
        result=row.result,
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        heartbeat_at=row.heartbeat_at,
        pid=row.pid,
        pid_created=row.pid_created,
        queue=row.queue,
        project_id=row.project_id,
        cancel_requested=row.cancel_requested,
    )


def _as_state(state: str) -> JobState:
    for known in get_args(JobState):
        if state == known:
            return known
    raise ValueError(f"unknown job state {state!r}.")
