"""Masks of an import: each finds its image by name, among the images that came with it or those already there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from core.errors import LabelError, SightlineError
from core.imaging.formats import is_companion
from core.imaging.found import Skipped
from core.imaging.scan import is_archive, unpack_once
from core.imaging.walk import files_below
from core.jobs.import_names import recover_stems
from core.jobs.import_outcome import IMAGES_SHARE, Import
from core.jobs.import_segmentations import MarkFile, MarkRequest, find_readings, segmentations_among
from core.readings.label_values import LabelMap
from core.readings.masks import read_mask_noting
from core.readings.match import match_by_stem
from core.settings import load_settings
from core.workspace.records import Case

NO_IMAGE = "No image belongs to this mask by its name, or more than one does."


def import_labels(work: Import) -> None:
    """Read the masks of an import and store them as readings of their cases.

    Without images in the same import, masks are matched to the cases that the project has.

    Raises:
        LabelError: when there are no masks where they should be, or no case they could belong to.
    """
    given = Path(str(work.payload.labels))
    root, files, skipped = label_files(given, work.context.work_dir / "labels")
    for item in skipped:
        work.outcome.skip("a mask" if work.names.hides else item.source, item.reason)
    if not files:
        raise LabelError(f"No mask files were found at {root.name}; check the path.")
    own = {Path(work.names.own(file.relative_to(root).as_posix())): file for file in files}
    own = _without_marks(work, own)
    cases = work.outcome.by_source if work.payload.paths else _known_cases(work, own)
    hides = work.names.hides or any(case.source_key for case in cases.values())
    shown = {name: f"mask {number}" if hides else str(name) for number, name in enumerate(own, start=1)}
    match = match_by_stem(list(cases), list(own))
    for label in match.unmatched_labels:
        work.outcome.skip(shown[Path(label.name)], NO_IMAGE if hides else label.reason)
    for number, (source, name) in enumerate(match.pairs.items(), start=1):
        _add_reading(work, cases[source], own[name], shown[name])
        share = IMAGES_SHARE + (1 - IMAGES_SHARE) * number / len(match.pairs)
        work.context.progress(share, f"{work.outcome.readings} masks in")
        work.context.raise_if_stopped()


def _without_marks(work: Import, own: dict[Path, Path]) -> dict[Path, Path]:
    """Put DICOM segmentations aside: their match is the series that they name, not their file's name."""
    marks = set(segmentations_among(list(own.values()), work.context.work_dir))
    known = {mark.path.resolve() for mark in work.outcome.marks}
    for number, (name, file) in enumerate(own.items(), start=1):
        if file in marks and file.resolve() not in known:
            shown = f"mask {number}" if work.names.hides else str(name)
            work.outcome.marks.append(MarkFile(file, shown))
    return {name: file for name, file in own.items() if file not in marks}


def import_marks(work: Import) -> None:
    """Read the DICOM segmentations of an import and store them as readings of the cases that they mark."""
    if not work.outcome.marks:
        return
    context, outcome = work.context, work.outcome
    label_map = as_label_map(work.payload.label_map)
    request = MarkRequest(work.project.labels, label_map, context.workspace.salt, context.work_dir)
    for found in find_readings(outcome.marks, context.workspace.list_cases(work.project.id), request):
        if isinstance(found, Skipped):
            outcome.skip(found.source, work.names.said(found.reason, named=found.source))
        else:
            context.workspace.save_reading(
                found.case.id, work.payload.reader, found.mask, note="imported", actor="import"
            )
            outcome.warnings.extend(work.names.said(note) for note in found.notes)
            outcome.readings += 1
        context.raise_if_stopped()


def _known_cases(work: Import, labels: Iterable[Path]) -> dict[str, Case]:
    """Return the project's cases by the name of their file; names that were not kept are found by their hash."""
    cases = work.context.workspace.list_cases(work.project.id)
    if not cases:
        raise LabelError("The project has no images yet that masks could belong to; add the images as well.")
    hashed = {case.source_key: case for case in reversed(cases) if case.source_key}
    stems = recover_stems(map(str, labels), hashed.keys(), work.context.workspace.salt)
    known = {case.source: case for case in reversed(cases) if not case.source_key}
    return known | {stem: hashed[key] for key, stem in stems.items()}


def label_files(path: Path, unpacked: Path) -> tuple[Path, list[Path], list[Skipped]]:
    """Return the mask files of a file, folder or archive.

    Returns:
        The folder that names are relative to, the files, and members of an archive that could not be unpacked.

    Raises:
        FileRefused: when the archive is not safe to unpack.
        LabelError: when nothing is there.
    """
    if not path.exists():
        raise LabelError(f"There are no masks at {path}; check the path.")
    settings = load_settings()
    skipped: list[Skipped] = []
    if path.is_file():
        if not is_archive(path, settings):
            return path.parent, [path], []
        path, skipped = unpack_once(path, unpacked, settings)
    files = (item for item in files_below(path) if isinstance(item, Path))
    return path, sorted(file for file in files if not is_companion(file)), skipped


def _add_reading(work: Import, case: Case, file: Path, shown: str) -> None:
    payload, outcome = work.payload, work.outcome
    try:
        label_map = as_label_map(payload.label_map)
        mask, notes = read_mask_noting(file, case.info, work.project.labels, label_map, work.context.work_dir)
        work.context.workspace.save_reading(case.id, payload.reader, mask, note="imported", actor="import")
    except SightlineError as error:
        outcome.skip(shown, work.names.said(str(error).replace(file.name, shown), named=shown))
        return
    outcome.warnings.extend(work.names.said(note.replace(file.name, shown), named=shown) for note in notes)
    outcome.readings += 1


def as_label_map(raw: dict[str, str] | None) -> LabelMap | None:
    """Turn the JSON form of a label map (text keys) into the one ``read_mask`` takes."""
    if raw is None:
        return None
    return {"any" if key == "any" else int(key): name for key, name in raw.items()}
