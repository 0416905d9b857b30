"""Snapshots: exactly what a training is given, kept with its hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import NotFound, TrainingError
from core.learning.snapshot import Snapshot, SnapshotItem, snapshot_from_json, snapshot_to_json
from core.types import info_from_json
from core.workspace.cases import check_split, select_cases
from core.workspace.database import now
from core.workspace.files import IMAGE_ENDING, READING_ENDING
from core.workspace.projects import project_row, to_project
from core.workspace.readings import latest_of, reader_id_of
from core.workspace.store import Store
from core.workspace.tables import CaseRow, SnapshotRow


def make_snapshot(
    store: Store, project_id: int, reader_name: str | None, needs_readings: bool = True
) -> Snapshot:
    """Freeze cases, readings and split; see ``Workspace.make_snapshot``."""
    if not needs_readings:
        return _snapshot_of_images(store, project_id)
    with store.database.read() as session:
        project = to_project(project_row(session, project_id))
        name = reader_name or project.reference_reader
        if name is None:
            raise TrainingError(
                f"The project {project.name} has no reference yet; annotate cases or import masks first."
            )
        items = _items(store, session, project_id, _hashes_of(session, project_id, name))
    if not items:
        raise TrainingError(
            f"{name} has read no case of {project.name}; annotate cases or import masks first."
        )
    kept = [item for item in items if item is not None]
    if not any(item.split in ("train", "val") for item in kept):
        raise TrainingError(
            f"No case of {project.name} that {name} has read is in train or val; split the project first."
        )
    snapshot = Snapshot(project.task, project.labels, tuple(kept))
    save_snapshot(store, project_id, snapshot)
    return snapshot


def _snapshot_of_images(store: Store, project_id: int) -> Snapshot:
    """Freeze all cases with a split, without readings: the images themselves are the truth."""
    with store.database.read() as session:
        project = to_project(project_row(session, project_id))
        kept = [item for item in _items(store, session, project_id, None) if item is not None]
    if not any(item.split in ("train", "val") for item in kept):
        raise TrainingError(
            f"No case of {project.name} is in train or val; import images and split the project first."
        )
    snapshot = Snapshot(project.task, project.labels, tuple(kept))
    save_snapshot(store, project_id, snapshot)
    return snapshot


def _hashes_of(session: Session, project_id: int, reader_name: str) -> dict[int, str]:
    """Return case id -> hash of a reader's latest reading."""
    reader_id = reader_id_of(session, project_id, reader_name)
    if reader_id is None:
        return {}
    return {row.case_id: row.sha256 for row, _, _ in session.execute(latest_of(reader_id))}


def _items(
    store: Store, session: Session, project_id: int, readings: dict[int, str] | None
) -> list[SnapshotItem | None]:
    """Return an item per case read (per case, where no readings are needed), None for one without a split.

    They are ordered by name, as numbers differ by home.
    """
    query = select_cases().where(CaseRow.project_id == project_id)
    items: list[SnapshotItem | None] = []
    for row, sha256, info in sorted(session.execute(query), key=lambda found: found[0].name):
        if readings is not None and row.id not in readings:
            continue
        split = check_split(row.split)
        if split is None:
            items.append(None)
            continue
        reading = "" if readings is None else readings[row.id]
        items.append(
            SnapshotItem(
                case_id=row.id,
                case_name=row.name,
                patient_key=row.patient_key,
                split=split,
                image_path=store.files.path_of(sha256, IMAGE_ENDING),
                image_sha256=sha256,
                info=info_from_json(info),
                reading_path=store.files.path_of(reading, READING_ENDING) if reading else None,
                reading_sha256=reading,
            )
        )
    return items


def save_snapshot(store: Store, project_id: int, snapshot: Snapshot) -> None:
    """Keep a snapshot unless the very same one is kept."""
    content = _with_paths(snapshot_to_json(snapshot), lambda path: str(Path(path).relative_to(store.home)))
    with store.database.write() as session:
        project_row(session, project_id)
        query = select(SnapshotRow).where(
            SnapshotRow.sha256 == snapshot.sha256, SnapshotRow.project_id == project_id
        )
        if any(row.content == content for row in session.scalars(query)):
            return
        session.add(
            SnapshotRow(project_id=project_id, sha256=snapshot.sha256, content=content, created_at=now())
        )


def load_snapshot(store: Store, sha256: str) -> Snapshot:
    """Return a kept snapshot; the newest of equal hash.

    Raises:
        NotFound: when there is none.
    """
    query = select(SnapshotRow).where(SnapshotRow.sha256 == sha256).order_by(SnapshotRow.id.desc()).limit(1)
    with store.database.read() as session:
        row = session.scalar(query)
        if row is None:
            raise NotFound(f"There is no snapshot {sha256[:12]} (any more).")
        return snapshot_from_json(_with_paths(row.content, lambda path: str(store.home / path)))


def _with_paths(content: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    keys = ("image_path", "reading_path")
    items = [
        {**item, **{key: change(item[key]) for key in keys if item[key] is not None}}
        for item in content["items"]
    ]
    return {**content, "items": items}
