"""DICOM segmentations in an import: each becomes a reading of the case it marks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import FileRefused, LabelError, SightlineError
from core.imaging.found import Skipped
from core.imaging.geometry import Position
from core.imaging.sandbox import Call, Decoding, ask
from core.readings.dicom_seg import is_segmentation, marked_series
from core.readings.label_values import LabelMap
from core.readings.masks import read_mask_noting
from core.readings.reading import Mask
from core.settings import load_settings
from core.types import Label
from core.workspace.records import Case

NO_CASE = "{name} marks a series that is not in this project; import its images first, or together with it."
SEVERAL_FIT = (
    "{name} names no series of this project and fits {count} of its images; which one it marks is open."
)
BY_PLACE = "{name} names a series that is not here; it was taken for {case}, whose place and size fit."
FIRST_OF_SEVERAL = "{name} fits {count} images of its series; the first one, {case}, was taken."


@dataclass(frozen=True)
class MarkFile:
    """A segmentation file and how it is shown to the user."""

    path: Path
    shown: str

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return self.shown.rpartition("/")[2]


@dataclass(frozen=True)
class MarkRequest:
    """What segments become: the project's labels, and what the user said about segment numbers.

    Attributes:
        work_dir: where label maps pass through on disk.
        kept_key: the key of the series that a case's kept headers name: under a de-identifying profile another one
            than that of the files, and the one that our own exports name.
        slices_at: where the slices of a case lie, see ``dicom_seg.read_segmentation``.
    """

    labels: tuple[Label, ...]
    label_map: LabelMap | None
    salt: str
    work_dir: Path
    kept_key: Callable[[Case], str | None] = lambda case: None
    slices_at: Callable[[Case], tuple[Position, ...]] = lambda case: ()


@dataclass(frozen=True)
class CaseReading:
    """What a segmentation marks in a case."""

    case: Case
    mask: Mask
    notes: tuple[str, ...]


def segmentations_among(files: Sequence[Path], work_dir: Path) -> list[Path]:
    """Return those files that are DICOM segmentations; they are looked into in the decoder."""
    found = []
    calls = (Call(is_segmentation, (file,), (file,)) for file in files)
    with Decoding(calls, work_dir, load_settings()) as decoding:
        for file in files:
            with suppress(FileRefused):  # reading it as a mask will say why
                found += [file for is_one in decoding.answers() if is_one]
    return found


def find_readings(
    files: Sequence[MarkFile], cases: Sequence[Case], request: MarkRequest
) -> Iterator[CaseReading | Skipped]:
    """Read segmentations, one in memory at a time, each onto the case whose series it names or whose place fits.

    Args:
        files: the segmentations.
        cases: of the project.
        request: how segments become labels.
    """
    for file in files:
        try:
            yield _reading_of(file, cases, request)
        except SightlineError as error:
            yield Skipped(file.shown, str(error).replace(file.path.name, file.name))


def _reading_of(file: MarkFile, cases: Sequence[Case], request: MarkRequest) -> CaseReading:
    settings = load_settings()
    wanted = Call(marked_series, (file.path, request.salt, settings), (file.path,))
    keys = ask(wanted, settings, request.work_dir)
    named = [case for case in cases if case.series_key is not None and case.series_key in keys]
    named = named or [case for case in cases if keys and request.kept_key(case) in keys]
    candidates = named or [case for case in cases if case.info.affine_lps is not None]
    fitting: list[CaseReading] = []
    refusal: LabelError | None = None
    for case in candidates:
        try:
            mask, notes = read_mask_noting(
                file.path, case.info, request.labels, request.label_map, request.work_dir,
                request.slices_at(case) if named else (),
            )  # fmt: skip
        except LabelError as error:
            refusal = refusal or error
            continue
        said = tuple(note.replace(file.path.name, file.name) for note in notes)
        fitting.append(CaseReading(case, mask, said))
    name = file.name
    if not fitting and named and refusal is not None:
        raise refusal
    if not fitting:
        raise LabelError(NO_CASE.format(name=name))
    if not named and len(fitting) > 1:
        raise LabelError(SEVERAL_FIT.format(name=name, count=len(fitting)))
    first = fitting[0]
    if not named:
        note = BY_PLACE.format(name=name, case=first.case.name)
    elif len(fitting) > 1:
        note = FIRST_OF_SEVERAL.format(name=name, count=len(fitting), case=first.case.name)
    else:
        return first
    return CaseReading(first.case, first.mask, (*first.notes, note))
