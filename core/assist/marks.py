"""What a person hints at on one plane: scribbles, clicks, a box; and what is proposed in answer.

Coordinates from the screen are continuous (x, y): the pixel in column i covers [i, i + 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.readings.outlines import rasterise_stroke
from core.types import Array

BACKGROUND = 0
ERASE = -1  # a stroke that takes scribbles away again
MAX_STROKE_SIZE = 400.0
OUTSIDE_PX = 4096.0  # a stroke that leaves the picture is followed so far
Shape = tuple[int, int]


@dataclass(frozen=True)
class Stroke:
    """A line of a round pen: label (0: background, -1: takes scribbles away), width in pixels, points (x, y)."""

    label: int
    size: float
    points_xy: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if self.label < ERASE or self.label > 65535:
            raise ValueError(f"a stroke's label must lie between -1 and 65535, got {self.label}.")
        if not 0 < self.size <= MAX_STROKE_SIZE:
            raise ValueError(f"a stroke must be 0 to {MAX_STROKE_SIZE:g} pixels wide, got {self.size}.")
        if not self.points_xy or not all(math.isfinite(v) for point in self.points_xy for v in point):
            raise ValueError("a stroke needs at least one point, and finite coordinates.")


@dataclass(frozen=True)
class Scribbles:
    """Pixels of one plane that somebody has given a label.

    Attributes:
        places: int32 (n, 2): row, column.
        labels: uint16 (n,): label value, 0 for background.
    """

    places: npt.NDArray[np.int32]
    labels: npt.NDArray[np.uint16]

    def __post_init__(self) -> None:
        if self.places.shape != (len(self.labels), 2) or self.labels.ndim != 1:
            raise ValueError(
                f"scribbles need (n, 2) places and (n,) labels, got {self.places.shape} and {self.labels.shape}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def on(self, shape: Shape, corner: tuple[int, int] = (0, 0)) -> Array:
        """Return an int32 map: label value where scribbled, -1 elsewhere.

        Args:
            shape: rows and columns of the plane, or of a part of it.
            corner: row and column where the part begins.
        """
        sheet = np.full(shape, -1, np.int32)
        places = self.places - np.array(corner, np.int32)
        inside = ((places >= 0) & (places < np.array(shape))).all(axis=1)
        sheet[tuple(places[inside].T)] = self.labels[inside]
        return sheet


def scribbles_of(sheet: Array) -> Scribbles:
    """Return the scribbles of a map that holds -1 where nothing was scribbled."""
    places = np.argwhere(sheet >= 0)
    labels = sheet[places[:, 0], places[:, 1]]
    return Scribbles(places.astype(np.int32), labels.astype(np.uint16))


def draw_strokes(strokes: Sequence[Stroke], shape: Shape) -> Scribbles:
    """Draw strokes one over the other as the brush does; what lies outside of the plane is left out.

    Args:
        strokes: in the order they were made.
        shape: rows and columns of the plane.
    """
    limits = np.array((shape[1], shape[0]), np.float64)
    lines = [
        np.clip(np.array(stroke.points_xy, np.float64), -OUTSIDE_PX, limits + OUTSIDE_PX)
        for stroke in strokes
    ]
    if not lines:
        return scribbles_of(np.full((0, 0), -1, np.int32))
    widest = max(stroke.size for stroke in strokes)
    # Only where something was drawn: the plane may be a hundred megapixels large.
    low = np.clip(np.floor(np.min([line.min(axis=0) for line in lines], axis=0) - widest), 0, limits).astype(
        int
    )
    high = np.clip(
        np.ceil(np.max([line.max(axis=0) for line in lines], axis=0) + widest), low, limits
    ).astype(int)
    sheet = np.full((high[1] - low[1], high[0] - low[0]), -1, np.int32)
    for stroke, line in zip(strokes, lines, strict=True):
        sheet[rasterise_stroke(line - low, stroke.size, (sheet.shape[0], sheet.shape[1]))] = stroke.label
    found = scribbles_of(sheet)
    return Scribbles(found.places + low[::-1].astype(np.int32), found.labels)


@dataclass(frozen=True)
class Clicks:
    """Clicks on one plane, and perhaps a box around the thing meant.

    Attributes:
        points_yx: int32 (n, 2): row, column.
        positive: bool (n,): True belongs to the thing, False does not.
        box_yxyx: rows and columns of the box, ends excluded (top, left, bottom, right); None without.
    """

    points_yx: npt.NDArray[np.int32]
    positive: npt.NDArray[np.bool_]
    box_yxyx: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.points_yx.shape != (len(self.positive), 2):
            raise ValueError(
                f"clicks need (n, 2) points and (n,) signs, got {self.points_yx.shape}, {self.positive.shape}."
            )
        if self.box_yxyx is None and not self.positive.any():
            raise ValueError("Click on the thing first, or draw a box around it.")
        if self.box_yxyx is not None:
            top, left, bottom, right = self.box_yxyx
            if bottom <= top or right <= left:
                raise ValueError(f"a box needs bottom > top and right > left, got {self.box_yxyx}.")

    def check(self, shape: Shape) -> None:
        """Refuse what lies outside of a plane.

        Raises:
            ValueError: naming it.
        """
        limits = np.array(shape)
        if len(self.points_yx) and ((self.points_yx < 0) | (self.points_yx >= limits)).any():
            raise ValueError(f"a click lies outside of the image of {shape[0]} x {shape[1]} pixels.")
        if self.box_yxyx is not None:
            top, left, bottom, right = self.box_yxyx
            if top < 0 or left < 0 or bottom > shape[0] or right > shape[1]:
                raise ValueError(f"the box reaches out of the image of {shape[0]} x {shape[1]} pixels.")

    def moved(self, by_yx: tuple[int, int]) -> Clicks:
        """Return the same clicks in coordinates whose origin lies elsewhere."""
        y, x = by_yx
        box = self.box_yxyx
        moved_box = None if box is None else (box[0] + y, box[1] + x, box[2] + y, box[3] + x)
        return Clicks(self.points_yx + np.array([y, x], np.int32), self.positive, moved_box)


@dataclass(frozen=True)
class Proposal:
    """What is proposed for one plane.

    Attributes:
        labels: label map of the plane; 0 where nothing is proposed.
        probability: float32, how likely the proposed foreground is; None where the method has none.
        uncertainty: float32 from 0 (sure) to 1 (no idea); None where the method has none.
    """

    labels: Array
    probability: npt.NDArray[np.float32] | None = None
    uncertainty: npt.NDArray[np.float32] | None = None
