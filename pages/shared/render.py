"""Pixels for the screen: planes through a window, masks laid over them, agreement in colours, marks.

Everything cached is keyed by the content hash of the image or the id and hash of the reading version, never
by arrays. PNG only: a lossy picture is no basis for looking.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from PIL import Image as PilImage

from core.readings.picture import blend, draw_boxes, overlay, to_rgb
from core.readings.reading import Boxes, Mask, Reading, RestoredImage
from core.types import Array, ImageInfo, Label, Window

if TYPE_CHECKING:
    from core.workspace.records import Case, ReadingVersion
    from core.workspace.workspace import Workspace

# Okabe and Ito's colour-blind safe set: they differ in lightness, too.
AGREED = (0, 158, 115)
ONLY_FIRST = (230, 97, 0)
ONLY_REFERENCE = (0, 114, 206)
OTHER_LABEL = (204, 121, 167)
MAX_SIDE = 1400
MIN_SIDE = 512
THUMBNAIL_SIDE = 120


@dataclass(frozen=True)
class Agreement:
    """Pixel counts of one plane: both agree, only the first reader, only the reference, labels differ."""

    both: int
    only_first: int
    only_reference: int
    other_label: int


@st.cache_data(max_entries=256, show_spinner=False)
def _window_of(_workspace: Workspace, _case: Case, image_sha256: str) -> tuple[float, float]:
    from core.imaging.windows import default_window

    image = _workspace.load_image(_case)
    window = default_window(image.array, image.info)
    return window.center, window.width


def start_window(workspace: Workspace, case: Case) -> Window:
    """Return the window a case opens with: the file's own, else one fitted to its values."""
    if case.info.window is not None:
        return case.info.window
    return Window(*_window_of(workspace, case, case.image_sha256))


@st.cache_data(max_entries=256, show_spinner=False)
def _range_of(_workspace: Workspace, _case: Case, image_sha256: str) -> tuple[float, float]:
    array = _workspace.load_image(_case).array
    step = max(1, array.shape[0] // 24) if _case.info.slices > 1 else 1
    seen = np.asarray(array[::step])
    seen = seen[np.isfinite(seen)] if seen.dtype.kind == "f" else seen
    return (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)


def value_range(workspace: Workspace, case: Case) -> tuple[float, float]:
    """Return the lowest and highest value of a case (of up to about 24 of its planes), for the sliders."""
    low, high = _range_of(workspace, case, case.image_sha256)
    return low, max(high, low + 1e-6)


def plane_display(workspace: Workspace, case: Case, index: int, window: Window | None = None) -> Array:
    """Return one plane as RGB uint8 of shape (y, x, 3) on the image's own grid, seen through ``window``."""
    window = window or start_window(workspace, case)
    return _plane(workspace, case, case.image_sha256, (index, window.center, window.width))


@st.cache_data(max_entries=96, show_spinner=False)
def _plane(_workspace: Workspace, _case: Case, image_sha256: str, view: tuple[int, float, float]) -> Array:
    from core.imaging.windows import to_display

    index, center, width = view
    image = _workspace.load_image(_case)
    plane = np.asarray(image.plane(index))
    shown = to_display(plane, Window(center, width), image.info.inverted)
    return to_rgb(shown)


def thumbnail_png(workspace: Workspace, case: Case) -> bytes:
    """Return the middle plane of a case as a small PNG."""
    return _thumbnail(workspace, case, case.image_sha256)


@st.cache_data(max_entries=512, show_spinner=False)
def _thumbnail(_workspace: Workspace, _case: Case, image_sha256: str) -> bytes:
    picture = PilImage.fromarray(plane_display(_workspace, _case, _case.info.slices // 2))
    row_mm, column_mm = (_case.info.spacing_mm or (1.0, 1.0))[-2:]
    rows, columns = picture.height * row_mm, picture.width * column_mm
    scale = THUMBNAIL_SIDE / max(rows, columns)
    return to_png(np.asarray(picture.resize((max(1, round(columns * scale)), max(1, round(rows * scale))))))


def plane_png(workspace: Workspace, case: Case, index: int, window: Window | None = None) -> bytes:
    """Return one plane as PNG, scaled for the screen with square millimetres."""
    return to_png(fit_to_pixels(plane_display(workspace, case, index, window), case.info.in_plane_spacing_mm))


@st.cache_resource(max_entries=12, show_spinner=False)
def _reading(_workspace: Workspace, _version: ReadingVersion, version_id: int, sha256: str) -> Reading:
    return _locked(_workspace.load_reading(_version, with_probabilities=False))


@st.cache_resource(max_entries=2, show_spinner=False)
def _probable_reading(
    _workspace: Workspace, _version: ReadingVersion, version_id: int, sha256: str
) -> Reading:
    return _locked(_workspace.load_reading(_version, with_probabilities=True))


def _locked(reading: Reading) -> Reading:
    """Make a reading's arrays read-only: cached objects are shared by all sessions."""
    for array in vars(reading).values():
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return reading


def whole_reading(workspace: Workspace, version: ReadingVersion, threshold: float | None = None) -> Reading:
    """Return a reading version, at a probability or score threshold when one is given; of boxes, those that count."""
    if threshold is None:
        kept = _reading(workspace, version, version.id, version.sha256)
        return kept.decided() if isinstance(kept, Boxes) else kept
    reading = _probable_reading(workspace, version, version.id, version.sha256)
    if isinstance(reading, RestoredImage):
        return reading  # has nothing to decide
    found = reading.at_threshold(threshold)
    return found if isinstance(found, Boxes) else Mask(found)


def every_box(workspace: Workspace, version: ReadingVersion) -> Boxes:
    """Return all boxes of a version, also those whose score is below the reader's own threshold.

    Raises:
        ValueError: when the version holds something else.
    """
    reading = _reading(workspace, version, version.id, version.sha256)
    if not isinstance(reading, Boxes):
        raise ValueError(f"This reading holds {reading.kind}, boxes are needed here.")
    return reading


def plane_reading(
    workspace: Workspace, version: ReadingVersion, index: int, threshold: float | None = None
) -> Reading:
    """Return one plane of a reading version as the reading of a single image."""
    if threshold is not None:
        probable = _probable_reading(workspace, version, version.id, version.sha256)
        if isinstance(probable, Mask) and probable.probabilities is not None and probable.array.ndim == 3:
            plane = Mask(probable.array[index], probable.probabilities[:, index])
            return Mask(plane.at_threshold(threshold))
    return plane_of_reading(whole_reading(workspace, version, threshold), index)


def plane_of_reading(reading: Reading, index: int) -> Reading:
    """Return one plane of a reading; a mask of one plane is itself."""
    if isinstance(reading, Boxes):
        found = reading.only(reading.planes == index)
        return replace(found, planes=np.zeros(len(found), np.int32))
    if isinstance(reading, RestoredImage):
        raise ValueError("A finer image has planes of its own; see pages.shared.restored_view.")
    return Mask(plane_of(reading.array, index))


def label_map(workspace: Workspace, version: ReadingVersion, threshold: float | None = None) -> Array:
    """Return a mask version's whole label map (read-only), at a probability threshold when it has one."""
    return _as_mask(whole_reading(workspace, version, threshold)).array


def label_plane(
    workspace: Workspace, version: ReadingVersion, index: int, threshold: float | None = None
) -> Array:
    """Return one plane of a mask version as a label map of shape (y, x)."""
    return _as_mask(plane_reading(workspace, version, index, threshold)).array


def _as_mask(reading: Reading) -> Mask:
    if not isinstance(reading, Mask):
        raise ValueError(f"This reading holds {reading.kind}, a mask is needed here.")
    return reading


def plane_of(array: Array, index: int) -> Array:
    """Return one plane of a mask; the mask itself when it has one plane only."""
    return array if array.ndim == 2 else array[index]


def fullest_plane(array: Array) -> int:
    """Return the index of the plane with the largest marked area; the middle one when nothing is marked."""
    if array.ndim == 2:
        return 0
    areas = np.count_nonzero(array, axis=(1, 2))
    return int(areas.argmax()) if areas.any() else array.shape[0] // 2


def start_plane(workspace: Workspace, version: ReadingVersion | None, info: ImageInfo) -> int:
    """Return the plane to open with: where a reading has most, else the middle one."""
    if version is None or info.slices == 1:
        return info.slices // 2
    reading = whole_reading(workspace, version)
    if isinstance(reading, Mask):
        return fullest_plane(reading.array)
    if not isinstance(reading, Boxes):
        return info.slices // 2
    return int(np.bincount(reading.planes).argmax()) if len(reading) else info.slices // 2


@dataclass(frozen=True)
class Look:
    """How a reading is laid over its picture: strength of a mask's colours, or its outline only."""

    opacity: float = 0.45
    contour: bool = False


def with_reading(
    picture: Array, reading: Reading | None, labels: tuple[Label, ...], info: ImageInfo, look: Look
) -> Array:
    """Return a picture made for the screen (square millimetres) with the reading of its plane over it.

    Args:
        picture: uint8 (y, x, 3) on the image's grid.
        reading: of this plane; None shows the picture alone.
        labels: the project's labels.
        info: geometry of the image.
        look: how the reading is drawn; opacity 0 hides it.
    """
    if isinstance(reading, Mask):
        picture = overlay(picture, reading.array, labels, look.opacity, look.contour)
    fitted = fit_to_pixels(picture, info.in_plane_spacing_mm)
    if isinstance(reading, Boxes) and look.opacity > 0:
        # Drawn on the enlarged picture, so that lines and letters stay fine.
        scale = (fitted.shape[1] / picture.shape[1], fitted.shape[0] / picture.shape[0])
        return draw_boxes(fitted, reading, labels, scale)
    return fitted


def error_map_rgb(
    base_rgb: Array, first: Array, reference: Array, opacity: float = 0.55
) -> tuple[Array, Agreement]:
    """Colour where two label maps agree and differ; returns the picture and the pixel counts.

    Green: both, same label. Orange: only the first reader (false positive). Blue: only the reference (false
    negative). Purple: both, but with different labels.
    """
    from core.evaluation.compare import (
        FALSE_NEGATIVE,
        FALSE_POSITIVE,
        TRUE_POSITIVE,
        WRONG_LABEL,
        agreement_map,
    )

    agreement = agreement_map(first, reference)
    shown = base_rgb.copy()
    counts = []
    for code, color in (
        (TRUE_POSITIVE, AGREED),
        (FALSE_POSITIVE, ONLY_FIRST),
        (FALSE_NEGATIVE, ONLY_REFERENCE),
        (WRONG_LABEL, OTHER_LABEL),
    ):
        where = agreement == code
        blend(shown, where, color, opacity)
        counts.append(int(np.count_nonzero(where)))
    return shown, Agreement(*counts)


def display_size(shape: tuple[int, int], spacing: tuple[float, float] | None) -> tuple[int, int]:
    """Return (rows, columns) on screen: square millimetres, longest side between 512 and 1400 pixels."""
    rows, columns = float(shape[0]), float(shape[1])
    if spacing is not None:
        finest = min(spacing)
        rows, columns = rows * spacing[0] / finest, columns * spacing[1] / finest
    longest = max(rows, columns)
    scale = min(1.0, MAX_SIDE / longest)
    if longest < MIN_SIDE:
        # Whole steps keep the pixels of a small picture equally large.
        scale = float(np.ceil(MIN_SIDE / longest))
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def fit_to_pixels(array: Array, spacing: tuple[float, float] | None = None, smooth: bool = True) -> Array:
    """Resample a uint8 picture for the screen so that a millimetre is as wide as it is high.

    Args:
        array: (y, x) or (y, x, 3) uint8.
        spacing: (y, x) millimetres per pixel; None takes the pixels as square.
        smooth: False keeps hard edges (label maps).
    """
    rows, columns = display_size(array.shape[:2], spacing)
    if (rows, columns) == array.shape[:2]:
        return array
    method = PilImage.Resampling.BICUBIC if smooth else PilImage.Resampling.NEAREST
    return np.asarray(PilImage.fromarray(np.ascontiguousarray(array)).resize((columns, rows), method))


def to_png(array: Array) -> bytes:
    """Encode a uint8 picture as PNG; a low compression level, because it goes over the loopback."""
    target = io.BytesIO()
    PilImage.fromarray(np.ascontiguousarray(array)).save(target, "PNG", compress_level=1)
    return target.getvalue()
