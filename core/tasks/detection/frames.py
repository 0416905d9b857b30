"""Where the network looks: whole images or tiles of them, cut out, scaled into the input, and boxes brought back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from core.learning.planes import FloatArray, fit_to_grid
from core.learning.preprocessing import Preprocessing
from core.tasks.detection.spec import Framing
from core.types import Array

BAND_PIXELS = 2**24  # of an image that are held as floats at once
BORDER_PIXELS = 2.0  # of the input: a box that ends so near a tile's border is taken for cut
TOO_SMALL = 1.5  # an image counts as larger than those trained on when its scale falls this far below theirs

Prepare = Callable[[Array], FloatArray]  # physical values yx or yxc to (height, width, channels)


@dataclass(frozen=True)
class Frame:
    """A part of an image and its place in the network's input, whose corner it fills.

    Attributes:
        top, left: first row and column in the image.
        height, width: size in image pixels.
        rows, columns: size in the input.
    """

    top: int
    left: int
    height: int
    width: int
    rows: int
    columns: int

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Input pixels per image pixel along x and y."""
        return self.columns / self.width, self.rows / self.height

    def cut(self, plane: Array, prepare: Prepare, input_shape: tuple[int, int]) -> FloatArray:
        """Return the input (height, width, channels) of this frame; what the image does not fill is 0.

        Args:
            plane: yx or yxc, physical values; may lie on disk, only this frame is read.
            prepare: scales values and channels.
            input_shape: height and width of the input.
        """
        shrunk = [
            shrink(prepare(plane[top:end, self.left : self.left + self.width]), self._step)
            for top, end in self._bands()
        ]
        part = np.concatenate(shrunk) if len(shrunk) > 1 else shrunk[0]
        return pad_to(fit_to_grid(np.ascontiguousarray(part), (self.rows, self.columns)), input_shape)

    def is_cut(self, box_xyxy: Array, shape_yx: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Tell which boxes (n, 4) of the image end at a border of this frame that is none of the image."""
        near_x, near_y = (BORDER_PIXELS / scale for scale in self.scale_xy)
        right, bottom = self.left + self.width, self.top + self.height
        cut = np.zeros(len(box_xyxy), bool)
        if self.left > 0:
            cut |= box_xyxy[:, 0] < self.left + near_x
        if self.top > 0:
            cut |= box_xyxy[:, 1] < self.top + near_y
        if right < shape_yx[1]:
            cut |= box_xyxy[:, 2] > right - near_x
        if bottom < shape_yx[0]:
            cut |= box_xyxy[:, 3] > bottom - near_y
        return cut

    @property
    def _step(self) -> int:
        """Pixels whose mean is taken first; above 1 only where the frame is too large to be held as floats."""
        if self.height * self.width <= BAND_PIXELS:
            return 1
        return max(1, min(self.height // self.rows, self.width // self.columns))

    def _bands(self) -> list[tuple[int, int]]:
        """Return rows of the image to read at once: all of them, or as many as may be held as floats."""
        if self._step == 1:
            return [(self.top, self.top + self.height)]
        rows = max(1, BAND_PIXELS // self.width // self._step) * self._step
        end = self.top + self.height
        return [(top, min(top + rows, end)) for top in range(self.top, end, rows)]

    def to_image(self, box_xyxy: Array) -> Array:
        """Bring boxes (n, 4) from the input to the image."""
        scale_x, scale_y = self.scale_xy
        moved = box_xyxy / np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
        return np.asarray(moved + np.array([self.left, self.top, self.left, self.top]), dtype=np.float32)


def whole_frame(shape_yx: tuple[int, int], preprocessing: Preprocessing, framing: Framing) -> Frame:
    """Return the frame of a whole image: as large as fits the input, but no larger than trained on."""
    scale = min(fit_scale(shape_yx, preprocessing), framing.highest)
    return _frame((0, 0), shape_yx, scale, preprocessing)


def frames_of(
    shape_yx: tuple[int, int], preprocessing: Preprocessing, framing: Framing, overlap: float
) -> list[Frame]:
    """Return where to look in an image: the whole, and tiles when its objects would get too small.

    Tiles cover the image at the scale that was trained on, each overlapping its neighbours by this share.
    """
    whole = whole_frame(shape_yx, preprocessing, framing)
    needed = framing.lowest / TOO_SMALL if framing.mode == "whole" else framing.scale
    if fit_scale(shape_yx, preprocessing) >= needed:
        if framing.mode == "tiles":
            return [_frame((0, 0), shape_yx, framing.scale, preprocessing)]
        return [whole]
    size = tile_size(shape_yx, preprocessing, framing)
    corners = [
        (top, left)
        for top in _starts(shape_yx[0], size[0], overlap)
        for left in _starts(shape_yx[1], size[1], overlap)
    ]
    return [whole, *(_frame(corner, size, framing.scale, preprocessing) for corner in corners)]


def tile_size(shape_yx: tuple[int, int], preprocessing: Preprocessing, framing: Framing) -> tuple[int, int]:
    """Return (height, width) of a tile in image pixels, at most the image."""
    return (
        min(shape_yx[0], int(preprocessing.input_height / framing.scale)),
        min(shape_yx[1], int(preprocessing.input_width / framing.scale)),
    )


def fit_scale(shape_yx: tuple[int, int], preprocessing: Preprocessing) -> float:
    """Return the scale at which an image just fits the input."""
    return min(preprocessing.input_height / shape_yx[0], preprocessing.input_width / shape_yx[1])


def shrink(plane: FloatArray, step: int) -> FloatArray:
    """Take the mean of step x step pixels; what is left over at the lower and right border is cut off."""
    if step == 1:
        return plane
    rows, columns = max(1, plane.shape[0] // step), max(1, plane.shape[1] // step)
    cut = plane[: rows * step, : columns * step]
    size = (columns, rows)
    shrunk = cv2.resize(np.ascontiguousarray(cut), size, interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, dtype=np.float32).reshape(rows, columns, plane.shape[2])


def pad_to(plane: FloatArray, input_shape: tuple[int, int]) -> FloatArray:
    """Fill up a plane (height, width, channels) with zeros below and to the right."""
    missing = (input_shape[0] - plane.shape[0], input_shape[1] - plane.shape[1])
    if missing == (0, 0):
        return plane
    padded = cv2.copyMakeBorder(plane, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT, value=0)
    return np.asarray(padded, dtype=np.float32).reshape(*input_shape, plane.shape[2])


def _frame(
    corner: tuple[int, int], size: tuple[int, int], scale: float, preprocessing: Preprocessing
) -> Frame:
    rows = min(preprocessing.input_height, max(1, round(size[0] * scale)))
    columns = min(preprocessing.input_width, max(1, round(size[1] * scale)))
    return Frame(*corner, *size, rows, columns)


def _starts(length: int, window: int, overlap: float) -> list[int]:
    """Return where windows begin along an axis: evenly spread, the last one ends with the image."""
    room = length - window
    step = max(1, int(window * (1 - overlap)))
    return [int(start) for start in np.linspace(0, room, -(-room // step) + 1).round()]
