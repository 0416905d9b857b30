"""Projects: create, find, label, choose the reference, delete."""

from __future__ import annotations

import re

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.errors import Conflict, LabelError, NotFound
from core.types import LABEL_COLORS, Label
from core.workspace.database import now
from core.workspace.records import ACTIVE_STATES, Project
from core.workspace.results import audit
from core.workspace.store import Store
from core.workspace.sweep import image_hashes, reading_hashes, remove_unreferenced
from core.workspace.tables import CaseRow, ImageRow, JobRow, ProjectRow, ReaderRow, VersionRow

Key = int | str
MAX_NAME = 200


def clean_name(name: str, what: str) -> str:
    """Return a name without outer blanks.

    Raises:
        ValueError: when it is empty or too long.
    """
    cleaned = " ".join(name.split())
    if not 1 <= len(cleaned) <= MAX_NAME:
        raise ValueError(f"{what} needs a name of 1 to {MAX_NAME} characters, got {len(cleaned)}.")
    return cleaned


def to_project(row: ProjectRow) -> Project:
    """Return a row as a record."""
    labels = tuple(Label(*entry) for entry in row.labels)
    return Project(row.id, row.name, row.task, labels, row.reference_reader, row.created_at, row.blind)


def create_project(store: Store, name: str, task: str, labels: tuple[Label, ...]) -> Project:
    """Create a project; see ``Workspace.create_project``."""
    name = clean_name(name, "A project")
    _check_labels(labels)
    with store.database.write() as session:
        if session.scalar(select(ProjectRow.id).where(ProjectRow.name == name)) is not None:
            raise Conflict(f"A project named {name!r} is there already; choose another name.")
        entries = [[label.value, label.name, label.color] for label in labels]
        row = ProjectRow(
            name=name, task=task, labels=entries, reference_reader=None, blind=False, created_at=now()
        )
        session.add(row)
        session.flush()
        audit(session, "", "project created", f"project {row.id}", name)
        return to_project(row)


def set_blind(store: Store, project_id: int, blind: bool) -> Project:
    """Say whether readers are blind to each other; see ``Workspace.set_blind``."""
    with store.database.write() as session:
        row = project_row(session, project_id)
        row.blind = blind
        audit(session, "", "blind reading" if blind else "open reading", f"project {row.id}", row.name)
        return to_project(row)


def _check_labels(labels: tuple[Label, ...]) -> None:
    values = [label.value for label in labels]
    names = [label.name for label in labels]
    if len(set(values)) != len(values) or len(set(names)) != len(names):
        raise LabelError("Label names and values must differ from each other.")
    if any(not 1 <= value <= 65535 for value in values):
        raise LabelError("Label values must lie between 1 and 65535; 0 is background.")
    for label in labels:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", label.color):
            raise LabelError(f"A label's colour must look like #rrggbb, got {label.color!r}.")


def list_projects(store: Store) -> list[Project]:
    """Return all projects, oldest first."""
    with store.database.read() as session:
        return [to_project(row) for row in session.scalars(select(ProjectRow).order_by(ProjectRow.id))]


def get_project(store: Store, name_or_id: Key) -> Project:
    """Return one project; see ``Workspace.get_project``."""
    with store.database.read() as session:
        row = None
        if isinstance(name_or_id, str):
            row = session.scalar(select(ProjectRow).where(ProjectRow.name == name_or_id.strip()))
        if row is None and (number := as_id(name_or_id)) is not None:
            row = session.get(ProjectRow, number)
        if row is not None:
            return to_project(row)
        known = ", ".join(session.scalars(select(ProjectRow.name).order_by(ProjectRow.id).limit(20)))
    raise NotFound(
        f"There is no project {name_or_id!r}; there {'are: ' + known if known else 'is none yet'}."
    )


def as_id(key: Key) -> int | None:
    """Return a key as a row number, or None when it cannot be one."""
    if isinstance(key, int):
        return key
    text = key.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def project_row(session: Session, project_id: int) -> ProjectRow:
    """Return a project's row.

    Raises:
        NotFound: when there is none.
    """
    row = session.get(ProjectRow, project_id)
    if row is None:
        raise NotFound(f"There is no project number {project_id} (any more).")
    return row


def add_label(store: Store, project_id: int, name: str) -> Project:
    """Add a label; see ``Workspace.add_label``."""
    name = clean_name(name, "A label")
    with store.database.write() as session:
        row = project_row(session, project_id)
        if name in {entry[1] for entry in row.labels}:
            raise Conflict(f"The project {row.name} has a label {name!r} already.")
        value = max((entry[0] for entry in row.labels), default=0) + 1
        row.labels = [*row.labels, [value, name, LABEL_COLORS[(value - 1) % len(LABEL_COLORS)]]]
        audit(session, "", "label added", f"project {row.id}", name)
        return to_project(row)


def set_reference_reader(store: Store, project_id: int, reader_name: str) -> Project:
    """Choose the reference; see ``Workspace.set_reference_reader``."""
    with store.database.write() as session:
        row = project_row(session, project_id)
        readers = select(ReaderRow.name).where(ReaderRow.project_id == project_id)
        known = session.scalars(readers.order_by(ReaderRow.name)).all()
        if reader_name not in known:
            there = f"are: {', '.join(known)}" if known else "is none yet"
            raise NotFound(f"Nobody named {reader_name!r} has read a case of {row.name}; there {there}.")
        row.reference_reader = reader_name
        audit(session, "", "reference set", f"project {row.id}", reader_name)
        return to_project(row)


def refuse_while_busy(session: Session, project_id: int, kinds: tuple[str, ...] = ()) -> None:
    """Refuse to go on while a job works on a project.

    Args:
        session: an open write transaction.
        project_id: the project.
        kinds: only jobs of these kinds count; all when empty.

    Raises:
        Conflict: when there is such a job.
    """
    busy = select(JobRow.id).where(JobRow.project_id == project_id, JobRow.state.in_(ACTIVE_STATES))
    if kinds:
        busy = busy.where(JobRow.kind.in_(kinds))
    job_id = session.scalar(busy.limit(1))
    if job_id is not None:
        raise Conflict(f"Job {job_id} is working on this project; stop it or wait for it first.")


def delete_project(store: Store, project_id: int) -> None:
    """Delete a project and what belongs to it; see ``Workspace.delete_project``."""
    with store.database.write() as session:
        row = project_row(session, project_id)
        refuse_while_busy(session, project_id)
        cases = select(CaseRow.id).where(CaseRow.project_id == project_id)
        count = session.scalar(select(func.count()).select_from(cases.subquery()))
        candidates = image_hashes(session, cases) | reading_hashes(session, cases)
        images = list(session.scalars(select(CaseRow.image_id).where(CaseRow.project_id == project_id)))
        audit(session, "", "project deleted", f"project {row.id}", f"{row.name}, {count} cases")
        # In this order no row is left pointing to a missing one, whatever the database checks when.
        session.execute(delete(VersionRow).where(VersionRow.case_id.in_(cases)))
        session.execute(delete(CaseRow).where(CaseRow.project_id == project_id))
        for start in range(0, len(images), 500):
            session.execute(delete(ImageRow).where(ImageRow.id.in_(images[start : start + 500])))
        session.execute(delete(ProjectRow).where(ProjectRow.id == project_id))
    remove_unreferenced(store, candidates)
