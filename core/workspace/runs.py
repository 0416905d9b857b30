"""Runs: one training each, with its settings, curves and result."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, or_, select

from core.errors import NotFound
from core.learning.snapshot import Snapshot
from core.workspace.database import now
from core.workspace.projects import project_row
from core.workspace.records import ACTIVE_STATES, Event, Run
from core.workspace.store import Store
from core.workspace.tables import EventRow, JobRow, ModelRow, RunRow

STATUSES = ("running", "done", "failed", "cancelled", "interrupted")


def _to_run(row: RunRow, job_state: str | None, model_id: int | None) -> Run:
    return Run(
        id=row.id,
        project_id=row.project_id,
        job_id=row.job_id,
        settings=row.settings,
        snapshot_sha256=row.snapshot_sha256,
        status=_status(row.status, job_state),
        metrics=row.metrics,
        model_id=model_id,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def _status(stored: str, job_state: str | None) -> str:
    """A dead worker cannot say that its run ended, and a resumed job's run goes on: the job knows."""
    if stored == "done" or job_state is None:
        return stored
    if job_state in ACTIVE_STATES:
        return "running"
    return job_state if stored == "running" else stored


def _select_runs() -> Select[Any]:
    query: Select[Any] = select(RunRow)
    query = query.outerjoin(JobRow, JobRow.id == RunRow.job_id)
    query = query.outerjoin(ModelRow, ModelRow.run_id == RunRow.id)
    return query.add_columns(JobRow.state, ModelRow.id)


def start_run(
    store: Store, project_id: int, job_id: int | None, settings: dict[str, Any], snapshot: Snapshot
) -> Run:
    """Note that a training starts."""
    with store.database.write() as session:
        project_row(session, project_id)
        row = RunRow(
            project_id=project_id,
            job_id=job_id,
            settings=settings,
            snapshot_sha256=snapshot.sha256,
            status="running",
            metrics={},
            created_at=now(),
            finished_at=None,
        )
        session.add(row)
        session.flush()
        return _to_run(row, None, None)


def finish_run(store: Store, run_id: int, status: str, metrics: dict[str, Any], model_id: int | None) -> Run:
    """Note how a training ended.

    Raises:
        ValueError: when the status is none of the known ones.
        NotFound: when there is no such run.
    """
    if status not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {status!r}.")
    with store.database.write() as session:
        row = session.get(RunRow, run_id)
        if row is None:
            raise NotFound(f"There is no run number {run_id} (any more).")
        row.status, row.metrics, row.finished_at = status, metrics, now()
        if model_id is not None and (model := session.get(ModelRow, model_id)) is not None:
            model.run_id = run_id
    return get_run(store, run_id)


def get_run(store: Store, run_id: int) -> Run:
    """Return one run.

    Raises:
        NotFound: when there is none.
    """
    with store.database.read() as session:
        found = session.execute(_select_runs().where(RunRow.id == run_id)).first()
        if found is None:
            raise NotFound(f"There is no run number {run_id} (any more).")
        return _to_run(*found)


def list_runs(store: Store, project_id: int | None) -> list[Run]:
    """Return runs, newest first."""
    query = _select_runs().order_by(RunRow.id.desc(), ModelRow.id)
    if project_id is not None:
        query = query.where(RunRow.project_id == project_id)
    with store.database.read() as session:
        found = [_to_run(*row) for row in session.execute(query)]
    return list({run.id: run for run in found}.values())


def add_run_events(store: Store, run_id: int, events: list[dict[str, Any]]) -> None:
    """Add events to a run without a job."""
    with store.database.write() as session:
        if session.get(RunRow, run_id) is None:
            raise NotFound(f"There is no run number {run_id} (any more).")
        session.add_all(
            EventRow(job_id=None, run_id=run_id, attempt=1, data=data, created_at=now()) for data in events
        )


def list_run_events(store: Store, run_id: int, after_id: int) -> list[Event]:
    """Return a run's events, those of its job among them, oldest first."""
    job = select(RunRow.job_id).where(RunRow.id == run_id).scalar_subquery()
    query = (
        select(EventRow)
        .where(or_(EventRow.run_id == run_id, EventRow.job_id == job), EventRow.id > after_id)
        .order_by(EventRow.id)
    )
    with store.database.read() as session:
        return [Event(row.id, row.attempt, row.data, row.created_at) for row in session.scalars(query)]
