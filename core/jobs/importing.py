"""The import job: images become cases, labels become readings, and every refused file is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import LabelError, SightlineError
from core.imaging.archives import is_zip, unpack_zip
from core.imaging.found import Found, Skipped, patient_key
from core.imaging.scan import count_sources, scan
from core.jobs.context import JobContext
from core.jobs.image_table import ImageTable, read_table
from core.jobs.label_import import LabelItem, LabelRequest, read_labels
from core.jobs.payloads import ImportPayload
from core.readings.label_formats import as_format
from core.readings.label_values import LabelMap
from core.readings.match import file_stem
from core.settings import load_settings
from core.tasks import TASKS
from core.types import SPLITS, Split
from core.workspace.records import Case, NewCase, Project

IMAGES_SHARE = 0.8  # of the progress bar, when labels follow
MAX_NAMED = 1000  # skipped files that are listed one by one


@dataclass
class Outcome:
    """What came in so far. ``by_source`` leads from an image's shown path to its case, for matching masks."""

    case_ids: set[int] = field(default_factory=set)
    by_source: dict[str, Case] = field(default_factory=dict)
    existing: int = 0
    readings: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def skip(self, path: str, reason: str) -> None:
        """Name a file that did not come in."""
        self.skipped.append({"path": path, "reason": reason})


def run_import(context: JobContext) -> dict[str, Any]:
    """Import images and labels; safe to run again after a crash, because known images are recognised."""
    payload = ImportPayload.model_validate(context.job.payload)
    project = context.workspace.get_project(payload.project)
    table = read_table(Path(payload.table), payload.columns) if payload.table else ImageTable({})
    outcome = Outcome()
    _import_images(context, project, payload, table, outcome)
    if payload.labels is not None:
        _import_labels(context, project, payload, Path(payload.labels), outcome)
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
    total = max(1, count_sources(paths, unpacked, settings))
    found_items = scan(paths, unpacked, context.workspace.salt, settings)
    for done, item in enumerate(found_items, start=1):
        if isinstance(item, Skipped):
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
    split = payload.split or row.split
    patient = patient_key(row.patient, context.workspace.salt) if row.patient else found.patient_key
    new = NewCase(
        _name_of(found, payload.display_names), found.image, source, patient, _as_split(split), row.metadata
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
    uploaded = display_names.get(found.source, "")
    return file_stem(uploaded) if uploaded and not uploaded.lower().endswith(".zip") else found.name


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
    root, files = label_files(path, context.work_dir / "labels")
    if not files:
        raise LabelError(f"No label files were found at {path.name}; check the path.")
    request = LabelRequest(
        root=root if len(files) > 1 else path,
        shown={file: shown_name(str(file.relative_to(root)), payload.display_names) for file in files},
        images={source: case.info for source, case in outcome.by_source.items()},
        labels=project.labels,
        kind=TASKS[project.task].reading_kind,
        format=as_format(payload.format),
        label_map=as_label_map(payload.label_map),
    )
    for item in read_labels(request):
        _take_label(context, payload, item, outcome)
        share = IMAGES_SHARE + (1 - IMAGES_SHARE) * item.share
        context.progress(share, f"{outcome.readings} readings in")
        context.raise_if_stopped()


def _take_label(context: JobContext, payload: ImportPayload, item: LabelItem, outcome: Outcome) -> None:
    for problem in item.problems:
        outcome.skip(problem.where, problem.reason)
    outcome.warnings.extend(item.notes)
    if item.image is None or item.reading is None:
        return
    case = outcome.by_source[item.image]
    try:
        context.workspace.save_reading(
            case.id, payload.reader, item.reading, note="imported", actor="import"
        )  # fmt: skip
    except SightlineError as error:
        outcome.skip(item.image, str(error))
        return
    outcome.readings += 1


def label_files(path: Path, unpacked: Path) -> tuple[Path, list[Path]]:
    """Return (folder the names are relative to, label files) of a file, folder or zip.

    Raises:
        FileRefused: when the archive is not safe to unpack.
        LabelError: when nothing is there.
    """
    if not path.exists():
        raise LabelError(f"There are no labels at {path}; check the path.")
    if path.is_file() and is_zip(path):
        if not unpacked.exists():  # a resumed job finds what its first attempt unpacked
            unpack_zip(path, unpacked, load_settings())
        path = unpacked
    if path.is_file():
        return path.parent, [path]
    return path, sorted(_visible_files(path))


def _visible_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if path.is_file() and not path.is_symlink() and not hidden:
            yield path


def as_label_map(raw: dict[str, str] | None) -> LabelMap | None:
    """Turn the JSON form of a label map (text keys) into the one ``read_mask`` takes."""
    if raw is None:
        return None
    return {"any" if key == "any" else int(key): name for key, name in raw.items()}
