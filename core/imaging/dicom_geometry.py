"""Where DICOM planes lie in the patient, and how they stack into a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from core.errors import FileRefused
from core.imaging.dicom_pixels import functional_group
from core.imaging.geometry import Rows, spacing_from_affine, to_rows
from core.types import Array

SAME_PLACE_MM = 1e-3
CENTIMETRES = 3  # PhysicalUnitsXDirection, PS3.3 C.8.5.5.1.15
AT_DETECTOR = "Distances are as measured at the detector; inside the patient they are smaller."
TILTED = "The slices are shifted against each other (gantry tilted by {angle:.1f} degrees)."
UNEVEN = (
    "The slices are not evenly spaced ({low:.2f} to {high:.2f} mm apart{missing}); "
    "positions and distances across slices are approximate."
)


@dataclass(frozen=True)
class Plane:
    """One plane's place: the centre of its first pixel in LPS mm, unit vectors along rows and columns."""

    position: tuple[float, float, float] | None = None
    row: tuple[float, float, float] | None = None  # along increasing column index
    column: tuple[float, float, float] | None = None  # along increasing row index
    spacing_yx: tuple[float, float] | None = None
    thickness: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def is_placed(self) -> bool:
        """True when the plane's place in the patient is known."""
        return self.position is not None and self.row is not None and self.spacing_yx is not None

    @property
    def normal(self) -> Array:
        """Unit vector across the plane."""
        return np.cross(np.asarray(self.row), np.asarray(self.column))


@dataclass(frozen=True)
class Stack:
    """Planes in order. ``is_space`` is False when all lie in the same place, one after the other in time."""

    order: tuple[int, ...]
    affine_lps: Rows
    warnings: tuple[str, ...] = ()
    is_space: bool = True

    @property
    def spacing_zyx(self) -> tuple[float, float, float]:
        """Spacing in mm."""
        return spacing_from_affine(self.affine_lps)


def plane_of(dataset: Dataset, frame: int = 0) -> Plane:
    """Read one plane's place, from functional groups where the file has them.

    Source: DICOM PS3.3 C.7.6.2 (Image Plane), C.7.6.16.2.1, .3, .4 (their multi-frame form).

    Raises:
        FileRefused: when a spacing is not a positive number.
    """
    place = functional_group(dataset, frame, "PlanePositionSequence") or dataset
    turn = functional_group(dataset, frame, "PlaneOrientationSequence") or dataset
    measures = functional_group(dataset, frame, "PixelMeasuresSequence") or dataset
    spacing, warnings = _pixel_spacing(dataset, measures)
    position = _numbers(place.get("ImagePositionPatient"), 3)
    directions = _numbers(turn.get("ImageOrientationPatient"), 6)
    row, column = _unit_directions(directions)
    if directions is not None and row is None:
        warnings += ("The file's orientation is not two perpendicular directions and was left out.",)
    thickness = _numbers(measures.get("SliceThickness"), 1)
    return Plane(
        position=position,  # type: ignore[arg-type]
        row=row,
        column=column,
        spacing_yx=spacing,
        thickness=thickness[0] if thickness and thickness[0] > 0 else None,
        warnings=warnings,
    )


def dose_planes(dataset: Dataset, frames: int) -> list[Plane]:
    """Read the planes of an RT dose grid, which gives offsets in place of positions (PS3.3 C.8.8.3.2)."""
    first = plane_of(dataset)
    offsets = _numbers(dataset.get("GridFrameOffsetVector"), frames)
    if offsets is None or not first.is_placed:
        return [first] * frames
    step = first.normal
    base = np.asarray(first.position)
    # Absolute offsets are z coordinates and only allowed for axial grids; relative ones start at 0.
    shifts = np.asarray(offsets) if offsets[0] == 0 else np.asarray(offsets) - base[2]
    return [
        Plane(tuple(base + shift * step), first.row, first.column, first.spacing_yx, warnings=first.warnings)
        for shift in shifts
    ]


def single_affine(plane: Plane) -> Rows | None:
    """Return the affine of one plane; its z step is the slice thickness, or 1 mm."""
    if not plane.is_placed:
        return None
    return _affine(plane, plane.normal * (plane.thickness or 1.0))


def stack_planes(planes: Sequence[Plane]) -> list[Stack]:
    """Order parallel planes along their normal; planes that repeat in place are dealt out to several stacks.

    Args:
        planes: at least 2, all placed, with equal directions and spacing, in the order they were taken.

    Returns:
        One stack, or one per repetition (time points, echoes). Planes all in one place are one stack in time.
    """
    normal = planes[0].normal
    heights = np.array([normal @ np.asarray(plane.position) for plane in planes])
    order = np.argsort(heights, kind="stable")
    starts = np.flatnonzero(np.diff(heights[order], prepend=-np.inf) > SAME_PLACE_MM)
    places = np.split(order, starts[1:])
    if len(places) == 1:
        affine = single_affine(planes[0])
        assert affine is not None  # noqa: S101 - the caller gives placed planes
        return [Stack(tuple(range(len(planes))), affine, is_space=False)]
    repeats = max(len(place) for place in places)
    # Within a place the order given is the order in time, because the sort is stable.
    runs = [[int(np.sort(place)[turn]) for place in places if turn < len(place)] for turn in range(repeats)]
    return [_stack(run, planes, heights) for run in runs]


def _stack(run: list[int], planes: Sequence[Plane], heights: Array) -> Stack:
    first, last = planes[run[0]], planes[run[-1]]
    if len(run) == 1:
        affine = single_affine(first)
        assert affine is not None  # noqa: S101 - the caller gives placed planes
        return Stack((run[0],), affine)
    step = (np.asarray(last.position) - np.asarray(first.position)) / (len(run) - 1)
    gaps = np.diff(heights[run])
    usual = float(np.median(gaps))
    warnings: tuple[str, ...] = ()
    if np.abs(gaps - usual).max() > max(0.01, 0.01 * usual):
        missing = int(np.round(gaps / usual - 1).clip(0).sum())
        note = f", perhaps {missing} missing" if missing else ""
        warnings += (UNEVEN.format(low=gaps.min(), high=gaps.max(), missing=note),)
    angle = np.degrees(np.arccos(np.clip(step @ first.normal / np.linalg.norm(step), -1, 1)))
    if angle > 0.5:
        warnings += (TILTED.format(angle=angle),)
    return Stack(tuple(run), _affine(first, step), warnings)


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


def _numbers(value: object, count: int) -> tuple[float, ...] | None:
    """Return exactly ``count`` finite numbers, None where the file has none.

    Raises:
        FileRefused: when the numbers are not finite.
    """
    if value is None or value == "":
        return None
    items = list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    if len(items) != count:
        return None
    numbers = tuple(float(item) for item in items)  # type: ignore[arg-type]
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
