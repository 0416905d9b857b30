"""Readings in versions: nothing is overwritten, equal content adds nothing, older ground is told."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from core.errors import Conflict, LabelError, NotFound, StorageError
from core.readings.reading import Boxes, Mask, Reading
from core.readings.stored import hash_reading, read_reading
from core.types import info_from_json
from core.workspace.cases import MAX_TRIES
from core.workspace.database import now
from core.workspace.files import READING_ENDING
from core.workspace.projects import clean_name, project_row
from core.workspace.records import Reader, ReaderKind, ReadingVersion
from core.workspace.results import audit
from core.workspace.store import Store
from core.workspace.tables import CaseRow, ImageRow, ReaderRow, StepRow, VersionRow


@dataclass(frozen=True)
class NewReading:
    """What ``Workspace.save_reading`` takes in."""

    case_id: int
    reader_name: str
    reading: Reading
    kind: ReaderKind = "person"
    note: str = ""
    based_on: int | None = None
    model_id: int | None = None
    actor: str = ""
    notes: dict[str, Any] | None = None


class StepsWait(Exception):
    """Marks wait to become a version; they come first."""


def as_kind(kind: str) -> ReaderKind:
    """Return a reader's kind as its type.

    Raises:
        ValueError: when it is neither person nor model.
    """
    if kind == "person":
        return "person"
    if kind == "model":
        return "model"
    raise ValueError(f"kind must be person or model, got {kind!r}.")


def _to_version(row: VersionRow, reader_name: str, kind: str) -> ReadingVersion:
    return ReadingVersion(
        id=row.id,
        case_id=row.case_id,
        reader_id=row.reader_id,
        reader_name=reader_name,
        kind=as_kind(kind),
        version=row.version,
        sha256=row.sha256,
        note=row.note,
        based_on=row.based_on,
        model_id=row.model_id,
        has_probabilities=row.has_probabilities,
        created_at=row.created_at,
        notes=row.notes,
    )


def select_versions() -> Select[Any]:
    """Return a selection of (version row, reader name, reader kind)."""
    query: Select[Any] = select(VersionRow)
    return query.join(ReaderRow, ReaderRow.id == VersionRow.reader_id).add_columns(
        ReaderRow.name, ReaderRow.kind
    )


def save_reading(store: Store, new: NewReading) -> ReadingVersion:
    """Store a reading as the next version; see ``Workspace.save_reading``.

    Raises:
        StepsWait: when marks on this reading have to become a version first.
    """
    reader_name = clean_name(new.reader_name, "A reader")
    as_kind(new.kind)
    for _ in range(MAX_TRIES):
        sha256, path = put_content(store, new.reading)
        with store.database.write() as session:
            if path.exists():  # else a sweep was faster; the file is put back outside the lock
                _refuse_before_steps(session, new.case_id, reader_name)
                return add_version(session, new, reader_name, sha256)
    raise StorageError("The reading could not be stored: something keeps removing its file.")


def put_content(store: Store, reading: Reading) -> tuple[str, Path]:
    """Store what a reading says unless it is there; returns its hash and its file."""
    sha256 = hash_reading(reading)
    store.files.put_reading(reading, sha256)
    return sha256, store.files.path_of(sha256, READING_ENDING)


def _refuse_before_steps(session: Session, case_id: int, reader_name: str) -> None:
    waiting = (
        select(StepRow.id)
        .join(ReaderRow, ReaderRow.id == StepRow.reader_id)
        .where(StepRow.case_id == case_id, ReaderRow.name == reader_name, StepRow.version.is_(None))
    )
    if session.scalar(waiting.limit(1)) is not None:
        raise StepsWait


def add_version(session: Session, new: NewReading, reader_name: str, sha256: str) -> ReadingVersion:
    """Add a version within a transaction; its content is stored already."""
    case = _check_case(session, new)
    reader = reader_row(session, case.project_id, reader_name, new.kind)
    latest = session.scalar(
        select(VersionRow)
        .where(VersionRow.reader_id == reader.id, VersionRow.case_id == case.id)
        .order_by(VersionRow.version.desc())
        .limit(1)
    )
    notes = (new.notes or None) if new.notes is not None or latest is None else latest.notes
    if latest is not None and (latest.sha256, latest.notes) == (sha256, notes):
        return _to_version(latest, reader.name, reader.kind)
    number = latest.version if latest is not None else 0
    if new.based_on is not None and new.based_on != number:
        raise Conflict(
            f"This reading has changed meanwhile (version {number}, you started from {new.based_on}); "
            "load the newest version and repeat your change."
        )
    row = VersionRow(
        case_id=case.id,
        reader_id=reader.id,
        version=number + 1,
        sha256=sha256,
        note=new.note,
        based_on=new.based_on or None,
        model_id=new.model_id,
        has_probabilities=_has_probabilities(new.reading),
        notes=notes,
        created_at=now(),
    )
    session.add(row)
    project = project_row(session, case.project_id)
    if new.kind == "person" and project.reference_reader is None:
        project.reference_reader = reader.name
    audit(
        session, new.actor or reader.name, "reading saved", f"case {case.id}", f"{reader.name}, v{number + 1}"
    )
    session.flush()
    return _to_version(row, reader.name, reader.kind)


def _check_case(session: Session, new: NewReading) -> CaseRow:
    found = session.execute(
        select(CaseRow, ImageRow.info)
        .join(ImageRow, ImageRow.id == CaseRow.image_id)
        .where(CaseRow.id == new.case_id)
    ).first()
    if found is None:
        raise NotFound(f"There is no case number {new.case_id} (any more).")
    case, info = found
    misfit = new.reading.misfit(info_from_json(info))
    if misfit is not None:
        raise LabelError(f"{case.name}: {misfit}")
    return case


def _has_probabilities(reading: Reading) -> bool:
    """Tell whether a threshold can be chosen afterwards."""
    if isinstance(reading, Mask):
        return reading.probabilities is not None
    return isinstance(reading, Boxes) and reading.scores is not None


def reader_row(session: Session, project_id: int, name: str, kind: ReaderKind) -> ReaderRow:
    """Return a reader's row; made when there is none.

    Raises:
        Conflict: when a person and a model would share a name.
    """
    row = session.scalar(select(ReaderRow).where(ReaderRow.project_id == project_id, ReaderRow.name == name))
    if row is None:
        row = ReaderRow(project_id=project_id, name=name, kind=kind)
        session.add(row)
        session.flush()
    if row.kind != kind:
        raise Conflict(f"{name!r} is the name of a {row.kind} in this project; a {kind} needs another name.")
    return row


def list_readers(store: Store, project_id: int) -> list[Reader]:
    """Return everybody who has read something, people first."""
    query = (
        select(ReaderRow.id, ReaderRow.name, ReaderRow.kind, func.count(VersionRow.case_id.distinct()))
        .join(VersionRow, VersionRow.reader_id == ReaderRow.id)
        .where(ReaderRow.project_id == project_id)
        .group_by(ReaderRow.id, ReaderRow.name, ReaderRow.kind)
        .order_by(ReaderRow.kind.desc(), ReaderRow.id)
    )
    with store.database.read() as session:
        return [
            Reader(id_, name, as_kind(kind), number) for id_, name, kind, number in session.execute(query)
        ]


def list_versions(
    store: Store, case_id: int, reader_name: str | None, limit: int | None = None
) -> list[ReadingVersion]:
    """Return versions of a case, newest first."""
    query = select_versions().where(VersionRow.case_id == case_id).order_by(VersionRow.id.desc())
    if reader_name is not None:
        query = query.where(ReaderRow.name == reader_name)
    if limit is not None:
        query = query.limit(limit)
    with store.database.read() as session:
        return [_to_version(*found) for found in session.execute(query)]


def get_version(store: Store, version_id: int) -> ReadingVersion:
    """Return one version."""
    with store.database.read() as session:
        found = session.execute(select_versions().where(VersionRow.id == version_id)).first()
        if found is None:
            raise NotFound(f"There is no reading number {version_id} (any more).")
        return _to_version(*found)


def latest_of(reader_id: int) -> Select[Any]:
    """Return a selection of a reader's latest version of every case."""
    newest = (
        select(VersionRow.case_id, func.max(VersionRow.version).label("version"))
        .where(VersionRow.reader_id == reader_id)
        .group_by(VersionRow.case_id)
        .subquery()
    )
    return (
        select_versions()
        .join(newest, (newest.c.case_id == VersionRow.case_id) & (newest.c.version == VersionRow.version))
        .where(VersionRow.reader_id == reader_id)
    )


def reader_id_of(session: Session, project_id: int, name: str) -> int | None:
    """Return a reader's number, or None."""
    return session.scalar(
        select(ReaderRow.id).where(ReaderRow.project_id == project_id, ReaderRow.name == name)
    )


def readings_of(store: Store, project_id: int, reader_name: str) -> dict[int, ReadingVersion]:
    """Return case id -> latest version."""
    with store.database.read() as session:
        reader_id = reader_id_of(session, project_id, reader_name)
        if reader_id is None:
            return {}
        found = [_to_version(*row) for row in session.execute(latest_of(reader_id))]
    return {version.case_id: version for version in found}


def load_reading(store: Store, version: ReadingVersion, with_probabilities: bool) -> Reading:
    """Read a version's content.

    Raises:
        StorageError: when its file is missing or damaged.
    """
    words = f"{version.reader_name} (version {version.version})"
    return load_version(store, version.sha256, words, with_probabilities)


def load_version(store: Store, sha256: str, words: str, with_probabilities: bool = False) -> Reading:
    """Read stored content; ``words`` say whose it is.

    Raises:
        StorageError: when its file is missing or damaged.
    """
    try:
        return read_reading(store.files.path_of(sha256, READING_ENDING), with_probabilities)
    except FileNotFoundError as error:
        raise StorageError(f"The stored reading of {words} is missing; save or import it again.") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise StorageError(f"The stored reading of {words} is damaged; save or import it again.") from error
