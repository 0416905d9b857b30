"""Boxes for the screen: a table of objects, one of them bold and enlarged, counts, agreement in colours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from core.readings.picture import Frame, draw_boxes, draw_frames, frames_of
from core.readings.reading import Boxes
from core.types import Array, ImageInfo, Label
from pages.shared.render import AGREED, ONLY_FIRST, ONLY_REFERENCE, OTHER_LABEL, fit_to_pixels

DETAIL = 1.8  # the enlarged part is this many times as wide as its object
LEAST_DETAIL = 24  # image pixels
SMALL_BOLD = 2.2  # of lines in pictures of narrow columns


def size_words(boxes: Boxes, info: ImageInfo) -> list[str]:
    """Say the width and height of each box in mm, or in pixels where the spacing is unknown."""
    sides = boxes.box_xyxy[:, 2:] - boxes.box_xyxy[:, :2]
    spacing = info.in_plane_spacing_mm
    if spacing is None:
        return [f"{width:.0f} × {height:.0f} px" for width, height in sides]
    scaled = sides * (spacing[1], spacing[0])
    return [f"{width:.3g} × {height:.3g} mm" for width, height in scaled]


def object_table(boxes: Boxes, info: ImageInfo, labels: tuple[Label, ...]) -> dict[str, list[Any]]:
    """Return the columns of a table with one row per box."""
    names = {label.value: label.name for label in labels}
    columns: dict[str, list[Any]] = {
        "label": [names.get(int(value), str(value)) for value in boxes.labels],
    }
    if boxes.scores is not None:
        columns["score"] = [round(float(score), 3) for score in boxes.scores]
    columns["size"] = size_words(boxes, info)
    if info.slices > 1:
        columns["slice" if info.is_volume else "frame"] = (boxes.planes + 1).tolist()
    if boxes.groups is not None:
        columns["finding"] = boxes.groups.tolist()
    return columns


def counts_by_label(boxes: Boxes, labels: tuple[Label, ...]) -> dict[str, int]:
    """Return how many objects of each label there are; findings count once, crowds not at all."""
    counted = boxes.counted
    result = {}
    for label in labels:
        chosen = counted.labels == label.value
        result[label.name] = (
            int(chosen.sum()) if counted.groups is None else len(np.unique(counted.groups[chosen]))
        )
    return result


def with_objects(
    picture: Array,
    boxes: Boxes,
    labels: tuple[Label, ...],
    info: ImageInfo,
    chosen: int | None = None,
    small: bool = False,
) -> Array:
    """Return a picture for the screen with the boxes of its plane, one of them bold.

    Args:
        picture: uint8 (y, x, 3) on the image's grid.
        boxes: objects of this plane.
        labels: the project's labels.
        info: geometry of the image.
        chosen: number of the bold one.
        small: True where the picture is shown in a narrow column.
    """
    fitted = fit_to_pixels(picture, info.in_plane_spacing_mm)
    return draw_boxes(fitted, boxes, labels, _scale(fitted, picture), chosen, SMALL_BOLD if small else 1.0)


def detail(picture: Array, boxes: Boxes, labels: tuple[Label, ...], info: ImageInfo, chosen: int) -> Array:
    """Return the part of a picture around one object, enlarged, with its box."""
    height, width = picture.shape[:2]
    left, top, right, bottom = boxes.box_xyxy[chosen].tolist()
    reach = max(right - left, bottom - top) * DETAIL / 2
    reach = max(reach, LEAST_DETAIL)
    x, y = (left + right) / 2, (top + bottom) / 2
    x0, y0 = int(max(0, x - reach)), int(max(0, y - reach))
    x1, y1 = int(min(width, np.ceil(x + reach))), int(min(height, np.ceil(y + reach)))
    part = np.ascontiguousarray(picture[y0:y1, x0:x1])
    fitted = fit_to_pixels(part, info.in_plane_spacing_mm)
    shifted = replace(
        boxes, box_xyxy=(boxes.box_xyxy - np.array([x0, y0, x0, y0], np.float32)), crops=None
    )  # fmt: skip
    frames = frames_of(shifted.only(np.array([chosen])), labels, _scale(fitted, part), words=True)
    return draw_frames(fitted, frames)


def agreement_picture(
    picture: Array,
    sides: tuple[Boxes, Boxes],
    info: ImageInfo,
    in_space: bool = False,
    plane: int | None = None,
) -> tuple[Array, tuple[int, int, int, int]]:
    """Draw both readers' boxes in the colours of agreement.

    Green: both, same label. Orange: only the first reader (false). Blue: only the other (missed). Purple: both, but
    under different labels.

    Args:
        picture: uint8 (y, x, 3) of one plane.
        sides: boxes of the whole case by the first reader and by the other.
        info: geometry of the image.
        in_space: True compares findings of a volume.
        plane: draw the boxes of this plane only.

    Returns:
        The picture, and the case's counts: found, false, missed, under another label.
    """
    from core.evaluation.box_matching import agreement_of

    agreement, ours, theirs = agreement_of(*sides, in_space)
    colors = np.full(len(ours), "#{:02x}{:02x}{:02x}".format(*ONLY_FIRST))
    colors[agreement.partners >= 0] = "#{:02x}{:02x}{:02x}".format(*AGREED)
    colors[agreement.mixed >= 0] = "#{:02x}{:02x}{:02x}".format(*OTHER_LABEL)
    missed = np.ones(len(theirs), bool)
    missed[agreement.partners[agreement.partners >= 0]] = False
    missed[agreement.mixed[agreement.mixed >= 0]] = False
    missed &= ~theirs.crowds
    fitted = fit_to_pixels(picture, info.in_plane_spacing_mm)
    scale = _scale(fitted, picture)
    blue = "#{:02x}{:02x}{:02x}".format(*ONLY_REFERENCE)
    frames = [
        *_frames(sides[1], missed[theirs.owners], [blue] * len(sides[1]), scale, plane),
        *_frames(sides[0], np.ones(len(sides[0]), bool), colors[ours.owners].tolist(), scale, plane),
    ]
    counts = (agreement.n_found, agreement.n_false, agreement.n_missed, agreement.n_mixed)
    return draw_frames(fitted, frames), counts


def _frames(
    boxes: Boxes, shown: Array, colors: list[str], scale: tuple[float, float], plane: int | None
) -> list[Frame]:
    corners = np.rint(boxes.box_xyxy * (*scale, *scale)).astype(int).tolist()
    return [
        Frame((left, top, right, bottom), colors[number], bold=SMALL_BOLD)
        for number, (left, top, right, bottom) in enumerate(corners)
        if shown[number] and (plane is None or boxes.planes[number] == plane)
    ]


def _scale(fitted: Array, picture: Array) -> tuple[float, float]:
    return fitted.shape[1] / picture.shape[1], fitted.shape[0] / picture.shape[0]
