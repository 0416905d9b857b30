"""The files of a series: their headers read fast, and which of them belong together as one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom.tag import Tag

from core.imaging.dicom_elements import Elements, read_elements, tag_of
from core.imaging.dicom_geometry import Plane, plane_of
from core.imaging.dicom_header import Header, read_header
from core.imaging.dicom_layout import NATIVE, check_size
from core.imaging.dicom_pixels import Part, ValuePlan, plan_values
from core.imaging.dicom_quick import span_of
from core.imaging.limits import refusing
from core.imaging.values import Rescale
from core.settings import Settings

# What must be written alike in two files for the second to be read as the first was.
ALIKE_KEYWORDS = (
    "SOPClassUID", "Modality", "ImageType", "PatientID", "SeriesInstanceUID", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PhotometricInterpretation", "PlanarConfiguration", "ImageOrientationPatient", "PixelSpacing",
    "ImagerPixelSpacing", "NominalScannedPixelSpacing", "SliceThickness", "SequenceOfUltrasoundRegions",
    "ModalityLUTSequence", "DoseGridScaling", "GridFrameOffsetVector", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "DetectorInformationSequence",
)  # fmt: skip
ALIKE = tuple(tag_of(Tag(keyword)) for keyword in ALIKE_KEYWORDS)
POSITION, SLOPE, INTERCEPT, UID = (
    tag_of(Tag(keyword))
    for keyword in ("ImagePositionPatient", "RescaleSlope", "RescaleIntercept", "SOPInstanceUID")
)
TAKEN_KEYWORDS = ("TemporalPositionIdentifier", "AcquisitionNumber", "EchoNumbers", "InstanceNumber")
TAKEN = tuple(tag_of(Tag(keyword)) for keyword in TAKEN_KEYWORDS)
WANTED = frozenset((*ALIKE, *TAKEN, POSITION, SLOPE, INTERCEPT, UID))
# Files with one of these say elsewhere what the quick look reads at the top level.
ELSEWHERE = tuple(
    tag_of(Tag(keyword))
    for keyword in ("DoseGridScaling", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
)

Key = tuple[bytes | str | None, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """One single-frame file of a series.

    Attributes:
        part: what it gives to an image.
        plane: where it lies.
        series: its SeriesInstanceUID; empty when unknown.
        uid: its own SOPInstanceUID; empty when unknown.
        taken: numbers that tell when it was taken, see ``TAKEN_KEYWORDS``.
        is_localizer: True for a picture taken to plan the others.
    """

    part: Part
    plane: Plane
    series: str
    uid: str
    taken: tuple[float, ...]
    is_localizer: bool

    @property
    def path(self) -> Path:
        """The file."""
        return self.part.header.path


class HeaderReader:
    """Reads the headers of many files. Of files alike, only the first goes through a general parser."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._known: dict[Key, Slice] = {}
        self._plans: dict[Key, ValuePlan | None] = {}

    def read(self, path: Path) -> Slice | Part:
        """Read one file: a slice, or the part that a multi-frame file is.

        Raises:
            FileRefused: when the file is no DICOM image, is damaged, or asks for more than the limits allow.
        """
        with refusing(path.name):
            elements = read_elements(path, WANTED)
            key = None
            if elements is not None:
                key = (elements.syntax, elements.pixels_tag, *map(elements.values.get, ALIKE))
                known = self._known.get(key)
                alike = self._alike(path, elements, known) if known is not None else None
                if alike is not None:
                    return alike
            return self._read_fully(path, elements, key)

    def _read_fully(self, path: Path, elements: Elements | None, key: Key | None) -> Slice | Part:
        header = read_header(path, self.settings)
        part = Part(header, plan_values(header), span_of(elements, header.layout))
        if header.layout.frames > 1:
            return part
        found = _slice_of(part)
        if elements is not None and key is not None and found.plane.is_placed and part.span is not None:
            plain = not any(tag in elements.values for tag in ELSEWHERE)
            if plain:
                self._known.setdefault(key, found)
        return found

    def _alike(self, path: Path, elements: Elements, known: Slice) -> Slice | None:
        """Make the slice of a file that differs from a known one in place, time and rescale only.

        None for anything that the general parser should look at. No elements are kept: those of thousands of files
        would fill the memory.
        """
        layout, uid = known.part.header.layout, elements.text(UID)
        position, span = elements.numbers(POSITION), span_of(elements, layout)
        if position is None or len(position) != 3 or not all(map(math.isfinite, position)):
            return None
        plan = known.part.plan if known.part.plan.has_table or layout.is_color else self._plan(elements)
        if not uid or span is None or plan is None:
            return None
        if elements.syntax not in NATIVE:  # whose size the span has checked
            check_size(layout, elements.syntax, elements.size, path.name, self.settings)
        return Slice(
            Part(Header(path, layout), plan, span),
            replace(known.plane, position=position),
            known.series,
            uid,
            tuple(_first_number(elements, tag) for tag in TAKEN),
            known.is_localizer,
        )

    def _plan(self, elements: Elements) -> ValuePlan | None:
        """Return the file's rescale, None when it is not two plain numbers; most files of a series share one."""
        key = (elements.values.get(SLOPE), elements.values.get(INTERCEPT))
        if key not in self._plans:
            rescale = _rescale(elements)
            self._plans[key] = None if rescale is None else ValuePlan((rescale,))
        return self._plans[key]


def _slice_of(part: Part) -> Slice:
    dataset = part.header.dataset
    kind = dataset.get("ImageType")
    kinds = [kind] if isinstance(kind, str) else list(kind or ())
    return Slice(
        part=part,
        plane=plane_of(dataset),
        series=str(dataset.get("SeriesInstanceUID") or ""),
        uid=str(dataset.get("SOPInstanceUID") or ""),
        taken=tuple(_number(dataset.get(keyword)) for keyword in TAKEN_KEYWORDS),
        is_localizer="LOCALIZER" in kinds[2:3],
    )


def _rescale(elements: Elements) -> Rescale | None:
    """Return the file's rescale; None when it is not two plain numbers."""
    values = []
    for tag, missing in ((SLOPE, 1.0), (INTERCEPT, 0.0)):
        raw = elements.values.get(tag, b"").strip(b" \0")
        numbers = elements.numbers(tag) if raw else (missing,)
        if numbers is None or len(numbers) != 1:
            return None
        values.append(numbers[0])
    try:
        return Rescale(*values)
    except ValueError:
        return None


def _first_number(elements: Elements, tag: bytes) -> float:
    numbers = elements.numbers(tag)
    return numbers[0] if numbers is not None and len(numbers) == 1 else 0.0


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def parallel_groups(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Split slices into groups that can stack: same series, size, kind, spacing and directions.

    Args:
        slices: of one or many series.

    Returns:
        Groups in the order their slices were taken; a slice without a place stands alone.
    """
    groups: dict[tuple, list[list[Slice]]] = {}
    for item in sorted(slices, key=lambda item: (*item.taken, str(item.path))):
        layout = item.part.header.layout
        if not item.series or not item.plane.is_placed:
            groups[(item.path,)] = [[item]]
            continue
        key = (
            item.series,
            layout.rows,
            layout.columns,
            layout.samples,
            layout.photometric,
            item.is_localizer,
        )
        for group in groups.setdefault(key, []):
            if group[0].plane.can_stack_with(item.plane):
                group.append(item)
                break
        else:
            groups[key].append([item])
    return [group for candidates in groups.values() for group in candidates]
