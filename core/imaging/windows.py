"""Physical values to shades of grey on a screen."""

from __future__ import annotations

import numpy as np

from core.types import Array, ImageInfo, ShadeTable, Window

CT_PRESETS: dict[str, Window] = {
    "soft tissue": Window(40, 400),
    "lung": Window(-600, 1500),
    "bone": Window(400, 1800),
    "brain": Window(40, 80),
    "mediastinum": Window(50, 350),
    "liver": Window(60, 160),
}
BYTE_WINDOW = Window(128, 256)  # LINEAR with these is the identity on 0..255
SAMPLES = 200_000  # values looked at to choose a window
EXACT_BELOW = 256.0  # window width under which LINEAR's odd half steps would show on measured (float) values


def default_window(array: Array, info: ImageInfo) -> Window:
    """Choose a window: the file's own, soft tissue for CT, 0..255 for bytes, else percentiles 0.5 to 99.5.

    Args:
        array: the whole image; only a regular sub-sample of it is read.
        info: what the file says about it.
    """
    if info.window is not None:
        return info.window
    if info.modality == "CT" and info.channels == 1:
        return CT_PRESETS["soft tissue"]
    if array.dtype in (np.uint8, np.bool_):
        return BYTE_WINDOW
    return _percentile_window(_sample(array, info.layout[-1] == "c"), np.issubdtype(array.dtype, np.integer))


def default_display(array: Array, info: ImageInfo) -> Window | ShadeTable:
    """Choose how to show an image at first: the curve of a file that gives nothing else, or a window."""
    own_window = any(window == info.window for window in info.windows)
    if info.shade_table is not None and not own_window:
        return info.shade_table
    return default_window(array, info)


def to_display(plane: Array, window: Window | ShadeTable, inverted: bool = False) -> Array:
    """Map one plane to bytes by the DICOM functions; colour passes through.

    Whole numbers follow LINEAR exactly: black at ``x <= center - width / 2``, white at
    ``x > center + width / 2 - 1``. Floating point values follow LINEAR_EXACT (white at
    ``center + width / 2``) in linear windows narrower than 256, where LINEAR's step of one unit would be
    visible; beyond, the two agree within one shade of grey.

    Args:
        plane: ``yx``, or ``yxc`` with any number of channels.
        window: in the plane's units.
        inverted: True shows low values bright (MONOCHROME1); colour is never inverted.

    Returns:
        uint8, ``yx`` or ``yxc`` with three channels.

    Source: DICOM PS3.3 C.11.2.1.1 (VOI LUT), C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2
    (LINEAR_EXACT).
    """
    if plane.ndim == 3:
        return _color_to_display(plane, window)
    if plane.ndim != 2:
        raise ValueError(f"plane must be yx or yxc, got shape {plane.shape}.")
    shades = _shades(plane, window)
    return 255 - shades if inverted else shades


def _shades(plane: Array, window: Window | ShadeTable) -> Array:
    """Return the shade of every value, before inversion."""
    if plane.dtype == np.bool_:
        return np.where(plane, np.uint8(255), np.uint8(0))
    if isinstance(window, ShadeTable):
        return _table_shades(plane, window)
    if window.function == "sigmoid":
        with np.errstate(over="ignore"):  # far below the window exp() is infinite and the shade 0
            curve = 1 / (1 + np.exp(-4 * (plane.astype(np.float64) - window.center) / window.width))
        return (np.nan_to_num(curve, nan=0.0) * 255 + 0.5).astype(np.uint8)
    return _linear_shades(plane, window)


def _table_shades(plane: Array, table: ShadeTable) -> Array:
    entries = table.array
    places = np.rint(np.nan_to_num(plane.astype(np.float64), nan=table.first) - table.first)
    return entries[np.clip(places, 0, len(entries) - 1).astype(np.int64)]


def _linear_shades(plane: Array, window: Window) -> Array:
    if plane.dtype == np.uint8 and window == BYTE_WINDOW:
        return np.array(plane)
    narrow_float = np.issubdtype(plane.dtype, np.floating) and window.width < EXACT_BELOW
    exact = narrow_float or window.function == "linear_exact"
    span = window.width if exact else window.width - 1
    precision = np.float64 if plane.dtype.itemsize > 2 else np.float32
    values: Array = plane.astype(precision)
    values = values - precision(window.low)
    if span <= 0:  # LINEAR of width 1 is a step
        return np.where(np.greater(values, 0), np.uint8(255), np.uint8(0))
    values = np.nan_to_num(values * precision(255 / span), nan=0.0, posinf=255.0, neginf=0.0)
    return (np.clip(values, 0, 255) + 0.5).astype(np.uint8)


def _color_to_display(plane: Array, window: Window | ShadeTable) -> Array:
    if plane.shape[2] < 3:  # one or two fluorescence channels: show them as red and green
        padding = np.zeros((*plane.shape[:2], 3 - plane.shape[2]), plane.dtype)
        plane = np.concatenate([plane, padding], axis=2)
    plane = plane[..., :3]
    if plane.dtype == np.uint8:
        return np.array(plane)
    if plane.dtype == np.uint16:
        return ((plane.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return np.stack([_shades(plane[..., channel], window) for channel in range(3)], axis=2)


def _sample(array: Array, has_channels: bool) -> Array:
    spatial = array.ndim - 1 if has_channels else array.ndim
    pixels = int(np.prod(array.shape[:spatial]))
    step = max(1, int(np.ceil((pixels / SAMPLES) ** (1 / spatial))))
    values = np.asarray(
        array[tuple(slice(step // 2 if n > step else 0, None, step) for n in array.shape[:spatial])]
    )
    values = values.astype(np.float64).ravel()
    return values[np.isfinite(values)]


def _percentile_window(values: Array, whole_numbers: bool) -> Window:
    if values.size == 0:
        return Window(0.5, 1)
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    if low == high:  # nearly everything is one value: show what differs
        low, high = float(values.min()), float(values.max())
    if low == high:
        return Window(low + 0.5, 1)
    if whole_numbers:  # LINEAR reaches white at center + width / 2 - 1
        low, high = float(np.floor(low)), float(np.ceil(high))
        return Window((low + high + 1) / 2, high - low + 1)
    extra = 1.0 if high - low + 1 >= EXACT_BELOW else 0.0
    return Window((low + high + extra) / 2, high - low + extra)
