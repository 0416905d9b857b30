"""Labels of an import: each finds its image by name, among the images that came with it or those already there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.errors import LabelError, SightlineError
from core.imaging.dicom_sources import slice_positions
from core.imaging.formats import is_companion
from core.imaging.found import Skipped, series_key
from core.imaging.geometry import Position
from core.imaging.headers import SERIES_INSTANCE
from core.imaging.scan import is_archive, unpack_once
from core.imaging.walk import files_below
from core.jobs.import_names import recover_stems
from core.jobs.import_outcome import IMAGES_SHARE, Import
from core.jobs.import_segmentations import MarkFile, MarkRequest, find_readings, segmentations_among
from core.jobs.label_import import LabelItem, LabelRequest, read_labels
from core.readings.draft import Ground, start_draft
from core.readings.instances import parts_to_boxes
from core.readings.label_formats import as_format
from core.readings.label_values import LabelMap, StoredValues
from core.readings.notes import Note, notes_from_json, notes_to_json
from core.readings.reading import Mask, Reading
from core.settings import load_settings
from core.tasks import TASKS
from core.types import ImageInfo
from core.workspace.records import Case
from core.workspace.workspace import Workspace

NO_IMAGE = "No image belongs to this label file by its name, or more than one does."


def import_labels(work: Import) -> None:
    """Read the labels of an import and store them as readings of their cases.

    Without images in the same import, labels are matched to the cases that the project has.

    Raises:
        LabelError: when there are no labels where they should be, or no case they could belong to.
    """
    given = Path(str(work.payload.labels))
    root, files, skipped = label_files(given, work.context.work_dir / "labels")
    for refused in skipped:
        work.outcome.skip("a label file" if work.names.hides else refused.source, refused.reason)
    if not files:
        raise LabelError(f"No label files were found at {root.name}; check the path.")
    own = {file: work.names.own(file.relative_to(root).as_posix()) for file in files}
    own = _without_marks(work, own)
    if not own:
        return
    cases = work.outcome.by_source if work.payload.paths else _known_cases(work, own.values())
    hides = work.names.hides or any(case.source_key for case in cases.values())
    by_name = _by_case_name(work, cases)
    request = LabelRequest(
        root=root if len(files) > 1 else files[0],
        shown=own,
        images={source: case.info for source, case in cases.items()},
        labels=work.project.labels,
        kind=TASKS[work.project.task].reading_kind,
        format=as_format(work.payload.format),
        label_map=as_label_map(work.payload.label_map),
        work_dir=work.context.work_dir,
        case_names={name: case.info for name, case in by_name.items()},
    )
    telling = _Telling(work, own, hides)
    for item in read_labels(request):
        _take(work, item, by_name | cases, telling)
        work.context.progress(
            IMAGES_SHARE + (1 - IMAGES_SHARE) * item.share, f"{work.outcome.readings} readings in"
        )
        work.context.raise_if_stopped()


@dataclass(frozen=True)
class _Telling:
    """How label files are spoken of: by their own names, or by their places where names are hidden.

    Attributes:
        own: label file -> its own name.
        hides: True when own names must not be written down.
    """

    work: Import
    own: Mapping[Path, str]
    hides: bool

    def file(self, name: str) -> str:
        """Return what may be written down for a label file, with what stands behind its name ("a.json, row 3")."""
        if not self.hides:
            return name
        for number, known in enumerate(self.own.values(), start=1):
            for called in (known, Path(known).name):
                if name == called or name.startswith(f"{called}, "):
                    return f"label file {number}"
        return "a label file"

    def sentence(self, text: str) -> str:
        """Return a sentence without names that must not be written down."""
        for number, (file, known) in enumerate(self.own.items(), start=1):
            called = Path(known).name
            if self.hides:
                place = f"label file {number}"
                text = text.replace(known, place).replace(called, place).replace(file.name, place)
            elif file.name != called:  # uploads lie under generated names
                text = text.replace(file.name, called)
        return self.work.names.said(text)


def _take(work: Import, item: LabelItem, cases: Mapping[str, Case], telling: _Telling) -> None:
    outcome = work.outcome
    for problem in item.problems:
        reason = NO_IMAGE if telling.hides and problem.names_images else telling.sentence(problem.reason)
        outcome.skip(telling.file(problem.where), reason)
    outcome.warnings.extend(telling.sentence(note) for note in item.notes)
    if item.image is None or (item.reading is None and item.classes is None):
        return
    case = cases[item.image]
    try:
        if item.reading is None:
            outcome.readings += _save_classes(work, case, item.classes or {})
            return
        work.context.workspace.save_reading(
            case.id, work.payload.reader, item.reading, note="imported", actor="import"
        )
    except SightlineError as error:
        outcome.skip(case.name, telling.sentence(str(error)))
        return
    outcome.readings += 1


def _save_classes(work: Import, case: Case, classes: Mapping[str, Note]) -> bool:
    """Put classes beside what the reader marked in a case, in place of earlier ones; True when there is a reading.

    Where the reader has not read the case, the mask or the boxes are empty; no class alone makes no reading.
    """
    workspace, reader = work.context.workspace, work.payload.reader
    latest = workspace.latest_reading(case.id, reader)
    if latest is None and not classes:
        return False
    kept, box_ids = notes_from_json(latest.notes if latest is not None else None)
    others = {name: note for name, note in kept.items() if note.kind != "class"}
    if latest is not None:
        reading = workspace.load_reading(latest)
    else:
        ground = Ground(case.info, work.project.labels, TASKS[work.project.task].reading_kind)
        reading = start_draft(ground, None, {}, []).reading()
    notes = notes_to_json({**others, **classes}, box_ids)
    workspace.save_reading(case.id, reader, reading, note="classes imported", actor="import", notes=notes)
    return True


def _by_case_name(work: Import, cases: Mapping[str, Case]) -> dict[str, Case]:
    """Return the cases by the names that Sightline gave them and writes into tables; what is not unique is left out."""
    every = cases.values() if work.payload.paths else work.context.workspace.list_cases(work.project.id)
    counts = Counter(case.name for case in every)
    return {case.name: case for case in every if counts[case.name] == 1}


def _without_marks(work: Import, own: dict[Path, str]) -> dict[Path, str]:
    """Put DICOM segmentations aside: their match is the series that they name, not their file's name."""
    marks = set(segmentations_among(list(own), work.context.work_dir))
    known = {mark.path.resolve() for mark in work.outcome.marks}
    for number, (file, name) in enumerate(own.items(), start=1):
        if file in marks and file.resolve() not in known:
            shown = f"label file {number}" if work.names.hides else name
            work.outcome.marks.append(MarkFile(file, shown))
    return {file: name for file, name in own.items() if file not in marks}


def import_marks(work: Import) -> None:
    """Read the DICOM segmentations of an import and store them as readings of the cases that they mark."""
    if not work.outcome.marks:
        return
    context, outcome = work.context, work.outcome
    label_map = as_label_map(work.payload.label_map)
    request = MarkRequest(
        work.project.labels,
        label_map,
        context.workspace.salt,
        context.work_dir,
        _kept_keys(context.workspace),
        partial(_slices_at, context.workspace),
    )
    for found in find_readings(outcome.marks, context.workspace.list_cases(work.project.id), request):
        if isinstance(found, Skipped):
            outcome.skip(found.source, work.names.said(found.reason, named=found.source))
        else:
            reading = _as_reading(work, found.mask, found.case.info)
            context.workspace.save_reading(
                found.case.id, work.payload.reader, reading, note="imported", actor="import"
            )
            outcome.warnings.extend(work.names.said(note) for note in found.notes)
            outcome.readings += 1
        context.raise_if_stopped()


def _kept_keys(workspace: Workspace) -> Callable[[Case], str | None]:
    """Return what looks up the key of the series that kept headers name; each is opened once."""
    known: dict[str, str | None] = {}

    def key_of(case: Case) -> str | None:
        name = case.headers_sha256
        if name is not None and name not in known:
            headers = workspace.load_headers(case)
            uid = "" if headers is None else headers.text(SERIES_INSTANCE)
            known[name] = series_key(uid, workspace.salt) if uid else None
        return None if name is None else known[name]

    return key_of


def _slices_at(workspace: Workspace, case: Case) -> tuple[Position, ...]:
    """Return where a case's slices lie by its kept headers."""
    headers = workspace.load_headers(case)
    return () if headers is None else slice_positions(case.info, headers)


def _as_reading(work: Import, mask: Mask, info: ImageInfo) -> Reading:
    """Return a marked mask as the project's task wants it: where that is boxes, connected parts become objects."""
    if TASKS[work.project.task].reading_kind == "mask":
        return mask
    return parts_to_boxes(StoredValues(mask.array), info, work.project.labels, None, "The segmentation").boxes


def _known_cases(work: Import, labels: Iterable[str]) -> dict[str, Case]:
    """Return the project's cases by the name of their file; names that were not kept are found by their hash."""
    cases = work.context.workspace.list_cases(work.project.id)
    if not cases:
        raise LabelError("The project has no images yet that labels could belong to; add the images as well.")
    hashed = {case.source_key: case for case in reversed(cases) if case.source_key}
    stems = recover_stems(labels, hashed.keys(), work.context.workspace.salt)
    known = {case.source: case for case in reversed(cases) if not case.source_key}
    return known | {stem: hashed[key] for key, stem in stems.items()}


def label_files(path: Path, unpacked: Path) -> tuple[Path, list[Path], list[Skipped]]:
    """Return the label files of a file, folder or archive.

    Returns:
        The folder that names are relative to, the files, and members of an archive that could not be unpacked.

    Raises:
        FileRefused: when the archive is not safe to unpack.
        LabelError: when nothing is there.
    """
    if not path.exists():
        raise LabelError(f"There are no labels at {path}; check the path.")
    settings = load_settings()
    skipped: list[Skipped] = []
    if path.is_file():
        if not is_archive(path, settings):
            return path.parent, [path], []
        path, skipped = unpack_once(path, unpacked, settings)
    files = (item for item in files_below(path) if isinstance(item, Path))
    return path, sorted(file for file in files if not is_companion(file)), skipped


def as_label_map(raw: dict[str, str] | None) -> LabelMap | None:
    """Turn the JSON form of a label map (text keys) into the one ``read_mask`` takes."""
    if raw is None:
        return None
    return {"any" if key == "any" else int(key): name for key, name in raw.items()}
