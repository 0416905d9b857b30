"""Models: packages of weights and card, kept in folders of their own under HOME/models."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import Conflict, NotFound, StorageError, WeightsError
from core.workspace.database import now
from core.workspace.projects import Key, as_id, clean_name
from core.workspace.records import Model
from core.workspace.results import audit
from core.workspace.store import Store
from core.workspace.tables import ModelRow, ProjectRow, ReaderRow, RunRow, VersionRow

FOLDER = "models"


@dataclass(frozen=True)
class NewModel:
    """What ``Workspace.register_model`` takes in."""

    project_id: int | None
    name: str
    package_dir: Path
    card: dict[str, Any]
    run_id: int | None


def _to_model(row: ModelRow) -> Model:
    return Model(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        task=row.task,
        card=row.card,
        run_id=row.run_id,
        folder=row.folder,
        created_at=row.created_at,
    )


def new_model_dir(store: Store, name: str) -> Path:
    """Make an empty folder under HOME/models."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "model"
    folder = store.home / FOLDER / f"{slug}-{secrets.token_hex(6)}"
    try:
        folder.mkdir()
    except OSError as error:
        raise StorageError(f"The model's folder could not be made ({error.strerror}).") from error
    return folder


def register_model(store: Store, new: NewModel) -> Model:
    """Take a package into the home; see ``Workspace.register_model``."""
    name = clean_name(new.name, "A model")
    known = _model_of_run(store, new.run_id)
    if known is not None:
        return known
    if not (new.package_dir / "card.json").is_file():
        raise WeightsError(f"{new.package_dir.name} is no model package, it has no card.json.")
    folder = _take_in(store, name, new.package_dir)
    with store.database.write() as session:
        project_id = new.project_id
        if project_id is not None and session.get(ProjectRow, project_id) is None:
            project_id = None  # deleted meanwhile; hours of training are kept all the same
        run_id = (
            new.run_id if new.run_id is not None and session.get(RunRow, new.run_id) is not None else None
        )
        row = ModelRow(
            project_id=project_id,
            run_id=run_id,
            name=_free_name(session, name),
            task=str(new.card.get("task", "")),
            card=new.card,
            folder=str(folder.relative_to(store.home)),
            created_at=now(),
        )
        session.add(row)
        session.flush()
        audit(session, "", "model registered", f"model {row.id}", row.name)
        return _to_model(row)


def _model_of_run(store: Store, run_id: int | None) -> Model | None:
    if run_id is None:
        return None
    with store.database.read() as session:
        row = session.scalar(select(ModelRow).where(ModelRow.run_id == run_id).order_by(ModelRow.id).limit(1))
        return None if row is None else _to_model(row)


def _take_in(store: Store, name: str, package_dir: Path) -> Path:
    """Copy a package into a new folder; one that lies under HOME/models already stays where it is."""
    package_dir = package_dir.resolve()
    if package_dir.parent == (store.home / FOLDER).resolve():
        return store.home / FOLDER / package_dir.name
    folder = new_model_dir(store, name)
    try:
        for source in sorted(path for path in package_dir.iterdir() if path.is_file()):
            target = folder / source.name
            shutil.copyfile(source, target)
            with open(target, "rb") as file:
                os.fsync(file.fileno())
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise StorageError(
            f"The model could not be stored ({error.strerror}). Free some disk space and try again."
        ) from error
    return folder


def _free_name(session: Session, wanted: str) -> str:
    taken = set(
        session.scalars(select(ModelRow.name).where(ModelRow.name.startswith(wanted, autoescape=True)))
    )
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted} ({number})", number + 1
    return name


def free_model_name(store: Store, wanted: str) -> str:
    """Return a name no model has."""
    with store.database.read() as session:
        return _free_name(session, clean_name(wanted, "A model"))


def list_models(store: Store, project_id: int | None, task: str | None) -> list[Model]:
    """Return models, newest first."""
    query = select(ModelRow).order_by(ModelRow.id.desc())
    if project_id is not None:
        query = query.where(ModelRow.project_id == project_id)
    if task is not None:
        query = query.where(ModelRow.task == task)
    with store.database.read() as session:
        return [_to_model(row) for row in session.scalars(query)]


def get_model(store: Store, name_or_id: Key) -> Model:
    """Return one model; see ``Workspace.get_model``."""
    with store.database.read() as session:
        row = None
        if isinstance(name_or_id, str):
            row = session.scalar(select(ModelRow).where(ModelRow.name == name_or_id.strip()))
        if row is None and (number := as_id(name_or_id)) is not None:
            row = session.get(ModelRow, number)
        if row is not None:
            return _to_model(row)
        known = ", ".join(session.scalars(select(ModelRow.name).order_by(ModelRow.id.desc()).limit(20)))
    raise NotFound(f"There is no model {name_or_id!r}; there {'are: ' + known if known else 'is none yet'}.")


def _row(session: Session, model_id: int) -> ModelRow:
    row = session.get(ModelRow, model_id)
    if row is None:
        raise NotFound(f"There is no model number {model_id} (any more).")
    return row


def rename_model(store: Store, model_id: int, name: str) -> Model:
    """Rename a model and the reader it is; see ``Workspace.rename_model``."""
    name = clean_name(name, "A model")
    with store.database.write() as session:
        row = _row(session, model_id)
        if name == row.name:
            return _to_model(row)
        if session.scalar(select(ModelRow.id).where(ModelRow.name == name)) is not None:
            raise Conflict(f"A model named {name!r} is there already; choose another name.")
        read_by = select(VersionRow.reader_id).where(VersionRow.model_id == model_id)
        own = ReaderRow.id.in_(read_by) & (ReaderRow.name == row.name)
        for reader in session.scalars(select(ReaderRow).where(own)).all():
            _rename_reader(session, reader, name)
        audit(session, "", "model renamed", f"model {model_id}", f"{row.name} -> {name}")
        row.name = name
        return _to_model(row)


def _rename_reader(session: Session, reader: ReaderRow, name: str) -> None:
    project = session.get(ProjectRow, reader.project_id)
    taken = select(ReaderRow.id).where(ReaderRow.project_id == reader.project_id, ReaderRow.name == name)
    if session.scalar(taken) is not None:
        where = project.name if project is not None else "a project"
        raise Conflict(f"A reader named {name!r} is in {where} already; choose another name.")
    if project is not None and project.reference_reader == reader.name:
        project.reference_reader = name
    reader.name = name


def delete_model(store: Store, model_id: int) -> None:
    """Delete a model; see ``Workspace.delete_model``."""
    with store.database.write() as session:
        row = _row(session, model_id)
        folder = store.home / row.folder
        audit(session, "", "model deleted", f"model {model_id}", row.name)
        session.delete(row)
    shutil.rmtree(folder, ignore_errors=True)
