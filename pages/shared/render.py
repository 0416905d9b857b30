"""Pixels for the screen: planes through a window, masks laid over them, agreement in colours, marks.

Everything cached is keyed by the content hash of the image or the id and hash of the reading version, never
by arrays. PNG only: a lossy picture is no basis for looking.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from PIL import Image as PilImage

from core.readings.reading import Mask
from core.types import Array, Label, Window

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


def to_rgb(plane: Array) -> Array:
    """Return a uint8 plane as (y, x, 3); grey is repeated, a missing blue is 0."""
    if plane.ndim == 2:
        return np.repeat(plane[..., None], 3, axis=-1)
    if plane.shape[-1] == 1:
        return np.repeat(plane, 3, axis=-1)
    if plane.shape[-1] == 2:
        return np.concatenate([plane, np.zeros_like(plane[..., :1])], axis=-1)
    return np.ascontiguousarray(plane[..., :3])


def plane_png(workspace: Workspace, case: Case, index: int, window: Window | None = None) -> bytes:
    """Return one plane as PNG, scaled for the screen with square millimetres."""
    return to_png(fit_to_pixels(plane_display(workspace, case, index, window), case.info.in_plane_spacing_mm))


@st.cache_resource(max_entries=12, show_spinner=False)
def _reading(_workspace: Workspace, _version: ReadingVersion, version_id: int, sha256: str) -> Mask:
    mask = _workspace.load_reading(_version, with_probabilities=False)
    mask.array.flags.writeable = False
    return mask


@st.cache_resource(max_entries=2, show_spinner=False)
def _probable_reading(_workspace: Workspace, _version: ReadingVersion, version_id: int, sha256: str) -> Mask:
    mask = _workspace.load_reading(_version, with_probabilities=True)
    mask.array.flags.writeable = False
    if mask.probabilities is not None:
        mask.probabilities.flags.writeable = False
    return mask


def label_map(workspace: Workspace, version: ReadingVersion, threshold: float | None = None) -> Array:
    """Return a reading version's whole label map (read-only), at a probability threshold when it has one."""
    if threshold is None:
        return _reading(workspace, version, version.id, version.sha256).array
    return _probable_reading(workspace, version, version.id, version.sha256).at_threshold(threshold)


def label_plane(
    workspace: Workspace, version: ReadingVersion, index: int, threshold: float | None = None
) -> Array:
    """Return one plane of a reading version as a label map of shape (y, x)."""
    if threshold is None:
        return plane_of(label_map(workspace, version), index)
    mask = _probable_reading(workspace, version, version.id, version.sha256)
    if mask.probabilities is None or mask.array.ndim == 2:
        return mask.at_threshold(threshold)
    return Mask(mask.array[index], mask.probabilities[:, index]).at_threshold(threshold)


def plane_of(array: Array, index: int) -> Array:
    """Return one plane of a mask; the mask itself when it has one plane only."""
    return array if array.ndim == 2 else array[index]


def fullest_plane(array: Array) -> int:
    """Return the index of the plane with the largest marked area; the middle one when nothing is marked."""
    if array.ndim == 2:
        return 0
    areas = np.count_nonzero(array, axis=(1, 2))
    return int(areas.argmax()) if areas.any() else array.shape[0] // 2


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
            _blend(shown, marked, label_rgb(label.color), strength)
    return shown


def _blend(picture: Array, marked: Array, color: tuple[int, int, int], strength: float) -> None:
    picture[marked] = ((1 - strength) * picture[marked] + strength * np.array(color)).round().astype(np.uint8)


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
        _blend(shown, where, color, opacity)
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
