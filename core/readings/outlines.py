"""Polygons and strokes to masks and back.

Coordinates are image pixels, x to the right and y down, measured from the outer corner of the first
pixel: pixel (row, column) covers the square from (column, row) to (column + 1, row + 1) and its centre
is (column + 0.5, row + 0.5). A pixel belongs to a shape when its centre does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.types import Array

Points = Array | Sequence[Sequence[float]]


def rasterise_polygon(points_xy: Points, shape: tuple[int, int]) -> Array:
    """Fill a polygon (closed by itself; where it crosses itself, by the even-odd rule).

    Args:
        points_xy: (n, 2) corners in pixels; parts outside the image are cut off.
        shape: (rows, columns) of the mask.

    Returns:
        bool mask of ``shape``; empty for fewer than three corners.
    """
    return rasterise_polygons([points_xy], shape)


def rasterise_polygons(polygons: Sequence[Points], shape: tuple[int, int]) -> Array:
    """Fill several outlines together by the even-odd rule, so that an outline within another is a hole.

    Args:
        polygons: (n, 2) corners each, in pixels.
        shape: (rows, columns) of the mask.

    Returns:
        bool mask of ``shape``.
    """
    outlines = [_as_points(points) for points in polygons]
    mask = np.zeros(shape, dtype=bool)
    for points in outlines:
        if len(points) >= 3:
            mask ^= _fill_even_odd(points, shape)
    return mask


def rasterise_stroke(points_xy: Points, width_px: float, shape: tuple[int, int]) -> Array:
    """Draw a brush stroke with round ends: all pixel centres within half the width of the line.

    A stroke thinner than a pixel still marks every pixel that it visits.

    Args:
        points_xy: (n, 2) points of the line in pixels; one point gives a disc.
        width_px: brush diameter in pixels, > 0.
        shape: (rows, columns) of the mask.

    Returns:
        bool mask of ``shape``.
    """
    if not width_px > 0:
        raise ValueError(f"width_px must be positive, got {width_px}.")
    points = _as_points(points_xy)
    mask = np.zeros(shape, dtype=bool)
    if len(points) == 0:
        return mask
    starts, ends = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    for start, end in zip(starts, ends, strict=True):
        _draw_segment(mask, start, end, width_px / 2)
    return mask


def mask_to_polygons(mask: Array) -> list[Array]:
    """Outline every part and every hole of a mask.

    ``rasterise_polygons`` of the result gives the same mask again.

    Args:
        mask: bool or 0/1, ``yx``.

    Returns:
        (n, 2) x, y corners per outline, the first not repeated at the end; empty for an empty mask.
    """
    from skimage.measure import find_contours

    padded = np.pad(np.asarray(mask) != 0, 1).astype(np.float32)
    outlines = []
    for rows_columns in find_contours(padded, 0.5):
        points = rows_columns[:-1, ::-1] - 0.5  # the padding shifts by one, centres lie at one half
        outlines.append(_without_straight_points(points))
    return outlines


def edge_outlines(mask: Array) -> tuple[list[Array], list[Array]]:
    """Outline a mask along the edges of its pixels, with whole numbers for corners.

    Pixels that touch at a corner only belong to different outlines. Unlike ``mask_to_polygons``, any rule of
    filling gives the same pixels again, so that other programs do, too.

    Args:
        mask: bool or 0/1, ``yx``.

    Returns:
        (n, 2) x, y corners of each part, and of each hole; the first not repeated at the end.
    """
    ways = _edge_ways(np.asarray(mask) != 0)
    parts: list[Array] = []
    holes: list[Array] = []
    while ways:
        loop = _follow(ways)
        after = np.roll(loop, -1, axis=0)
        twice_area = (loop[:, 0] * after[:, 1] - after[:, 0] * loop[:, 1]).sum()
        (parts if twice_area > 0 else holes).append(loop)
    return parts, holes


def _edge_ways(mask: Array) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return corner -> corners that a step along an edge leads to, with the marked pixel on the right."""
    padded = np.pad(mask, 1).astype(np.int8)
    ways: dict[tuple[int, int], list[tuple[int, int]]] = {}
    down, across = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    for steps, value, start, end in (
        (down, 1, (0, 0), (1, 0)), (down, -1, (1, 0), (0, 0)),
        (across, -1, (0, 0), (0, 1)), (across, 1, (0, 1), (0, 0)),
    ):  # fmt: skip
        y, x = np.nonzero(steps == value)
        for column, row in zip(x.tolist(), y.tolist(), strict=True):
            here = (column + start[0], row + start[1])
            ways.setdefault(here, []).append((column + end[0], row + end[1]))
    return ways


def _follow(ways: dict[tuple[int, int], list[tuple[int, int]]]) -> Array:
    """Take one closed outline out of ``ways``; corners on straight lines are left out."""
    first = next(iter(ways))
    points, here = [first], first
    step = (0, 0)
    while True:
        choices = ways[here]
        right = (here[0] - step[1], here[1] + step[0])  # where two outlines meet, stay at the same pixel
        following = right if len(choices) > 1 and right in choices else choices[0]
        choices.remove(following)
        if not choices:
            del ways[here]
        step, here = (following[0] - here[0], following[1] - here[1]), following
        if here == first:
            return _without_straight_points(np.array(points, dtype=np.int64))
        points.append(here)


def _as_points(points_xy: Points) -> Array:
    points = np.asarray(points_xy, dtype=np.float64)
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"points_xy must be finite numbers of shape (n, 2), got shape {points.shape}.")
    return points


def _fill_even_odd(points: Array, shape: tuple[int, int]) -> Array:
    """Scan rows: a pixel centre is inside when an odd number of edges cross its row left of it."""
    rows, columns = shape
    mask = np.zeros(shape, dtype=bool)
    start, end = points, np.roll(points, -1, axis=0)
    first = max(0, int(np.floor(points[:, 1].min())))
    last = min(rows, int(np.ceil(points[:, 1].max())) + 1)
    for row in range(first, last):
        y = row + 0.5
        crosses = (start[:, 1] <= y) != (end[:, 1] <= y)
        if not crosses.any():
            continue
        a, b = start[crosses], end[crosses]
        x = np.sort(a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1]))
        edges = np.clip(np.ceil(x - 0.5), 0, columns).astype(int)
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            mask[row, left:right] ^= True
    return mask


def _draw_segment(mask: Array, start: Array, end: Array, radius: float) -> None:
    rows, columns = mask.shape
    low, high = np.minimum(start, end) - radius - 1, np.maximum(start, end) + radius + 1
    left, top = np.clip(np.floor(low), 0, (columns, rows)).astype(int)
    right, bottom = np.clip(np.ceil(high), 0, (columns, rows)).astype(int)
    if left < right and top < bottom:
        y, x = np.mgrid[top:bottom, left:right] + 0.5
        along, length2 = end - start, float(((end - start) ** 2).sum())
        share = (
            0.0
            if length2 == 0
            else np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / length2, 0, 1)
        )
        distance2 = (x - start[0] - share * along[0]) ** 2 + (y - start[1] - share * along[1]) ** 2
        mask[top:bottom, left:right] |= distance2 <= radius**2
    if radius < 1:  # a thin line may pass between centres: take the pixels it runs through
        steps = int(np.ceil(np.abs(end - start).max() * 2)) + 1
        visited = np.floor(start + np.linspace(0, 1, steps)[:, None] * (end - start)).astype(int)
        inside = ((visited >= 0) & (visited < (columns, rows))).all(axis=1)
        mask[visited[inside, 1], visited[inside, 0]] = True


def _without_straight_points(points: Array) -> Array:
    """Drop corners that lie on the straight line between their neighbours."""
    before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
    turn = (points - before)[:, 0] * (after - points)[:, 1] - (points - before)[:, 1] * (after - points)[:, 0]
    return np.ascontiguousarray(points[np.abs(turn) > 1e-9])
