"""Cleaning: files that no row points to, half-written ones, work folders of jobs that are done.

A writer puts its file in place first and looks again within its transaction whether the file is still there.
So a sweep that removes files while holding the writers' lock can never leave a row without its file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from core.workspace.files import IMAGE_ENDING, PART_ENDING, READING_ENDING, age_seconds
from core.workspace.store import Store
from core.workspace.tables import CaseRow, ImageRow, JobRow, ModelRow, VersionRow

CHUNK = 500  # below every database's limit of values in one statement
WORK_DAYS_SECONDS = 86_400.0
MODEL_DAYS_SECONDS = 7 * 86_400.0
CACHE_DAYS_SECONDS = 7 * 86_400.0


def image_hashes(session: Session, cases: Select[Any]) -> set[str]:
    """Return file names of the images of cases (given as a selection of ids)."""
    wanted = (
        select(ImageRow.sha256).join(CaseRow, CaseRow.image_id == ImageRow.id).where(CaseRow.id.in_(cases))
    )
    return {f"{sha256}{IMAGE_ENDING}" for sha256 in session.scalars(wanted)}


def reading_hashes(session: Session, cases: Select[Any]) -> set[str]:
    """Return file names of all readings of cases (given as a selection of ids)."""
    wanted = select(VersionRow.sha256).where(VersionRow.case_id.in_(cases))
    return {f"{sha256}{READING_ENDING}" for sha256 in session.scalars(wanted)}


def _referenced(session: Session, names: Iterable[str]) -> set[str]:
    """Return those of the file names that a row points to."""
    found: set[str] = set()
    for ending, column in ((IMAGE_ENDING, ImageRow.sha256), (READING_ENDING, VersionRow.sha256)):
        hashes = [name.removesuffix(ending) for name in names if name.endswith(ending)]
        for start in range(0, len(hashes), CHUNK):
            known = session.scalars(
                select(column).where(column.in_(hashes[start : start + CHUNK])).distinct()
            )
            found.update(f"{sha256}{ending}" for sha256 in known)
    return found


def remove_unreferenced(store: Store, names: Iterable[str], min_age_seconds: float = 0.0) -> int:
    """Remove those of the named files that no row points to; returns how many went."""
    names = set(names)
    with store.database.read() as session:
        candidates = sorted(names - _referenced(session, names))
    removed = 0
    for start in range(0, len(candidates), CHUNK):  # in parts, so that writers wait for moments only
        part = candidates[start : start + CHUNK]
        with store.database.locked(), store.database.read() as session:
            for name in set(part) - _referenced(session, part):
                path = store.files.path_of(Path(name).stem, Path(name).suffix)
                if path.exists() and age_seconds(path) >= min_age_seconds:
                    path.unlink(missing_ok=True)
                    removed += 1
    return removed


def sweep(store: Store, min_age_seconds: float) -> int:
    """Remove what nothing needs; see ``Workspace.sweep``."""
    names: set[str] = set()
    removed = 0
    for path in store.files.walk():
        if path.name.endswith(PART_ENDING):
            if age_seconds(path) >= min_age_seconds:
                path.unlink(missing_ok=True)
                removed += 1
        elif age_seconds(path) >= min_age_seconds:
            names.add(path.name)
    removed += remove_unreferenced(store, names, min_age_seconds)
    return removed + _sweep_models(store) + _sweep_work(store) + _sweep_cache(store)


def _sweep_cache(store: Store) -> int:
    """Remove smaller copies of large images that nobody looked at for a week; they are made again when needed."""
    removed = 0
    for folder in (store.home / "cache").glob("*"):
        if age_seconds(folder) >= CACHE_DAYS_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _sweep_models(store: Store) -> int:
    """Remove model folders that were never registered, long after anybody wrote to them."""
    with store.database.read() as session:
        known = set(session.scalars(select(ModelRow.folder)))
    removed = 0
    for folder in (store.home / "models").iterdir():
        if str(folder.relative_to(store.home)) in known or _newest_age(folder) < MODEL_DAYS_SECONDS:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        removed += 1
    return removed


def _newest_age(folder: Path) -> float:
    return min(age_seconds(path) for path in (folder, *folder.rglob("*")))


def _sweep_work(store: Store) -> int:
    """Remove the work folders of jobs that are done (or gone) for a day; others may be resumed."""
    with store.database.read() as session:
        needed = set(session.scalars(select(JobRow.id).where(JobRow.state != "done")))
    removed = 0
    for folder in (store.home / "work").glob("job-*"):
        number = folder.name.removeprefix("job-")
        if number.isdigit() and int(number) not in needed and age_seconds(folder) >= WORK_DAYS_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed
