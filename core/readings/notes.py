"""What a reader notes beside the mask or the boxes: measurements, points, classes of a slice, turned boxes.

Points are voxel coordinates (x, y, z), continuous: the pixel in column i covers [i, i + 1), its centre lies at
i + 0.5; slice k covers [k, k + 1). A single image has z in [0, 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from core.errors import LabelError
from core.types import Array, ImageInfo

NoteKind = Literal["length", "angle", "bidirectional", "ellipse", "rectangle", "point", "class", "turned"]
Axis = Literal["z", "y", "x"]
# Kind -> number of points. A class has none; a turned box has its centre, and two neighbouring corners.
POINTS: dict[NoteKind, int] = {
    "length": 2, "angle": 3, "bidirectional": 4, "ellipse": 2, "rectangle": 2, "point": 1, "class": 0, "turned": 3,
}  # fmt: skip
AXES: dict[Axis, tuple[int, int]] = {
    "z": (0, 1),
    "y": (0, 2),
    "x": (1, 2),
}  # columns and rows of such a plane
WHOLE_IMAGE = -1
MAX_TEXT = 500


@dataclass(frozen=True)
class Note:
    """One thing noted.

    Attributes:
        kind: what it is.
        points: voxel coordinates; as many as ``POINTS`` says. Ellipse and rectangle: two opposite corners.
        axis: the axis that stands upright on the plane it was drawn on; "z" for the stored slices.
        plane: number of that plane; ``WHOLE_IMAGE`` for a class of the whole image.
        label: a label value of the project for points, classes and turned boxes; else 0.
        text: a word about it.
    """

    kind: NoteKind
    points: tuple[tuple[float, float, float], ...] = ()
    axis: Axis = "z"
    plane: int = 0
    label: int = 0
    text: str = ""

    def __post_init__(self) -> None:
        if self.kind not in POINTS:
            raise ValueError(f"a note must be one of {', '.join(POINTS)}, got {self.kind!r}.")
        if self.axis not in AXES:
            raise ValueError(f"axis must be z, y or x, got {self.axis!r}.")
        if len(self.points) != POINTS[self.kind]:
            raise ValueError(
                f"a note of kind {self.kind} needs {POINTS[self.kind]} points, got {len(self.points)}."
            )
        if not all(len(point) == 3 and all(map(math.isfinite, point)) for point in self.points):
            raise ValueError("every point needs three finite coordinates x, y, z.")
        if self.kind in ("point", "class", "turned") and self.label < 1:
            raise ValueError(f"a note of kind {self.kind} needs a label.")


Notes = Mapping[str, Note]


def note_to_json(note: Note) -> dict[str, Any]:
    """Turn a note into plain JSON values."""
    return {
        "kind": note.kind,
        "points": [list(point) for point in note.points],
        "axis": note.axis,
        "plane": note.plane,
        "label": note.label,
        "text": note.text,
    }


def note_from_json(data: Mapping[str, Any]) -> Note:
    """Rebuild a note; what does not belong there is dropped.

    Raises:
        LabelError: when it is none (it may come from a browser).
    """
    try:
        points = tuple((float(x), float(y), float(z)) for x, y, z in data.get("points", ()))
        return Note(
            data["kind"],
            points,
            data.get("axis", "z"),
            int(data.get("plane", 0)),
            int(data.get("label", 0)),
            str(data.get("text", ""))[:MAX_TEXT],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LabelError(f"A note could not be read: {error}") from error


def notes_to_json(notes: Notes, box_ids: list[str]) -> dict[str, Any]:
    """Return what is kept with a version: the notes by name, and the names of its boxes."""
    kept: dict[str, Any] = {}
    if notes:
        kept["notes"] = {name: note_to_json(note) for name, note in notes.items()}
    if box_ids:
        kept["box_ids"] = box_ids
    return kept


def notes_from_json(data: Mapping[str, Any] | None) -> tuple[dict[str, Note], list[str]]:
    """Return the notes by name and the names of the boxes of a version."""
    if not data:
        return {}, []
    notes = {name: note_from_json(entry) for name, entry in data.get("notes", {}).items()}
    return notes, list(data.get("box_ids", ()))


def misfit_of_note(note: Note, info: ImageInfo) -> str | None:
    """Say in a sentence why a note cannot belong to an image; None when it can."""
    sizes = {"z": info.slices, "y": info.spatial_shape[-2], "x": info.spatial_shape[-1]}
    if note.axis != "z" and not info.is_volume:
        return "Only a volume has planes across its slices."
    if note.plane == WHOLE_IMAGE and note.kind == "class":
        return None
    if not 0 <= note.plane < sizes[note.axis]:
        return f"A note lies on plane {note.plane + 1}, the image has {sizes[note.axis]}."
    return None


def voxel_matrix(info: ImageInfo) -> tuple[Array, str]:
    """Return the 3 x 3 matrix from a step in voxels (x, y, z) to millimetres, and "mm"; pixels, "px" where unknown."""
    if info.spacing_mm is None:
        return np.eye(3), "px"
    if info.affine_lps is not None:
        return np.asarray(info.affine_lps, np.float64)[:3, :3], "mm"
    zyx = (1.0, *info.spacing_mm) if len(info.spacing_mm) == 2 else info.spacing_mm
    return np.diag([zyx[2], zyx[1], zyx[0]]), "mm"


def measure(note: Note, info: ImageInfo, plane: Array | None = None) -> dict[str, float]:
    """Return what a measurement says, in millimetres (keys ``..._mm``) or in pixels where spacing is unknown.

    Args:
        note: a measurement; other kinds say nothing.
        info: geometry of the image.
        plane: values of the plane a region lies on, (rows, columns); None leaves its statistics out.

    Returns:
        length: ``length_mm``. bidirectional: ``long_mm``, ``short_mm``. angle: ``angle_deg``. Regions:
        ``area_mm2`` and, of the pixels whose centre lies inside, ``n``, ``mean``, ``sd`` (of these pixels: divided
        by n), ``min``, ``max``.
    """
    matrix, unit = voxel_matrix(info)
    points = np.asarray(note.points, np.float64).reshape(-1, 3)
    if note.kind == "length":
        return {f"length_{unit}": _distance(matrix, points[0], points[1])}
    if note.kind == "bidirectional":
        lengths = sorted((_distance(matrix, points[0], points[1]), _distance(matrix, points[2], points[3])))
        return {f"long_{unit}": lengths[1], f"short_{unit}": lengths[0]}
    if note.kind == "angle":
        return {"angle_deg": _angle(matrix @ (points[0] - points[1]), matrix @ (points[2] - points[1]))}
    if note.kind in ("ellipse", "rectangle"):
        return _region(note, matrix, unit, plane)
    return {}


def _distance(matrix: Array, a: Array, b: Array) -> float:
    return float(np.linalg.norm(matrix @ (b - a)))


def _angle(a: Array, b: Array) -> float:
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float("nan") if lengths == 0 else float(np.degrees(np.arccos(np.clip(a @ b / lengths, -1, 1))))


def _region(note: Note, matrix: Array, unit: str, plane: Array | None) -> dict[str, float]:
    columns, rows = AXES[note.axis]
    first, last = (np.asarray(point)[[columns, rows]] for point in note.points)
    low, high = np.minimum(first, last), np.maximum(first, last)
    width, height = high - low
    pixel_area = float(np.linalg.norm(np.cross(matrix[:, columns], matrix[:, rows])))
    share = math.pi / 4 if note.kind == "ellipse" else 1.0
    result = {f"area_{unit}2": float(width * height * pixel_area * share)}
    if plane is not None:
        inside = plane[_inside(note.kind, low, high, plane.shape)].astype(np.float64)
        result["n"] = float(inside.size)
        for name, function in (("mean", np.mean), ("sd", np.std), ("min", np.min), ("max", np.max)):
            result[name] = float(function(inside)) if inside.size else float("nan")
    return result


def _inside(kind: str, low: Array, high: Array, shape: tuple[int, ...]) -> Array:
    """Return which pixel centres lie in the region."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    if kind == "rectangle":
        return (x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])
    center, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-12)
    return ((x - center[0]) / half[0]) ** 2 + ((y - center[1]) / half[1]) ** 2 <= 1
