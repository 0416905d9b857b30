"""Marks to masks: what was drawn on the canvas, on the image's own grid. No Streamlit in here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from core.readings.outlines import rasterise_polygon, rasterise_polygons, rasterise_stroke
from core.types import Array, ImageInfo
from pages.shared.canvas import Mark, View

CANVAS_SIZES = {"small": (600, 560), "medium": (760, 680), "large": (1000, 880)}  # width, height on screen
Size = tuple[int, int]
SHAPE = 0.9  # height by width of a zoomed region on screen
SMALLEST_REGION = 8  # image pixels shown along an axis at the highest zoom
ROUND = 24  # corners of a half circle at a stroke's end, where pixels are not square

Region = tuple[int, int, int, int]  # left, top, columns, rows


def paint(plane: Array, marks: Sequence[Mark], view: View) -> None:
    """Paint marks into a label map of one plane, in order; label 0 removes, any other overwrites.

    Args:
        plane: uint8 or uint16 (y, x), changed in place.
        marks: what was drawn, in display pixels of ``view``.
        view: where the canvas lay on the plane.
    """
    rows, columns = view.region
    for mark in marks:
        shown = plane[rows, columns]
        shown[covered(mark, view)] = mark.label


def covered(mark: Mark, view: View) -> Array:
    """Return which pixels of the view's region a mark covers, as bool (rows, columns)."""
    shape = (view.rows, view.columns)
    points = view.to_image(mark.points) - (view.left, view.top)
    reach = mark.width / 2 / min(view.scale) + 1
    low = np.clip(np.floor(points.min(axis=0) - reach), 0, (view.columns, view.rows)).astype(int)
    high = np.clip(np.ceil(points.max(axis=0) + reach), 0, (view.columns, view.rows)).astype(int)
    result = np.zeros(shape, dtype=bool)
    (left, top), (right, bottom) = low, high
    if left >= right or top >= bottom:
        return result
    inner = (int(bottom - top), int(right - left))
    result[top:bottom, left:right] = _rasterise(mark, points - low, inner, view.scale)
    return result


def _rasterise(mark: Mark, points: Array, shape: tuple[int, int], scale: tuple[float, float]) -> Array:
    if mark.width == 0:
        return rasterise_polygon(points, shape)
    if abs(scale[0] / scale[1] - 1) < 0.01:
        return rasterise_stroke(points, mark.width / scale[0], shape)
    # A round brush on screen is an ellipse on pixels that are not square: the line of pixels it visits, and
    # around each of its points the outline of the brush, joined along each step.
    result = rasterise_stroke(points, 1e-3, shape)
    turns = np.linspace(0, 2 * np.pi, 2 * ROUND, endpoint=False)
    brush = np.stack([np.cos(turns), np.sin(turns)], axis=1) * (mark.width / 2) / scale
    ends = points if len(points) > 1 else np.repeat(points, 2, axis=0)
    for start, end in pairwise(ends):
        result |= rasterise_polygons([_hull(np.concatenate([brush + start, brush + end]))], shape)
    return result


def _hull(points: Array) -> Array:
    from scipy.spatial import ConvexHull

    return points[ConvexHull(points).vertices]


def pixel_aspect(info: ImageInfo) -> float:
    """Return how much higher than wide a pixel is; 1 when the spacing is unknown."""
    spacing = info.in_plane_spacing_mm
    return 1.0 if spacing is None else spacing[0] / spacing[1]


def plane_shape(info: ImageInfo) -> tuple[int, int]:
    """Return (rows, columns) of one plane."""
    rows, columns = info.spatial_shape[-2:]
    return rows, columns


def whole(info: ImageInfo) -> Region:
    """Return the region that is the whole plane."""
    rows, columns = plane_shape(info)
    return 0, 0, columns, rows


def make_view(info: ImageInfo, region: Region, size: Size) -> View:
    """Return the view of a region, as large as fits ``size`` (width, height), with square millimetres."""
    left, top, columns, rows = region
    aspect = pixel_aspect(info)
    scale = min(size[0] / columns, size[1] / (rows * aspect))
    width, height = max(1, round(columns * scale)), max(1, round(rows * aspect * scale))
    return View(left, top, columns, rows, width, height)


def zoomed(info: ImageInfo, center: tuple[float, float], columns: float) -> Region:
    """Return a region around a point (x, y) that fills the canvas, kept inside the plane.

    Args:
        info: the image.
        center: point in image pixels that should lie in the middle.
        columns: number of columns wanted; as many as the plane has gives the whole plane.
    """
    all_rows, all_columns = plane_shape(info)
    if columns >= all_columns:
        return whole(info)
    rows = columns * SHAPE / pixel_aspect(info)
    n_columns = int(min(all_columns, max(SMALLEST_REGION, round(columns))))
    n_rows = int(min(all_rows, max(SMALLEST_REGION, round(rows))))
    left = int(min(max(0, round(center[0] - n_columns / 2)), all_columns - n_columns))
    top = int(min(max(0, round(center[1] - n_rows / 2)), all_rows - n_rows))
    return left, top, n_columns, n_rows


def zoom_to_box(info: ImageInfo, mark: Mark, view: View) -> Region:
    """Return the region that shows all of a box drawn with the zoom tool."""
    points = view.to_image(mark.points)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    wanted = max(right - left, (bottom - top) * pixel_aspect(info) / SHAPE)
    return zoomed(info, ((left + right) / 2, (top + bottom) / 2), wanted)
