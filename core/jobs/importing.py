"""The import job: images become cases, labels become readings, and every refused file is named."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from core.errors import SightlineError
from core.imaging.found import Found, Skipped
from core.imaging.patient import patient_key
from core.imaging.scan import Scan, Survey, survey
from core.jobs.context import JobContext
from core.jobs.image_table import ImageTable, read_table
from core.jobs.import_labels import import_labels, import_marks
from core.jobs.import_names import ImportNames, stem_key
from core.jobs.import_outcome import IMAGES_SHARE, Import
from core.jobs.import_request import with_request
from core.jobs.import_segmentations import MarkFile
from core.jobs.payloads import ImportPayload
from core.readings.match import file_stem
from core.settings import load_settings
from core.types import SPLITS, Image, Split
from core.workspace.records import NewCase


def run_import(context: JobContext) -> dict[str, Any]:
    """Import images and labels; safe to run again after a crash, because known images are recognised."""
    payload = ImportPayload.model_validate(context.job.payload)
    project = context.workspace.get_project(payload.project)
    payload = with_request(payload)
    given = [*payload.paths, *(path for path in (payload.labels, payload.table) if path)]
    names = ImportNames(
        payload.deidentify, payload.hide_names, display=payload.display_names, given=tuple(given)
    )
    with names.hiding():
        found = survey([Path(path) for path in payload.paths], context.work_dir / "images", load_settings())
    hashed = not payload.paths and any(case.source_key for case in context.workspace.list_cases(project.id))
    names = dataclasses.replace(names, has_dicom="dicom" in found.kinds or hashed, files=found.files)
    work = Import(context, project, payload, names)
    with names.hiding():
        table = read_table(Path(payload.table), payload.columns) if payload.table else ImageTable({})
        _import_images(work, table, found)
        if payload.labels is not None:
            import_labels(work)
        import_marks(work)
    if payload.staging:
        shutil.rmtree(payload.staging, ignore_errors=True)
    return work.outcome.result()


def _import_images(work: Import, table: ImageTable, there: Survey) -> None:
    context, outcome = work.context, work.outcome
    share = IMAGES_SHARE if work.payload.labels else 1.0
    salt, profile = context.workspace.salt, work.payload.deidentify
    scan = Scan(context.work_dir / "images", salt, load_settings(), profile)
    for done, item in enumerate(scan.read(there.plan), start=1):
        if isinstance(item, Skipped):
            _skip(work, item)
        else:
            _add_case(work, item, table)
        context.progress(min(1.0, done / max(1, there.images)) * share, f"{len(outcome.case_ids)} images in")
        context.raise_if_stopped()


def _skip(work: Import, item: Skipped) -> None:
    shown = work.names.shown(item.source, item.kind)
    if item.marks is not None:
        work.outcome.marks.append(MarkFile(item.marks, shown))
        return
    work.outcome.skip(shown, work.names.said(item.reason, named=shown, source=item.source))


def _add_case(work: Import, found: Found, table: ImageTable) -> None:
    names, outcome, workspace = work.names, work.outcome, work.context.workspace
    row = table.row_of(names.own(found.source))
    new = NewCase(
        name=names.case_name(found),
        image=_without_names(found, names),
        source=_source_of(work, found),
        patient_key=patient_key(row.patient, workspace.salt) if row.patient else found.patient_key,
        split=_as_split(work.payload.split or row.split or found.split),
        metadata=found.metadata | row.metadata,
        original=found.original,
        series_key=found.series_key,
        array_file=found.array_file,
        source_key=None if names.keeps_name(found) else _source_key(work, found),
        headers=found.headers,
    )
    try:
        case = workspace.add_case(work.project.id, new)
    except SightlineError as error:
        outcome.skip(new.source, names.said(str(error), named=new.source, source=found.source))
        return
    label = new.source if names.keeps_name(found) else case.name
    outcome.case_ids.add(case.id)
    outcome.by_source.setdefault(names.own(found.source), case)
    outcome.existing += int(case.existing)
    outcome.warnings.extend(f"{label}: {warning}" for warning in new.image.info.warnings)
    if case.duplicate_of is not None:
        outcome.warnings.append(f"{label}: the same pixels are already in the project under another name.")


def _source_key(work: Import, found: Found) -> str:
    return stem_key(file_stem(work.names.own(found.source)), work.context.workspace.salt)


def _source_of(work: Import, found: Found) -> str:
    """Return where a case came from, as far as that may be written down."""
    if work.names.keeps_name(found):
        return work.names.shown(found.source, "dicom" if found.files else "raster")
    return f"import {work.context.job.id}, {work.names.place(found.source)}"


def _without_names(found: Found, names: ImportNames) -> Image:
    """Return the image with warnings that name no file."""
    info = found.image.info
    own = names.own(names.file_of(found.source)).rpartition("/")[2] if names.keeps_name(found) else ""
    said = tuple(names.said(warning, named=own, source=found.source) for warning in info.warnings)
    return dataclasses.replace(found.image, info=dataclasses.replace(info, warnings=said))


def _as_split(split: str | None) -> Split | None:
    return next((known for known in SPLITS if known == split), None)
