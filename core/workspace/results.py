"""Kept evaluations, and the audit: who did what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFound
from core.workspace.database import now
from core.workspace.records import AuditEntry
from core.workspace.store import Store
from core.workspace.tables import AuditRow, EvaluationRow, ProjectRow

UNKNOWN_ACTOR = "local"


def audit(session: Session, actor: str, action: str, target: str, detail: str = "") -> None:
    """Add a line to the audit within the transaction of what it tells of."""
    row = AuditRow(
        at=now(), actor=(actor or UNKNOWN_ACTOR)[:200], action=action, target=target, detail=detail
    )
    session.add(row)


def log(store: Store, actor: str, action: str, target: str, detail: str = "") -> None:
    """Write one line of the audit."""
    with store.database.write() as session:
        audit(session, actor, action, target, detail)


def list_audit(store: Store, limit: int) -> list[AuditEntry]:
    """Return the newest lines, newest first."""
    with store.database.read() as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(limit))
        return [AuditEntry(row.id, row.at, row.actor, row.action, row.target, row.detail) for row in rows]


def save_evaluation(store: Store, project_id: int, key: str, result: dict[str, Any]) -> None:
    """Keep a result; see ``Workspace.save_evaluation``."""
    with store.database.write() as session:
        if session.get(ProjectRow, project_id) is None:
            raise NotFound(f"There is no project number {project_id} (any more).")
        row = session.scalar(_wanted(project_id, key))
        if row is None:
            session.add(EvaluationRow(project_id=project_id, key=key, result=result, created_at=now()))
        else:
            row.result, row.created_at = result, now()


def load_evaluation(store: Store, project_id: int, key: str) -> dict[str, Any] | None:
    """Return a kept result, or None."""
    with store.database.read() as session:
        row = session.scalar(_wanted(project_id, key))
        return None if row is None else row.result


def _wanted(project_id: int, key: str) -> Any:
    return select(EvaluationRow).where(EvaluationRow.project_id == project_id, EvaluationRow.key == key)
