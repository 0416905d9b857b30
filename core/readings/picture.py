"""Readings drawn over pictures: label maps in their colours or as outlines, boxes with label and score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from core.readings.outlines import mask_to_polygons
from core.readings.reading import Boxes, Mask, Reading
from core.types import Array, Label

PREVIEW_OPACITY = 0.4
LINE_SHARE = 1 / 320  # width of a box's line, as a share of the picture's longer side
TEXT_SHARE = 1 / 45  # height of its text
ERROR_STOPS = ((0, 0, 0), (90, 20, 110), (190, 55, 85), (250, 140, 20), (255, 255, 220))
DIFFERENCE_STOPS = ((40, 150, 255), (15, 50, 90), (20, 20, 20), (110, 60, 10), (255, 150, 30))
CROWDED = 24  # boxes from which on a picture shows no words


def edges(marked: Array) -> Array:
    """Return the pixels of a boolean plane that touch something else (of 4 neighbours)."""
    inner = marked.copy()
    inner[1:] &= marked[:-1]
    inner[:-1] &= marked[1:]
    inner[:, 1:] &= marked[:, :-1]
    inner[:, :-1] &= marked[:, 1:]
    return marked & ~inner


def label_rgb(color: str) -> tuple[int, int, int]:
    """Turn "#rrggbb" into three numbers."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def to_rgb(plane: Array) -> Array:
    """Return a uint8 plane as (y, x, 3); grey is repeated, a missing blue is 0."""
    if plane.ndim == 2:
        return np.repeat(plane[..., None], 3, axis=-1)
    if plane.shape[-1] == 1:
        return np.repeat(plane, 3, axis=-1)
    if plane.shape[-1] == 2:
        return np.concatenate([plane, np.zeros_like(plane[..., :1])], axis=-1)
    return np.ascontiguousarray(plane[..., :3])


def overlay(
    base_rgb: Array, label_map: Array, labels: tuple[Label, ...], opacity: float, contour: bool = False
) -> Array:
    """Lay a label map over a picture.

    Args:
        base_rgb: uint8 of shape (y, x, 3).
        label_map: values of ``labels``, shape (y, x); 0 is background.
        labels: the project's labels with their colours.
        opacity: 0 (nothing to see) to 1 (the mask hides the image).
        contour: True draws the outline only, at full strength when opacity is above 0.

    Returns:
        A new uint8 array of the same shape.
    """
    if label_map.shape != base_rgb.shape[:2]:
        raise ValueError(f"the mask has shape {label_map.shape}, the picture {base_rgb.shape[:2]}.")
    shown = base_rgb.copy()
    strength = min(max(opacity, 0.0), 1.0)
    if strength == 0:
        return shown
    for label in labels:
        marked = label_map == label.value
        if contour:
            shown[edges(marked)] = label_rgb(label.color)
        else:
            blend(shown, marked, label_rgb(label.color), strength)
    return shown


def blend(picture: Array, marked: Array, color: tuple[int, int, int], strength: float) -> None:
    """Tint the marked pixels of a picture (y, x, 3), in place."""
    picture[marked] = ((1 - strength) * picture[marked] + strength * np.array(color)).round().astype(np.uint8)


@dataclass(frozen=True)
class Frame:
    """A rectangle on a picture: corners in its pixels, "#rrggbb", words beside it, and how bold its line is."""

    corners: tuple[int, int, int, int]
    color: str
    words: str = ""
    bold: float = 1.0


def draw_frames(picture: Array, frames: Sequence[Frame]) -> Array:
    """Draw rectangles with their words on a picture (y, x, 3 or 4); returns a new array."""
    image = PilImage.fromarray(np.ascontiguousarray(picture))
    pen = ImageDraw.Draw(image)
    longest = max(picture.shape[:2])
    font = ImageFont.load_default(max(9, round(longest * TEXT_SHARE)))
    for frame in frames:
        left, top, right, bottom = frame.corners
        width = max(1, round(longest * LINE_SHARE * frame.bold))
        pen.rectangle(
            (left, top, max(left, right - 1), max(top, bottom - 1)), outline=frame.color, width=width
        )  # fmt: skip
    for frame in frames:  # words last, so that no line runs through them
        if frame.words:
            _write_beside(pen, frame.words, frame.corners[:2], frame.color, font)
    return np.asarray(image)


def frames_of(
    boxes: Boxes,
    labels: tuple[Label, ...],
    scale_xy: tuple[float, float] = (1.0, 1.0),
    words: bool | None = None,
    chosen: int | None = None,
) -> list[Frame]:
    """Return what to draw for the boxes of one plane, in the colours of their labels.

    Args:
        boxes: objects of this plane.
        labels: the project's labels; boxes of others are left out.
        scale_xy: pixels of the picture per pixel of the image.
        words: whether label and score stand beside each; None: while the picture is not crowded.
        chosen: number of a box to be drawn bold and with its words.
    """
    by_value = {label.value: label for label in labels}
    corners = np.rint(boxes.box_xyxy * (*scale_xy, *scale_xy)).astype(int).tolist()
    every = len(boxes) <= CROWDED if words is None else words
    frames = []
    for number, (left, top, right, bottom) in enumerate(corners):
        label = by_value.get(int(boxes.labels[number]))
        if label is None:
            continue
        said = label.name if boxes.scores is None else f"{label.name} {boxes.scores[number]:.2f}"
        picked = number == chosen
        shown = said if every or picked else ""
        frames.append(Frame((left, top, right, bottom), label.color, shown, 2.5 if picked else 1))
    return sorted(frames, key=lambda frame: frame.bold)  # the chosen one over all others


def draw_boxes(
    base_rgb: Array,
    boxes: Boxes,
    labels: tuple[Label, ...],
    scale_xy: tuple[float, float] = (1.0, 1.0),
    chosen: int | None = None,
    bold: float = 1.0,
) -> Array:
    """Draw the boxes of one plane with the name of their label and their score; masks of objects as outlines.

    Args:
        base_rgb: uint8 of shape (y, x, 3).
        boxes: objects of this plane.
        labels: the project's labels with their colours.
        scale_xy: pixels of the picture per pixel of the image, for pictures that were enlarged.
        chosen: number of a box to be drawn bold.
        bold: width of all lines; more for pictures that are shown small.

    Returns:
        A new uint8 array of the same shape.
    """
    picture = base_rgb if boxes.crops is None else _with_outlines(base_rgb, boxes, labels, scale_xy)
    frames = frames_of(boxes, labels, scale_xy, chosen=chosen)
    return draw_frames(picture, [replace(frame, bold=frame.bold * bold) for frame in frames])


def _with_outlines(
    base_rgb: Array, boxes: Boxes, labels: tuple[Label, ...], scale_xy: tuple[float, float]
) -> Array:
    by_value = {label.value: label for label in labels}
    image = PilImage.fromarray(np.ascontiguousarray(base_rgb))
    pen = ImageDraw.Draw(image)
    for number, crop in enumerate(boxes.crops or ()):
        label = by_value.get(int(boxes.labels[number]))
        if label is None:
            continue
        corner = np.floor(boxes.box_xyxy[number, :2])
        for outline in mask_to_polygons(crop):
            points = ((outline + corner) * scale_xy).tolist()
            pen.line([*map(tuple, points), tuple(points[0])], fill=label.color, width=1)
    return np.asarray(image)


def draw_reading(plane: Array, reading: Reading | None, labels: tuple[Label, ...]) -> Array:
    """Draw the reading of a single plane over its display picture, as previews show it.

    Args:
        plane: uint8, yx or yxc.
        reading: of this very plane; None draws nothing.
        labels: the project's labels.

    Returns:
        uint8 (y, x, 3).
    """
    picture = to_rgb(plane)
    if isinstance(reading, Mask):
        return overlay(picture, reading.array, labels, PREVIEW_OPACITY)
    if isinstance(reading, Boxes):
        return draw_boxes(picture, reading, labels)
    return picture


def draw_error(error: Array, scale: float) -> Array:
    """Draw how large errors are: black none, through purple and orange to white at ``scale`` and beyond.

    Args:
        error: signed or not, (y, x).
        scale: the error drawn brightest, above 0.

    Returns:
        uint8 (y, x, 3).
    """
    return _colours(np.abs(error) / scale, ERROR_STOPS)


def draw_difference(difference: Array, scale: float) -> Array:
    """Draw signed differences: blue lower, dark equal, orange higher; full colour at ``scale`` and beyond."""
    return _colours((difference / scale + 1) / 2, DIFFERENCE_STOPS)


def _colours(values: Array, stops: tuple[tuple[int, int, int], ...]) -> Array:
    """Look values of 0 to 1 up in evenly spaced colours."""
    table = np.array(stops, np.float32)
    places = np.linspace(0, 1, len(table))
    channels = [np.interp(values, places, table[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def write_png(picture: Array, path: Path) -> None:
    """Write a uint8 picture as PNG."""
    PilImage.fromarray(np.ascontiguousarray(picture)).save(path, format="PNG")


def _write_beside(
    pen: ImageDraw.ImageDraw,
    words: str,
    corner: tuple[int, int],
    color: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Write text above a box's corner, or inside where there is no room above, on a plate of the box's colour."""
    left, top, right, bottom = pen.textbbox((0, 0), words, font=font)
    height = bottom - top + 4
    x, y = corner[0], corner[1] - height if corner[1] >= height else corner[1]
    pen.rectangle((x, y, x + right - left + 4, y + height - 1), fill=color)
    bright = (
        sum(part * weight for part, weight in zip(label_rgb(color), (0.3, 0.59, 0.11), strict=True)) > 140
    )
    pen.text((x + 2 - left, y + 2 - top), words, fill="black" if bright else "white", font=font)
