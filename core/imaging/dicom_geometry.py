"""Where DICOM planes lie in the patient, and how they stack into a volume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from core.errors import FileRefused
from core.imaging.dicom_groups import functional_group
from core.imaging.geometry import Position, Rows, spacing_from_affine, to_rows
from core.types import Array

SAME_PLACE_MM = 1e-3
SAME_DIRECTION = 1e-3  # largest difference of direction cosines
CENTIMETRES = 3  # PhysicalUnitsXDirection, PS3.3 C.8.5.5.1.15
AT_DETECTOR = "Distances are as measured at the detector; inside the patient they are smaller."
TILTED = "The slices are shifted against each other (gantry tilted by {angle:.1f} degrees)."
CROOKED = "The slices do not lie in line (up to {shift:.2f} mm beside it); positions are approximate."
UNEVEN = (
    "The slices are not evenly spaced ({low:.2f} to {high:.2f} mm apart{missing}); "
    "positions and distances across slices are approximate."
)


@dataclass(frozen=True)
class Plane:
    """One plane's place: the centre of its first pixel in LPS mm, unit vectors along rows and columns."""

    position: Position | None = None
    row: tuple[float, float, float] | None = None  # along increasing column index
    column: tuple[float, float, float] | None = None  # along increasing row index
    spacing_yx: tuple[float, float] | None = None
    thickness: float | None = None
    warnings: tuple[str, ...] = ()
    in_patient: bool = True  # False: placed in the device's own coordinates, as in ultrasound volumes

    @property
    def is_placed(self) -> bool:
        """True when the plane's place is known."""
        return self.position is not None and self.row is not None and self.spacing_yx is not None

    @property
    def normal(self) -> Array:
        """Unit vector across the plane."""
        return np.cross(np.asarray(self.row), np.asarray(self.column))

    def is_parallel(self, other: Plane) -> bool:
        """True when two placed planes have the same directions."""
        if (self.row, self.column) == (other.row, other.column):
            return True
        mine, theirs = (np.array([plane.row, plane.column], float) for plane in (self, other))
        return bool(np.abs(mine - theirs).max() <= SAME_DIRECTION)

    def can_stack_with(self, other: Plane) -> bool:
        """True when two placed planes have the same directions and spacing."""
        close = self.spacing_yx == other.spacing_yx or np.allclose(
            np.array(self.spacing_yx, float), np.array(other.spacing_yx, float), rtol=1e-4
        )
        return bool(close) and self.is_parallel(other)


@dataclass(frozen=True)
class Stack:
    """Planes in order.

    Attributes:
        order: their numbers.
        affine_lps: of the volume.
        warnings: what to say about their places.
        is_space: False when all lie in the same place, one after the other in time.
        turn, turns: which of how many visits to the same places this is, from 1.
    """

    order: tuple[int, ...]
    affine_lps: Rows
    warnings: tuple[str, ...] = ()
    is_space: bool = True
    turn: int = 1
    turns: int = 1

    @property
    def spacing_zyx(self) -> tuple[float, float, float]:
        """Spacing in mm."""
        return spacing_from_affine(self.affine_lps)


def plane_of(dataset: Dataset, frame: int = 0) -> Plane:
    """Read one plane's place, from functional groups where the file has them.

    Source: DICOM PS3.3 C.7.6.2 (Image Plane), C.7.6.16.2.1, .3, .4 (their multi-frame form), C.8.24.6.1, .2
    (ultrasound volumes).

    Raises:
        FileRefused: when a spacing is not a positive number.
    """
    place = functional_group(dataset, frame, "PlanePositionSequence") or dataset
    turn = functional_group(dataset, frame, "PlaneOrientationSequence") or dataset
    measures = functional_group(dataset, frame, "PixelMeasuresSequence") or dataset
    position, directions = place.get("ImagePositionPatient"), turn.get("ImageOrientationPatient")
    in_volume = functional_group(dataset, frame, "PlanePositionVolumeSequence")
    if in_volume is not None:
        oriented = functional_group(dataset, frame, "PlaneOrientationVolumeSequence") or Dataset()
        position, directions = in_volume.get("ImagePositionVolume"), oriented.get("ImageOrientationVolume")
    spacing, warnings = _pixel_spacing(dataset, measures)
    cosines = _numbers(directions, 6)
    row, column = _unit_directions(cosines)
    if cosines is not None and row is None:
        warnings += ("The file's orientation is not two perpendicular directions and was left out.",)
    thickness = _numbers(measures.get("SliceThickness"), 1)
    return Plane(
        position=_numbers(position, 3),  # type: ignore[arg-type]
        row=row,
        column=column,
        spacing_yx=spacing,
        thickness=thickness[0] if thickness and thickness[0] > 0 else None,
        warnings=warnings,
        in_patient=in_volume is None,
    )


def dose_planes(dataset: Dataset, frames: int) -> list[Plane]:
    """Read the planes of an RT dose grid, which gives offsets in place of positions (PS3.3 C.8.8.3.2)."""
    first = plane_of(dataset)
    offsets = _numbers(dataset.get("GridFrameOffsetVector"), frames)
    if offsets is None or not first.is_placed:
        return [first] * frames
    base = np.asarray(first.position)
    # Absolute offsets are z coordinates and only allowed for axial grids; relative ones start at 0.
    shifts = np.asarray(offsets) if offsets[0] == 0 else np.asarray(offsets) - base[2]
    return [_moved(first, shift) for shift in shifts]


def nuclear_planes(dataset: Dataset, frames: int) -> list[Plane] | None:
    """Read the planes of a reconstructed nuclear medicine volume; None where frames are something else.

    Source: DICOM PS3.3 C.8.4.8 (Slice Vector), C.8.4.15 (Spacing Between Slices, with its sign).
    """
    detectors = dataset.get("DetectorInformationSequence") or []
    numbers = _numbers(dataset.get("SliceVector"), frames)
    spacing = _numbers(dataset.get("SpacingBetweenSlices"), 1)
    if not detectors or numbers is None or spacing is None or spacing[0] == 0:
        return None
    place = Dataset()
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
        setattr(place, keyword, detectors[0].get(keyword))
    place.PixelSpacing = dataset.get("PixelSpacing")
    first = plane_of(place)
    if not first.is_placed:
        return None
    return [_moved(first, (number - 1) * spacing[0]) for number in numbers]


def _moved(plane: Plane, distance: float) -> Plane:
    """Return the plane moved along its normal, in mm."""
    x, y, z = (np.asarray(plane.position) + distance * plane.normal).tolist()
    return replace(plane, position=(x, y, z))


def single_affine(plane: Plane) -> Rows | None:
    """Return the affine of one plane; its z step is the slice thickness, or 1 mm."""
    if not plane.is_placed:
        return None
    return _affine(plane, plane.normal * (plane.thickness or 1.0))


def stack_planes(planes: Sequence[Plane], taken: Sequence[Hashable] = ()) -> list[Stack]:
    """Order parallel planes along their normal; planes that repeat in place are dealt out to several stacks.

    Args:
        planes: at least 1, all placed, with equal directions and spacing, in the order they were taken.
        taken: for each plane what tells repeats apart (time point, echo); where that is not clear, the order is.

    Returns:
        One stack, or one per repetition. Several planes all in one place are one stack in time.
    """
    heights = np.array([plane.position for plane in planes]) @ planes[0].normal
    order = np.argsort(heights, kind="stable")
    starts = np.flatnonzero(np.diff(heights[order], prepend=-np.inf) > SAME_PLACE_MM)
    places = [sorted(place.tolist()) for place in np.split(order, starts[1:])]
    if len(places) == 1:
        affine = single_affine(planes[0])
        assert affine is not None  # noqa: S101 - the caller gives placed planes
        return [Stack(tuple(places[0]), affine, is_space=len(planes) == 1)]
    runs = _runs(places, taken)
    return [
        replace(_stack(run, planes, heights), turn=number, turns=len(runs))
        for number, run in enumerate(runs, start=1)
    ]


def _runs(places: list[list[int]], taken: Sequence[Hashable]) -> list[list[int]]:
    """Deal the planes of each place out to repetitions, each in order of place."""
    repeats = max(len(place) for place in places)
    if repeats == 1:
        return [[place[0] for place in places]]
    if taken:
        kinds = list(dict.fromkeys(taken))
        distinct = all(max(Counter(taken[i] for i in place).values()) == 1 for place in places)
        if distinct and len(kinds) == repeats:
            return [[i for place in places for i in place if taken[i] == kind] for kind in kinds]
    # Within a place the order given is the order in time.
    return [[place[turn] for place in places if turn < len(place)] for turn in range(repeats)]


def _stack(run: list[int], planes: Sequence[Plane], heights: Array) -> Stack:
    """Make a stack of planes in order of height."""
    first = planes[run[0]]
    if len(run) == 1:
        affine = single_affine(first)
        assert affine is not None  # noqa: S101 - the caller gives placed planes
        return Stack((run[0],), affine)
    positions = np.array([planes[index].position for index in run])
    step = (positions[-1] - positions[0]) / (len(run) - 1)
    warnings = _uneven(heights[run])
    angle = np.degrees(np.arccos(np.clip(step @ first.normal / np.linalg.norm(step), -1, 1)))
    if angle > 0.5:
        warnings += (TILTED.format(angle=angle),)
    assert first.spacing_yx is not None  # noqa: S101 - the caller gives placed planes
    along = (heights[run] - heights[run[0]]) / (heights[run[-1]] - heights[run[0]])
    beside = np.linalg.norm(
        positions - positions[0] - along[:, None] * (positions[-1] - positions[0]), axis=1
    )
    if beside.max() > max(0.01, 0.1 * min(first.spacing_yx)):
        warnings += (CROOKED.format(shift=beside.max()),)
    return Stack(tuple(run), _affine(first, step), warnings)


def _uneven(heights: Array) -> tuple[str, ...]:
    """Say when planes, in order of height, do not have one distance."""
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    if np.abs(gaps - usual).max() <= max(0.01, 0.01 * usual):
        return ()
    missing = int(np.round(gaps / usual - 1).clip(0).sum())
    note = f", perhaps {missing} missing" if missing else ""
    return (UNEVEN.format(low=gaps.min(), high=gaps.max(), missing=note),)


def _affine(plane: Plane, step: Array) -> Rows:
    assert plane.spacing_yx is not None  # noqa: S101 - only placed planes come here
    affine = np.eye(4)
    affine[:3, 0] = np.asarray(plane.row) * plane.spacing_yx[1]
    affine[:3, 1] = np.asarray(plane.column) * plane.spacing_yx[0]
    affine[:3, 2] = step
    affine[:3, 3] = plane.position
    return to_rows(affine)


def _pixel_spacing(dataset: Dataset, measures: Dataset) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Return (y, x) spacing in mm from the best source in the file, with what to say about it."""
    from_regions, warnings = _ultrasound_spacing(dataset)
    if from_regions is not None or warnings:
        return from_regions, warnings
    for keyword, warning in (
        ("PixelSpacing", None),
        ("ImagerPixelSpacing", AT_DETECTOR),
        ("NominalScannedPixelSpacing", "Distances are as measured on the scanned film."),
    ):
        spacing = _numbers(measures.get(keyword) or dataset.get(keyword), 2)
        if spacing is not None:
            if min(spacing) <= 0:
                raise FileRefused(f"The file's {keyword} must be 2 positive numbers, got {spacing}.")
            return (spacing[0], spacing[1]), (warning,) if warning else ()
    return None, ()


def _ultrasound_spacing(dataset: Dataset) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Return the scale of the picture's regions, when those that show tissue agree (PS3.3 C.8.5.5)."""
    scales = set()
    for region in dataset.get("SequenceOfUltrasoundRegions") or []:
        units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
        deltas = [abs(float(region.get(key) or 0)) * 10 for key in ("PhysicalDeltaY", "PhysicalDeltaX")]
        if units == (CENTIMETRES, CENTIMETRES) and min(deltas) > 0 and np.isfinite(deltas).all():
            scales.add((round(deltas[0], 9), round(deltas[1], 9)))
    if len(scales) > 1:
        return None, ("The picture has several regions of different scale; distances are in pixels.",)
    return (scales.pop(), ()) if scales else (None, ())


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """Return exactly ``count`` finite numbers, None where the file has none.

    Raises:
        FileRefused: when the numbers are not finite.
    """
    if value is None or value == "":
        return None
    items = list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    if len(items) != count:
        return None
    numbers = tuple(float(item) for item in items)
    if not np.isfinite(numbers).all():
        raise FileRefused("The file gives a position or spacing that is not a number.")
    return numbers


def _unit_directions(numbers: tuple[float, ...] | None) -> tuple[tuple | None, tuple | None]:
    """Return the two in-plane directions at unit length, None when they are not perpendicular."""
    if numbers is None:
        return None, None
    row, column = np.asarray(numbers[:3]), np.asarray(numbers[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not all(0.9 < length < 1.1 for length in lengths) or abs(row @ column) > 0.01:
        return None, None
    return tuple(row / lengths[0]), tuple(column / lengths[1])
