"""Cases: take images in, find them again, open their pixels, delete them."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Select, delete, func, or_, select
from sqlalchemy.orm import Session

from core.errors import NotFound, StorageError
from core.imaging.headers import Headers, headers_from_bytes
from core.imaging.stored import hash_array, hash_array_file, read_image
from core.types import SPLITS, Image, ImageInfo, Split, info_from_json, info_to_json
from core.workspace.database import now
from core.workspace.files import HEADERS_ENDING, IMAGE_ENDING
from core.workspace.projects import clean_name, project_row, refuse_while_busy
from core.workspace.records import Case, NewCase
from core.workspace.results import audit
from core.workspace.store import Store
from core.workspace.sweep import CHUNK, image_hashes, reading_hashes, remove_unreferenced
from core.workspace.tables import CaseRow, ImageRow, VersionRow

MAX_TRIES = 5
OWN_PATIENT = "case:"


@dataclass(frozen=True)
class CaseFilter:
    """Which cases of a project: of one split ("none": not assigned), with a text in name or source."""

    project_id: int
    split: str | None = None
    search: str | None = None


def check_split(split: str | None) -> Split | None:
    """Return a split as its type.

    Raises:
        ValueError: when it is none of train, val, test, None.
    """
    for known in SPLITS:
        if split == known:
            return known
    if split is None:
        return None
    raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")


def _to_case(row: CaseRow, sha256: str, info: dict[str, Any]) -> Case:
    return Case(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        image_id=row.image_id,
        image_sha256=sha256,
        info=info_from_json(info),
        source=row.source,
        patient_key=row.patient_key,
        split=check_split(row.split),
        metadata=row.case_metadata,
        created_at=row.created_at,
        duplicate_of=row.duplicate_of,
        series_key=row.series_key,
        source_key=row.source_key,
        headers_sha256=row.headers_sha256,
    )


def select_cases() -> Select[Any]:
    """Return a selection of (case row, image hash, image facts)."""
    return select(CaseRow, ImageRow.sha256, ImageRow.info).join(ImageRow, ImageRow.id == CaseRow.image_id)


@dataclass(frozen=True)
class _Stored:
    """Files of a case in the store: the image's hash, the original's name, the headers' hash."""

    sha256: str
    original: str | None
    headers: str | None


def add_case(store: Store, project_id: int, found: NewCase) -> Case:
    """Store an image as a case; see ``Workspace.add_case``."""
    clean = clean_name(found.name[:190] or "image", "A case")
    found = dataclasses.replace(found, name=clean, split=check_split(found.split))
    sha256 = hash_array_file(found.array_file) if found.array_file else hash_array(found.image.array)
    path = store.files.path_of(sha256, IMAGE_ENDING)
    for _ in range(MAX_TRIES):
        store.files.put_image(found.image.array, sha256, found.array_file)
        original = store.files.put_original(found.original) if found.original else None
        headers = store.files.put_headers(found.headers) if found.headers else None
        paths = [path]
        paths += [store.files.path_of_name(original)] if original else []
        paths += [store.files.path_of(headers, HEADERS_ENDING)] if headers else []
        with store.database.write() as session:
            if all(stored.exists() for stored in paths):  # else a sweep was faster; put back outside the lock
                return _add(session, project_id, found, _Stored(sha256, original, headers))
    raise StorageError("The image could not be stored, something keeps removing it; look at the home folder.")


def _add(session: Session, project_id: int, found: NewCase, stored: _Stored) -> Case:
    """Add the rows of a case whose files lie in the store."""
    project_row(session, project_id)
    twins = session.execute(
        select_cases()
        .where(CaseRow.project_id == project_id, ImageRow.sha256 == stored.sha256)
        .order_by(CaseRow.id)
    ).all()
    for row, _, info in twins:
        same_file = row.source_key is not None and row.source_key == found.source_key
        if (same_file or _is_name_of(row.name, found.name)) and _same_geometry(
            info_from_json(info), found.image.info
        ):
            _fill_gaps(row, found, stored.headers)
            if stored.original:
                _keep_original(session, row.image_id, stored.original)
            return dataclasses.replace(_to_case(row, stored.sha256, info), existing=True)
    image = ImageRow(sha256=stored.sha256, info=info_to_json(found.image.info), original=stored.original)
    session.add(image)
    session.flush()
    row = CaseRow(
        project_id=project_id,
        image_id=image.id,
        name=_free_name(session, project_id, found.name),
        source=found.source,
        patient_key=found.patient_key or "",
        split=found.split,
        case_metadata=dict(found.metadata),
        duplicate_of=twins[0][0].id if twins else None,
        series_key=found.series_key,
        source_key=found.source_key,
        headers_sha256=stored.headers,
        created_at=now(),
    )
    session.add(row)
    session.flush()
    if not found.patient_key:
        row.patient_key = f"{OWN_PATIENT}{row.name}-{row.id}"
    audit(session, "", "case added", f"case {row.id}", f"project {project_id}")
    return _to_case(row, stored.sha256, image.info)


def _keep_original(session: Session, image_id: int, original: str) -> None:
    """Note the kept file of an image that was stored without one."""
    image = session.get(ImageRow, image_id)
    if image is not None and image.original is None:
        image.original = original


def _is_name_of(stored: str, wanted: str) -> bool:
    """True when a stored name is the wanted one, or it with a number for a taken name."""
    return stored == wanted or (
        stored.startswith(wanted) and re.fullmatch(r" \(\d+\)", stored[len(wanted) :]) is not None
    )


def _same_geometry(a: ImageInfo, b: ImageInfo) -> bool:
    return (a.layout, a.spacing_mm, a.affine_lps) == (b.layout, b.spacing_mm, b.affine_lps)


def _fill_gaps(row: CaseRow, found: NewCase, headers: str | None) -> None:
    """Take from a repeated import what the first one did not know, such as a table given only now."""
    row.series_key = row.series_key or found.series_key
    row.headers_sha256 = row.headers_sha256 or headers
    if row.split is None:
        row.split = found.split
    if found.patient_key and row.patient_key.startswith(OWN_PATIENT):
        row.patient_key = found.patient_key
    if any(key not in row.case_metadata for key in found.metadata):
        row.case_metadata = {**found.metadata, **row.case_metadata}


def _free_name(session: Session, project_id: int, wanted: str) -> str:
    # The index answers this; a search by pattern would read every name of the project for every new case.
    exact = select(CaseRow.id).where(CaseRow.project_id == project_id, CaseRow.name == wanted)
    if session.scalar(exact) is None:
        return wanted
    pattern = CaseRow.name.startswith(wanted, autoescape=True)
    taken = set(session.scalars(select(CaseRow.name).where(CaseRow.project_id == project_id, pattern)))
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted} ({number})", number + 1
    return name


def _where(query: Select[Any], wanted: CaseFilter) -> Select[Any]:
    query = query.where(CaseRow.project_id == wanted.project_id)
    if wanted.split == "none":
        query = query.where(CaseRow.split.is_(None))
    elif wanted.split is not None:
        query = query.where(CaseRow.split == check_split(wanted.split))
    if wanted.search and wanted.search.strip():
        part = wanted.search.strip().lower()
        query = query.where(
            or_(
                func.lower(CaseRow.name).contains(part, autoescape=True),
                func.lower(CaseRow.source).contains(part, autoescape=True),
            )
        )
    return query


def list_cases(store: Store, wanted: CaseFilter, limit: int | None, offset: int) -> list[Case]:
    """Return cases; see ``Workspace.list_cases``."""
    query = _where(select_cases(), wanted).order_by(CaseRow.id)
    if limit is not None:
        query = query.limit(limit)
    if offset:
        query = query.limit(limit if limit is not None else 2**31).offset(offset)
    with store.database.read() as session:
        return [_to_case(row, sha256, info) for row, sha256, info in session.execute(query)]


def count_cases(store: Store, wanted: CaseFilter) -> int:
    """Count cases; see ``Workspace.count_cases``."""
    with store.database.read() as session:
        return session.scalar(_where(select(func.count(CaseRow.id)), wanted)) or 0


def get_case(store: Store, case_id: int) -> Case:
    """Return one case."""
    with store.database.read() as session:
        found = session.execute(select_cases().where(CaseRow.id == case_id)).first()
        if found is None:
            raise NotFound(f"There is no case number {case_id} (any more).")
        return _to_case(*found)


def set_case_metadata(store: Store, case_id: int, metadata: dict[str, str]) -> Case:
    """Replace a case's metadata."""
    with store.database.write() as session:
        row = session.get(CaseRow, case_id)
        if row is None:
            raise NotFound(f"There is no case number {case_id} (any more).")
        row.case_metadata = {str(key): str(value) for key, value in metadata.items()}
        audit(session, "", "case metadata set", f"case {case_id}")
    return get_case(store, case_id)


def delete_cases(store: Store, case_ids: list[int]) -> int:
    """Delete cases and their readings; see ``Workspace.delete_cases``."""
    candidates: set[str] = set()
    count = 0
    with store.database.write() as session:
        for start in range(0, len(case_ids), CHUNK):
            part = case_ids[start : start + CHUNK]
            ids = select(CaseRow.id).where(CaseRow.id.in_(part))
            for project_id in session.scalars(
                select(CaseRow.project_id).where(CaseRow.id.in_(part)).distinct()
            ):
                refuse_while_busy(session, project_id, kinds=("train",))
            candidates |= image_hashes(session, ids) | reading_hashes(session, ids)
            images = list(session.scalars(select(CaseRow.image_id).where(CaseRow.id.in_(part))))
            session.execute(delete(VersionRow).where(VersionRow.case_id.in_(part)))
            session.execute(delete(CaseRow).where(CaseRow.id.in_(part)))
            session.execute(delete(ImageRow).where(ImageRow.id.in_(images)))
            count += len(images)
        audit(session, "", "cases deleted", f"{count} cases", ",".join(map(str, case_ids[:1000])))
    remove_unreferenced(store, candidates)
    return count


def load_image(store: Store, case: Case) -> Image:
    """Open a case's image."""
    return _open(store, case.image_sha256, case.info, case.name)


def load_headers(store: Store, case: Case) -> Headers | None:
    """Open a case's DICOM headers; see ``Workspace.load_headers``."""
    if case.headers_sha256 is None:
        return None
    try:
        return headers_from_bytes(store.files.path_of(case.headers_sha256, HEADERS_ENDING).read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(
            f"The kept headers of {case.name} are missing or damaged; import it again."
        ) from error


def load_image_by_id(store: Store, image_id: int) -> Image:
    """Open a stored image by its number."""
    with store.database.read() as session:
        row = session.get(ImageRow, image_id)
        if row is None:
            raise NotFound(f"There is no image number {image_id} (any more).")
        sha256, info = row.sha256, info_from_json(row.info)
    return _open(store, sha256, info, f"image {image_id}")


def original_path(store: Store, image_id: int) -> Path | None:
    """Return where the original of an image lies; see ``Workspace.original_path``."""
    with store.database.read() as session:
        row = session.get(ImageRow, image_id)
        if row is None:
            raise NotFound(f"There is no image number {image_id} (any more).")
        return None if row.original is None else store.files.path_of_name(row.original)


def _open(store: Store, sha256: str, info: ImageInfo, name: str) -> Image:
    try:
        return read_image(store.files.path_of(sha256, IMAGE_ENDING), info)
    except FileNotFoundError as error:
        raise StorageError(f"The stored image of {name} is missing; import it again.") from error
    except (OSError, ValueError) as error:
        raise StorageError(f"The stored image of {name} is damaged; delete and import it again.") from error
