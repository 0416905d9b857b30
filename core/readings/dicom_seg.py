"""DICOM segmentations (bits, shares, label maps) as label maps on the grid of the image they mark.

Frames are laid onto the image by geometry: they may be few, in any order, turned or mirrored, but their pixels
must be the image's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from core.errors import LabelError
from core.imaging.dicom_geometry import Plane, plane_of
from core.imaging.dicom_groups import functional_group
from core.imaging.dicom_header import Header, is_segmentation, read_segmentation_header
from core.imaging.dicom_pixels import Part, ValuePlan, stored_planes
from core.imaging.dicom_quick import find_span
from core.imaging.found import series_key
from core.imaging.geometry import Position
from core.imaging.limits import refusing
from core.imaging.values import Rescale
from core.readings.label_values import BACKGROUND_NAMES, LabelMap
from core.readings.reading import Mask
from core.settings import Settings
from core.types import Array, ImageInfo, Label

__all__ = ["is_segmentation", "marked_series", "read_segmentation"]

LINEAR_TOLERANCE = 1e-3  # per pixel step, relative to a voxel
PLACE_TOLERANCE = 0.1  # of a voxel
LABEL_MAP, SHARES = "LABELMAP", "FRACTIONAL"


@dataclass(frozen=True)
class Segment:
    """One entry of the file's list of segments."""

    number: int
    label: str
    meaning: str


@dataclass(frozen=True)
class Placement:
    """Where a frame's pixels lie: index of its first pixel and of a step right and down, in (x, y, z)."""

    origin: tuple[int, ...]
    right: tuple[int, ...]
    down: tuple[int, ...]


def marked_series(path: Path, salt: str, settings: Settings) -> tuple[str, ...]:
    """Return the keys of the series that a segmentation says it marks (see ``found.series_key``).

    Raises:
        FileRefused: when it is damaged or no segmentation.
    """
    with refusing(path.name):
        dataset = read_segmentation_header(path, settings).dataset
        items = dataset.get("ReferencedSeriesSequence") or []
        uids = dict.fromkeys(str(item.get("SeriesInstanceUID") or "") for item in items)
        return tuple(series_key(uid, salt) for uid in uids if uid)


def read_segmentation(
    path: Path,
    info: ImageInfo,
    labels: tuple[Label, ...],
    label_map: LabelMap | None,
    settings: Settings,
    slices_at: tuple[Position, ...] = (),
) -> tuple[Mask, tuple[str, ...]]:
    """Read a segmentation onto the grid of an image; where segments overlap, the later one wins.

    Args:
        path: the file.
        info: the image it marks.
        labels: the project's label set. Segments are matched by their label, else by the meaning of their code.
        label_map: segment number -> label name; "any" stands for every other segment.
        settings: limits.
        slices_at: where the first pixel of each of the image's slices truly lies, in LPS mm; where they are not
            given, the slices are taken to be evenly spaced.

    Returns:
        The mask, and sentences about what was assumed.

    Raises:
        LabelError: another grid than the image's, or no segment that is a label of the project.
        FileRefused: the file is damaged or no segmentation.

    Source: DICOM PS3.3 C.8.20 (Segmentation), A.51 (its functional groups).
    """
    with refusing(path.name):
        header = read_segmentation_header(path, settings)
        targets, notes = _targets(_segments(header.dataset), labels, label_map, path.name)
        placements = _placements(header, info, slices_at)
        grid = np.zeros((info.slices, *info.spatial_shape[-2:]), np.uint16)
        overlap = _paint_all(header, placements, targets, grid)
    if overlap:
        notes += (
            f"{path.name} has segments that overlap in {overlap} voxels; the later one was taken there.",
        )
    if str(header.dataset.get("SegmentationType")) == SHARES:
        notes += (f"{path.name} holds shares; half a voxel and more was taken as the segment.",)
    values = np.zeros(max(targets) + 1, np.uint8 if max(targets.values()) < 256 else np.uint16)
    values[list(targets)] = list(targets.values())
    return Mask(values[grid].reshape(info.spatial_shape)), notes


def _segments(dataset: Dataset) -> list[Segment]:
    """Return the file's segments, by number."""
    found = []
    for item in dataset.get("SegmentSequence") or []:
        codes = item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()]
        found.append(
            Segment(
                int(item.SegmentNumber), _text(item.get("SegmentLabel")), _text(codes[0].get("CodeMeaning"))
            )
        )
    return sorted(found, key=lambda segment: segment.number)


def _text(value: Any) -> str:
    return str(value or "").strip()[:64]


def _targets(
    segments: Sequence[Segment], labels: tuple[Label, ...], label_map: LabelMap | None, name: str
) -> tuple[dict[int, int], tuple[str, ...]]:
    """Return segment number -> label value for the segments that are labels of the project.

    Raises:
        LabelError: when none is.
    """
    by_name = {_plain(label.name): label.value for label in labels}
    exact = {label.name: label.value for label in labels}
    told = {} if label_map is None else {key: _told(text, by_name) for key, text in label_map.items()}
    segments = [segment for segment in segments if segment.label in exact or not _is_background(segment)]
    targets: dict[int, int] = {}
    left: list[Segment] = []
    for segment in segments:
        own = exact.get(segment.label) or next(
            (by_name[text] for text in map(_plain, (segment.label, segment.meaning)) if text in by_name), None
        )
        target = told.get(segment.number, told.get("any", own))
        if target is None:
            left.append(segment)
        elif target:
            targets[segment.number] = target
    if not targets and len(left) == len(segments) == len(labels) == 1:
        note = f"{name} has one segment, {_named(left)}; it was taken for the only label, {labels[0].name}."
        return {left[0].number: labels[0].value}, (note,)
    if not targets:
        raise LabelError(
            f"{name} has the segments {_named(segments) or 'none'}, and the project the labels "
            f"{', '.join(label.name for label in labels) or 'none'}; add labels of those names, or say which is which "
            "with a label map such as 1=NAME."
        )
    return targets, (f"{name}: no label is called {_named(left)}; left out.",) if left else ()


def _told(text: str, by_name: dict[str, int]) -> int:
    """Return the value of a label that a label map names, 0 for one that leaves out."""
    if _plain(text) in by_name:
        return by_name[_plain(text)]
    if text.lower() in BACKGROUND_NAMES:
        return 0
    raise LabelError(f"The label map names {text!r}, which is not a label of this project; correct the name.")


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").split())


def _named(segments: Sequence[Segment]) -> str:
    words = [f"{segment.number} {segment.label or segment.meaning}".strip() for segment in segments]
    return ", ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else "")


def _is_background(segment: Segment) -> bool:
    return segment.number == 0 or _plain(segment.label) in BACKGROUND_NAMES


def _paint_all(header: Header, placements: Sequence[Placement], targets: dict[int, int], grid: Array) -> int:
    """Write segment numbers into a grid, the higher one where several meet; return how many voxels they share.

    Args:
        header: the segmentation's.
        placements: of its frames.
        targets: segment number -> label value; other segments are left out.
        grid: (z, y, x) uint16, zeros.

    Raises:
        LabelError: when a marked pixel lies outside the image.
    """
    dataset = header.dataset
    kind = str(dataset.get("SegmentationType") or "BINARY")
    least = float(dataset.get("MaximumFractionalValue") or 255) / 2 if kind == SHARES else 0.5
    padding = dataset.get("PixelPaddingValue")
    plan = ValuePlan((Rescale(),) * header.layout.frames)
    frames = stored_planes([Part(header, plan, find_span(header.path, header.layout))])
    shared = 0
    for frame, pixels in enumerate(frames):
        if kind == LABEL_MAP:
            numbers = [
                number for number in np.unique(pixels).tolist() if number in targets and number != padding
            ]
            marks = [(number, pixels == number) for number in numbers]
        else:
            number = _segment_of(dataset, frame)
            marks = [(number, pixels >= least)] if number in targets else []
        for number, marked in marks:
            shared += _paint(grid, marked, placements[frame], number, targets, header.path.name)
    return shared


def _segment_of(dataset: Dataset, frame: int) -> int:
    """Return the segment that a frame belongs to, 0 when it does not say."""
    item = functional_group(dataset, frame, "SegmentIdentificationSequence") or Dataset()
    return int(item.get("ReferencedSegmentNumber") or 0)


def _paint(
    grid: Array, marked: Array, placement: Placement, number: int, targets: dict[int, int], name: str
) -> int:
    rows, columns = np.nonzero(marked)
    at = np.asarray(placement.origin) + np.outer(columns, placement.right) + np.outer(rows, placement.down)
    if len(at) and (at.min() < 0 or (at.max(axis=0) >= grid.shape[::-1]).any()):
        raise LabelError(f"{name} marks places outside its image; it belongs to another one.")
    where = (at[:, 2], at[:, 1], at[:, 0])
    before = grid[where]
    grid[where] = np.maximum(before, number)
    met = np.unique(before)
    others = [int(other) for other in met if other and targets[int(other)] != targets[number]]
    return int(np.isin(before, others).sum())


def _placements(header: Header, info: ImageInfo, slices_at: tuple[Position, ...]) -> list[Placement]:
    """Find where each frame lies on the image's grid.

    Raises:
        LabelError: when a frame's pixels are not the image's.
    """
    dataset = header.dataset
    planes = [plane_of(dataset, frame) for frame in range(header.layout.frames)]
    placed = all(plane.is_placed for plane in planes)
    if info.is_volume and info.slices > 1 and not (placed and info.affine_lps is not None):
        raise LabelError(f"{header.path.name} and its image do not both say where in the patient they lie.")
    if info.layout[0] == "t" or info.affine_lps is None or not placed:
        return [_flat_placement(header, frame, info) for frame in range(header.layout.frames)]
    to_voxel = np.linalg.inv(np.asarray(info.affine_lps))
    slices = (np.asarray(slices_at) @ to_voxel[:3, :3].T + to_voxel[:3, 3]) if slices_at else None
    return [_placement(header, plane, to_voxel, slices) for plane in planes]


def _placement(header: Header, plane: Plane, to_voxel: Array, slices: Array | None) -> Placement:
    """Lay a placed frame onto a grid.

    Args:
        header: the segmentation's.
        plane: the frame's place.
        to_voxel: 4x4, LPS mm to voxel index of evenly spaced slices.
        slices: (slices, 3) such indices of each slice's first pixel where it truly lies; None where not known.
    """
    assert plane.spacing_yx is not None  # noqa: S101 - the caller gives placed planes
    pixel = np.zeros((4, 3))
    pixel[:3, 0] = np.asarray(plane.row) * plane.spacing_yx[1]
    pixel[:3, 1] = np.asarray(plane.column) * plane.spacing_yx[0]
    pixel[:, 2] = [*(plane.position or ()), 1]
    in_voxels = (to_voxel @ pixel)[:3]
    if slices is not None and np.abs(in_voxels[2, :2]).max() <= LINEAR_TOLERANCE:  # parallel to the slices
        nearest = int(np.abs(slices[:, 2] - in_voxels[2, 2]).argmin())
        in_voxels[:, 2] += (0, 0, nearest) - slices[nearest]
    whole = np.rint(in_voxels)
    far = np.array([header.layout.columns - 1, header.layout.rows - 1, 1])
    steps = np.abs(whole[:, :2])
    one_each = bool(
        (steps.sum(axis=0) == 1).all() and (steps.max(axis=0) == 1).all() and (steps.sum(axis=1) < 2).all()
    )
    straight = np.abs(in_voxels - whole)[:, :2].max() <= LINEAR_TOLERANCE
    near = max(np.abs((in_voxels - whole) @ end).max() for end in (far, far * (0, 0, 1))) <= PLACE_TOLERANCE
    if not (one_each and straight and near):
        raise LabelError(
            f"{header.path.name} lies on another grid than its image (other pixel size, angle or position); resample "
            "it to the image and import it again."
        )
    right, down, origin = (tuple(int(value) for value in whole[:, column]) for column in range(3))
    return Placement(origin, right, down)


def _flat_placement(header: Header, frame: int, info: ImageInfo) -> Placement:
    """Lay a frame without a place onto the image, or onto the image's frame that it names as its source."""
    layout, name = header.layout, header.path.name
    if (layout.rows, layout.columns) != info.spatial_shape[-2:]:
        raise LabelError(
            f"{name} has {layout.rows} x {layout.columns} pixels, its image has {info.spatial_shape[-2]} x "
            f"{info.spatial_shape[-1]}; a segmentation must have the size of its image."
        )
    plane = 0
    if info.slices > 1:
        sources = (functional_group(header.dataset, frame, "DerivationImageSequence") or Dataset()).get(
            "SourceImageSequence"
        )
        number = sources[0].get("ReferencedFrameNumber") if sources else None
        if number is None or not 1 <= int(number) <= info.slices:
            raise LabelError(f"{name} does not say which frames of its image it marks.")
        plane = int(number) - 1
    return Placement((0, 0, plane), (1, 0, 0), (0, 1, 0))
