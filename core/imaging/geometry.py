"""Voxels and patient millimetres: affines, spacing, and which side of the patient an edge shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.types import Array, ImageInfo

Rows = tuple[tuple[float, ...], ...]
Position = tuple[float, float, float]
AXIS_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))  # towards +, towards - of LPS; H head, F feet
ORIENTATION_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))
PLANE_NAMES = ("sagittal", "coronal", "axial")  # by the LPS axis that the slices are stacked along


def to_rows(affine: Array) -> Rows:
    """Turn a 4x4 array into plain rows; -0.0 becomes 0.0 so that equal affines are written alike."""
    return tuple(tuple(float(value) + 0.0 for value in row) for row in np.asarray(affine, dtype=np.float64))


def lps_from_ras(affine: Array | Rows) -> Array:
    """Turn an affine to RAS millimetres (NIfTI) into one to LPS (DICOM): the signs of x and y change."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine, dtype=np.float64)


def ras_from_lps(affine: Array | Rows) -> Array:
    """Turn an affine to LPS millimetres into one to RAS; the same step as the way there."""
    return lps_from_ras(affine)


def spacing_from_affine(affine: Array | Rows) -> tuple[float, float, float]:
    """Return (z, y, x) spacing in mm.

    x and y are the lengths of the columns. z is the distance between neighbouring planes, so that the product
    is a voxel's volume even when the slices are sheared (gantry tilt). Rounded to 1e-9 mm: less is noise.
    """
    matrix = np.asarray(affine, dtype=np.float64)[:3, :3]
    along_x, along_y = np.linalg.norm(matrix[:, 0]), np.linalg.norm(matrix[:, 1])
    normal = np.cross(matrix[:, 0], matrix[:, 1])
    length = np.linalg.norm(normal)
    along_z = abs(normal @ matrix[:, 2]) / length if length > 0 else 0.0
    return round(float(along_z), 9), round(float(along_y), 9), round(float(along_x), 9)


def affine_from_spacing(spacing_mm: Sequence[float], origin_lps: Sequence[float] = (0.0, 0.0, 0.0)) -> Rows:
    """Return the LPS affine of an axis-parallel grid.

    Args:
        spacing_mm: (y, x) or (z, y, x); a single image gets 1 mm along z.
        origin_lps: patient position of voxel (0, 0, 0), in mm.
    """
    zyx = (1.0, *spacing_mm) if len(spacing_mm) == 2 else tuple(spacing_mm)
    affine = np.diag([zyx[2], zyx[1], zyx[0], 1.0])
    affine[:3, 3] = origin_lps
    return to_rows(affine)


def is_usable(affine: Array | Rows) -> bool:
    """True when every number is finite and no axis is flat, so that voxels have a size."""
    matrix = np.asarray(affine, dtype=np.float64)
    return bool(np.isfinite(matrix).all()) and min(spacing_from_affine(matrix)) > 1e-6


def finer_info(info: ImageInfo, factors: Sequence[int]) -> ImageInfo:
    """Describe the same field of view with whole times as many pixels along each spatial axis.

    Pixel centres move: the first fine pixel's centre lies half a coarse minus half a fine pixel before the first
    coarse one's.

    Args:
        info: the coarse image.
        factors: one per spatial axis of the layout, (y, x) or (z, y, x) or (t, y, x).
    """
    shape = tuple(size * factor for size, factor in zip(info.spatial_shape, factors, strict=True))
    return _regridded(info, shape, tuple(float(factor) for factor in factors))


def coarser_info(info: ImageInfo, factors: Sequence[int]) -> ImageInfo:
    """Describe the same field of view with whole times fewer pixels; what makes no whole one is cut off."""
    shape = tuple(size // factor for size, factor in zip(info.spatial_shape, factors, strict=True))
    return _regridded(info, shape, tuple(1 / factor for factor in factors))


def _regridded(info: ImageInfo, shape: tuple[int, ...], ratios: tuple[float, ...]) -> ImageInfo:
    """Give an image other pixels in the same place; ``ratios`` are new pixels per old one of each spatial axis."""
    spacing, affine = info.spacing_mm, info.affine_lps
    if spacing is not None:
        spacing = tuple(step / ratio for step, ratio in zip(spacing, ratios[-len(spacing) :], strict=True))
    if affine is not None:
        steps = 1 / np.array([ratios[-1], ratios[-2], ratios[0] if info.is_volume else 1.0])
        moved = np.diag([*steps, 1.0])
        moved[:3, 3] = (steps - 1) / 2
        affine = to_rows(np.asarray(affine, np.float64) @ moved)
    channels = info.shape[len(shape) :]
    return replace(info, shape=shape + channels, spacing_mm=spacing, affine_lps=affine)


def direction_letter(vector: Array) -> str:
    """Name the side of the patient that an LPS vector points to: L, R, P, A, H (head) or F (feet)."""
    axis = int(np.argmax(np.abs(vector)))
    return AXIS_LETTERS[axis][0 if vector[axis] > 0 else 1]


def orientation_letters(affine: Array | Rows) -> str:
    """Name where the voxel axes x, y and z lead in the patient, such as "LPS" or "RAS".

    L left, R right, P posterior, A anterior, S superior (head), I inferior (feet); each axis by the direction it
    is nearest to, no direction twice.

    Args:
        affine: 4x4, voxel index (x, y, z) to LPS mm.
    """
    matrix = np.asarray(affine, dtype=np.float64)[:3, :3]
    nearness = np.abs(matrix) / np.linalg.norm(matrix, axis=0)
    letters = ["", "", ""]
    for _ in range(3):
        direction, axis = (int(n) for n in np.unravel_index(np.argmax(nearness), (3, 3)))
        letters[axis] = ORIENTATION_LETTERS[direction][0 if matrix[direction, axis] > 0 else 1]
        nearness[direction, :] = nearness[:, axis] = -1
    return "".join(letters)


def side_marks(info: ImageInfo) -> tuple[str, str, str, str] | None:
    """Return the letters at the (left, right, top, bottom) edges of a plane, or None when unknown."""
    if info.affine_lps is None:
        return None
    matrix = np.asarray(info.affine_lps, dtype=np.float64)
    to_right, to_bottom = matrix[:3, 0], matrix[:3, 1]
    return (
        direction_letter(-to_right),
        direction_letter(to_right),
        direction_letter(-to_bottom),
        direction_letter(to_bottom),
    )


def plane_name(info: ImageInfo) -> str | None:
    """Return "axial", "coronal" or "sagittal" for the planes one scrolls through, None when unknown."""
    if info.affine_lps is None:
        return None
    matrix = np.asarray(info.affine_lps, dtype=np.float64)
    normal = np.cross(matrix[:3, 0], matrix[:3, 1])
    return PLANE_NAMES[int(np.argmax(np.abs(normal)))]
