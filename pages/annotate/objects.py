"""Marks to boxes: what was drawn on the canvas adds, moves, resizes or chooses an object. No Streamlit in here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.readings.reading import Boxes, crop_shape
from core.types import Array, ImageInfo, Label
from pages.shared.canvas import Mark, View

REACH = 8.0  # display pixels around an edge that count as the edge
LEAST = 1.0  # image pixels a box is wide and high at least
CLICK = 4.0  # display pixels; a shorter drag is a click


@dataclass(frozen=True)
class Edit:
    """What became of the boxes: the new ones, the object in hand (its number), and a word for the version."""

    boxes: Boxes
    chosen: int | None
    word: str | None = None


def apply_marks(boxes: Boxes, marks: Sequence[Mark], view: View, plane: int, chosen: int | None) -> Edit:
    """Take marks in order: a box is added, a drag moves or resizes what lies under its start, a click chooses.

    Args:
        boxes: the reading so far.
        marks: what was drawn on one plane, in display pixels of ``view``.
        view: where the canvas lay on the plane.
        plane: number of the plane.
        chosen: the object in hand; a drag that starts on its edges takes it before others.
    """
    edit = Edit(boxes, chosen)
    for mark in marks:
        points = view.to_image(mark.points)
        if mark.tool == "box":
            corners = np.concatenate([points.min(axis=0), points.max(axis=0)])
            edit = add_box(edit.boxes, corners, mark.label, plane) or edit
        elif mark.tool == "move":
            moved = mark.points[-1] - mark.points[0]
            reach = REACH / min(view.scale)
            found = object_at(edit.boxes, plane, points[0], (reach, edit.chosen))
            if found is None or np.abs(moved).max() < CLICK:
                edit = Edit(edit.boxes, found, edit.word)
            else:
                edit = drag(edit.boxes, found, (points[0], points[-1]), reach)
    return edit


def add_box(boxes: Boxes, corners: Array, label: int, plane: int) -> Edit | None:
    """Add an object; None when the box is smaller than a pixel."""
    if (corners[2:] - corners[:2]).min() < LEAST:
        return None
    table = np.concatenate([boxes.box_xyxy, corners[None].astype(np.float32)])
    crops = boxes.crops
    if crops is not None:
        crops = (*crops, np.ones(crop_shape(table[-1]), bool))
    labels = np.append(boxes.labels, np.uint16(label)).astype(np.uint16)
    planes = np.append(boxes.planes, np.int32(plane)).astype(np.int32)
    crowds = None if boxes.crowds is None else np.append(boxes.crowds, False)
    return Edit(Boxes(table, labels, planes, None, crops, None, crowds), len(table) - 1, "drawn")


def object_at(boxes: Boxes, plane: int, point: Array, taste: tuple[float, int | None]) -> int | None:
    """Return the object under a point: the one in hand if the point is on it, else the smallest; None for none.

    Args:
        boxes: the reading.
        plane: only its objects count.
        point: x and y in image pixels.
        taste: how far outside of a box still counts, in image pixels, and the object in hand.
    """
    reach, chosen = taste
    low, high = boxes.box_xyxy[:, :2] - reach, boxes.box_xyxy[:, 2:] + reach
    near = np.flatnonzero((boxes.planes == plane) & ((low <= point) & (point <= high)).all(axis=1))
    if chosen is not None and chosen in near:
        return chosen
    if not len(near):
        return None
    areas = (boxes.box_xyxy[near, 2:] - boxes.box_xyxy[near, :2]).prod(axis=1)
    return int(near[areas.argmin()])


def drag(boxes: Boxes, number: int, ends: tuple[Array, Array], reach: float) -> Edit:
    """Move an object, or the edges of it that the drag starts on."""
    start, end = ends
    box = boxes.box_xyxy[number].astype(np.float64)
    step = end - start
    # Small boxes: the outer half of the reach is edge, so that there is a middle to move them by.
    inner = np.minimum(reach, (box[2:] - box[:2]) / 4)
    on_low, on_high = start <= box[:2] + inner, start >= box[2:] - inner
    if not (on_low | on_high).any():
        return replace_box(boxes, number, box + np.tile(step, 2), "moved")
    changed = box.copy()
    changed[:2] += np.where(on_low, step, 0)
    changed[2:] += np.where(on_high & ~on_low, step, 0)
    ordered = np.concatenate(
        [np.minimum(changed[:2], changed[2:]), np.maximum(changed[:2], changed[2:])]
    )  # fmt: skip
    return replace_box(boxes, number, ordered, "resized")


def replace_box(boxes: Boxes, number: int, corners: Array, word: str) -> Edit:
    """Give an object other corners; its mask moves along, and is cut where the box became smaller."""
    if (corners[2:] - corners[:2]).min() < LEAST:
        return Edit(boxes, number)
    table = boxes.box_xyxy.copy()
    table[number] = corners
    crops = boxes.crops
    if crops is not None:
        shift = (
            np.rint(corners[:2] - boxes.box_xyxy[number, :2]).astype(int)
            if word == "moved"
            else np.zeros(2, int)
        )
        moved = _crop_moved((boxes.box_xyxy[number], crops[number]), table[number], shift)
        crops = (*crops[:number], moved, *crops[number + 1 :])
    return Edit(Boxes(table, boxes.labels, boxes.planes, None, crops, None, boxes.crowds), number, word)


def _crop_moved(old: tuple[Array, Array], box: Array, shift: Array) -> Array:
    corner, crop = np.floor(old[0][:2]).astype(int) + shift, old[1]
    result = np.zeros(crop_shape(box), bool)
    offset = corner - np.floor(box[:2]).astype(int)
    (x, y), (height, width) = offset.tolist(), result.shape
    top, left = max(0, y), max(0, x)
    part = crop[max(0, -y) :, max(0, -x) :][: max(0, height - top), : max(0, width - left)]
    result[top : top + part.shape[0], left : left + part.shape[1]] = part
    return result


def relabel(boxes: Boxes, number: int, label: int) -> Edit:
    """Give an object another label."""
    labels = boxes.labels.copy()
    labels[number] = label
    return Edit(
        Boxes(boxes.box_xyxy, labels, boxes.planes, None, boxes.crops, None, boxes.crowds),
        number,
        "relabelled",
    )


def remove(boxes: Boxes, number: int) -> Edit:
    """Take an object away."""
    kept = boxes.only(np.arange(len(boxes)) != number)
    return Edit(own_boxes(kept), None, "removed")


def with_plane_copied(boxes: Boxes, source: int, target: int) -> Boxes:
    """Return boxes with those of one plane replaced by copies of another's."""
    kept, copied = np.flatnonzero(boxes.planes != target), np.flatnonzero(boxes.planes == source)
    joined = boxes.only(np.concatenate([kept, copied]))
    planes = joined.planes.copy()
    planes[len(kept) :] = target
    return Boxes(joined.box_xyxy, joined.labels, planes, None, joined.crops, None, joined.crowds)


def own_boxes(boxes: Boxes) -> Boxes:
    """Return boxes as a person's own: what counts, without scores."""
    counted = boxes.decided()
    return Boxes(
        counted.box_xyxy, counted.labels, counted.planes, None, counted.crops, counted.groups, counted.crowds
    )


def inside(boxes: Boxes, info: ImageInfo) -> Boxes:
    """Cut boxes at the edges of their image; those that lie outside go."""
    height, width = info.spatial_shape[-2:]
    limits = np.array([width, height, width, height], np.float32)
    table = boxes.box_xyxy.clip(0, limits)
    if (table == boxes.box_xyxy).all():
        return boxes
    kept = (table[:, 2:] > table[:, :2]).all(axis=1)
    crops = boxes.crops
    if crops is not None:
        crops = tuple(
            _crop_moved((boxes.box_xyxy[n], crops[n]), table[n], np.zeros(2, int))
            for n in np.flatnonzero(kept)
        )
    crowds = None if boxes.crowds is None else boxes.crowds[kept]
    return Boxes(table[kept], boxes.labels[kept], boxes.planes[kept], None, crops, None, crowds)


def titles(boxes: Boxes, labels: tuple[Label, ...], info: ImageInfo) -> list[str]:
    """Return one line of words per object, for a list to choose from."""
    names = {label.value: label.name for label in labels}
    word = "slice" if info.is_volume else "frame"
    lines = []
    for number in range(len(boxes)):
        left, top, right, bottom = boxes.box_xyxy[number].tolist()
        size = f"{right - left:.0f} × {bottom - top:.0f} px"
        line = f"{number + 1} · {names.get(int(boxes.labels[number]), '?')} · {size}"
        if info.slices > 1:
            line += f" · {word} {int(boxes.planes[number]) + 1}"
        lines.append(line)
    return lines
