"""The import job: images become cases, masks become readings, and every refused file is named."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import LabelError, SightlineError
from core.imaging.formats import ARCHIVE_SUFFIXES, is_companion, is_volume_name
from core.imaging.found import Found, Skipped, patient_key
from core.imaging.scan import count_planned, is_archive, plan_scan, read_plan, unpack_once
from core.imaging.walk import files_below
from core.jobs.context import JobContext
from core.jobs.image_table import ImageTable, read_table
from core.jobs.import_segmentations import MarkFile, MarkRequest, find_readings, segmentations_among
from core.jobs.payloads import ImportPayload
from core.readings.label_values import LabelMap
from core.readings.masks import read_mask_noting
from core.readings.match import file_stem, match_by_stem
from core.settings import load_settings
from core.types import SPLITS, Split
from core.workspace.records import Case, NewCase, Project

IMAGES_SHARE = 0.8  # of the progress bar, when masks follow
MAX_NAMED = 1000  # skipped files that are listed one by one


@dataclass
class Outcome:
    """What came in so far.

    Attributes:
        by_source: leads from an image's shown path to its case, for matching masks.
        marks: DICOM segmentations found on the way; they become readings once all images are in.
    """

    case_ids: set[int] = field(default_factory=set)
    by_source: dict[str, Case] = field(default_factory=dict)
    marks: list[MarkFile] = field(default_factory=list)
    existing: int = 0
    readings: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def skip(self, path: str, reason: str) -> None:
        """Name a file that did not come in."""
        self.skipped.append({"path": path, "reason": reason})


def run_import(context: JobContext) -> dict[str, Any]:
    """Import images and masks; safe to run again after a crash, because known images are recognised."""
    payload = ImportPayload.model_validate(context.job.payload)
    project = context.workspace.get_project(payload.project)
    table = read_table(Path(payload.table), payload.columns) if payload.table else ImageTable({})
    outcome = Outcome()
    _import_images(context, project, payload, table, outcome)
    if payload.labels is not None:
        _import_labels(context, project, payload, Path(payload.labels), outcome)
    _import_segmentations(context, project, payload, outcome)
    if payload.staging:
        shutil.rmtree(payload.staging, ignore_errors=True)
    return _result(outcome)


def _result(outcome: Outcome) -> dict[str, Any]:
    return {
        "cases": len(outcome.case_ids),
        "already_there": outcome.existing,
        "readings": outcome.readings,
        "skipped": outcome.skipped[:MAX_NAMED],
        "skipped_count": len(outcome.skipped),
        "warnings": outcome.warnings[:MAX_NAMED],
    }


def _import_images(
    context: JobContext, project: Project, payload: ImportPayload, table: ImageTable, outcome: Outcome
) -> None:
    settings = load_settings()
    paths = [Path(path) for path in payload.paths]
    unpacked = context.work_dir / "images"
    share = IMAGES_SHARE if payload.labels else 1.0
    plan = plan_scan(paths, unpacked, settings)
    total = max(1, count_planned(plan))
    found_items = read_plan(plan, unpacked, context.workspace.salt, settings)
    for done, item in enumerate(found_items, start=1):
        if isinstance(item, Skipped) and item.marks is not None:
            outcome.marks.append(MarkFile(item.marks, shown_name(item.source, payload.display_names)))
        elif isinstance(item, Skipped):
            outcome.skip(shown_name(item.source, payload.display_names), item.reason)
        else:
            _add_case(context, project, payload, item, table, outcome)
        context.progress(min(1.0, done / total) * share, f"{len(outcome.case_ids)} images in")
        context.raise_if_stopped()


def _add_case(
    context: JobContext,
    project: Project,
    payload: ImportPayload,
    found: Found,
    table: ImageTable,
    outcome: Outcome,
) -> None:
    source = shown_name(found.source, payload.display_names)
    row = table.row_of(source)
    split = payload.split or row.split or found.split
    patient = patient_key(row.patient, context.workspace.salt) if row.patient else found.patient_key
    new = NewCase(
        name=_name_of(found, payload.display_names),
        image=found.image,
        source=source,
        patient_key=patient,
        split=_as_split(split),
        metadata=found.metadata | row.metadata,
        original=found.original,
        series_key=found.series_key,
        array_file=found.array_file,
    )
    try:
        case = context.workspace.add_case(project.id, new)
    except SightlineError as error:
        outcome.skip(source, str(error))
        return
    outcome.case_ids.add(case.id)
    outcome.by_source.setdefault(source, case)
    outcome.existing += int(case.existing)
    outcome.warnings.extend(f"{source}: {warning}" for warning in found.image.info.warnings)
    if case.duplicate_of is not None:
        outcome.warnings.append(f"{source}: the same pixels are already in the project under another name.")


def _name_of(found: Found, display_names: dict[str, str]) -> str:
    """Name a case: an uploaded file by its own name; what came out of an archive as it is called there."""
    uploaded = display_names.get(found.source.removesuffix(f"/{found.part}"), "")
    is_packed = uploaded.lower().endswith(ARCHIVE_SUFFIXES) and not is_volume_name(uploaded)
    if not uploaded or is_packed or found.name == found.part:
        return found.name
    return f"{file_stem(uploaded)} {found.part}".strip()


def _as_split(split: str | None) -> Split | None:
    return next((known for known in SPLITS if known == split), None)


def shown_name(source: str, display_names: dict[str, str]) -> str:
    """Return the name the user knows: uploads lie under generated names.

    Args:
        source: path as the scan shows it.
        display_names: stored file name to the uploaded file's own name.
    """
    first, slash, rest = source.partition("/")
    if first in display_names:
        return f"{display_names[first]}{slash}{rest}"
    return display_names.get(source, source)


def _import_labels(
    context: JobContext, project: Project, payload: ImportPayload, path: Path, outcome: Outcome
) -> None:
    root, files = label_files(path, context.work_dir / "labels", outcome)
    if not files:
        raise LabelError(f"No mask files were found at {path.name}; check the path.")
    names = {file: shown_name(str(file.relative_to(root)), payload.display_names) for file in files}
    known = {mark.path.resolve() for mark in outcome.marks}
    # The match of segmentations is the series they name, not their file name.
    for file in segmentations_among(files, context.work_dir):
        name = names.pop(file)
        if file.resolve() not in known:
            outcome.marks.append(MarkFile(file, name))
    match = match_by_stem(list(outcome.by_source), list(map(Path, names.values())))
    file_of = {Path(name): file for file, name in names.items()}
    for label in match.unmatched_labels:
        outcome.skip(label.name, label.reason)
    for number, (source, label_file) in enumerate(match.pairs.items(), start=1):
        _add_reading(context, project, payload, outcome, (source, file_of[label_file]))
        share = IMAGES_SHARE + (1 - IMAGES_SHARE) * number / len(match.pairs)
        context.progress(share, f"{outcome.readings} masks in")
        context.raise_if_stopped()


def _import_segmentations(
    context: JobContext, project: Project, payload: ImportPayload, outcome: Outcome
) -> None:
    if not outcome.marks:
        return
    label_map = as_label_map(payload.label_map)
    request = MarkRequest(project.labels, label_map, context.workspace.salt, context.work_dir)
    cases = context.workspace.list_cases(project.id)
    for found in find_readings(outcome.marks, cases, request):
        if isinstance(found, Skipped):
            outcome.skip(found.source, found.reason)
        else:
            context.workspace.save_reading(
                found.case.id, payload.reader, found.mask, note="imported", actor="import"
            )
            outcome.warnings.extend(found.notes)
            outcome.readings += 1
        context.raise_if_stopped()


def label_files(path: Path, unpacked: Path, outcome: Outcome) -> tuple[Path, list[Path]]:
    """Return (folder the names are relative to, mask files) of a file, folder or archive.

    Raises:
        FileRefused: when the archive is not safe to unpack.
        LabelError: when nothing is there.
    """
    if not path.exists():
        raise LabelError(f"There are no masks at {path}; check the path.")
    settings = load_settings()
    if path.is_file():
        if not is_archive(path, settings):
            return path.parent, [path]
        path, skipped = unpack_once(path, unpacked, settings)
        for item in skipped:
            outcome.skip(item.source, item.reason)
    files = (item for item in files_below(path) if isinstance(item, Path))
    return path, sorted(file for file in files if not is_companion(file))


def _add_reading(
    context: JobContext, project: Project, payload: ImportPayload, outcome: Outcome, pair: tuple[str, Path]
) -> None:
    source, file = pair
    case = outcome.by_source[source]
    try:
        label_map = as_label_map(payload.label_map)
        mask, notes = read_mask_noting(file, case.info, project.labels, label_map, context.work_dir)
        context.workspace.save_reading(case.id, payload.reader, mask, note="imported", actor="import")
    except SightlineError as error:
        outcome.skip(shown_name(file.name, payload.display_names), str(error))
        return
    outcome.warnings.extend(notes)
    outcome.readings += 1


def as_label_map(raw: dict[str, str] | None) -> LabelMap | None:
    """Turn the JSON form of a label map (text keys) into the one ``read_mask`` takes."""
    if raw is None:
        return None
    return {"any" if key == "any" else int(key): name for key, name in raw.items()}
