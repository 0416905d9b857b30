"""Colour in DICOM files, to red, green and blue bytes."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, convert_color_space

from core.errors import FileRefused
from core.imaging.dicom_header import Header
from core.types import Array

AS_RGB = ("RGB", "YBR_ICT", "YBR_RCT")  # the decoders of JPEG 2000 turn the latter two into RGB themselves
AS_YBR = ("YBR_FULL", "YBR_FULL_422")
# Blue and red differences to green and the others, PS3.3 C.7.6.3.1.2 (ITU-R BT.601, full range).
CR_TO_RED, CB_TO_BLUE = 1.402, 1.772
CB_TO_GREEN, CR_TO_GREEN = -0.114 * 1.772 / 0.587, -0.299 * 1.402 / 0.587


def stored_color(frame: Array, photometric: str, bits: int) -> Array:
    """Return a colour frame as RGB where it is stored as luminance and differences; others as they are."""
    return rgb_from_ybr(frame, bits) if frame.ndim == 3 and photometric in AS_YBR else frame


def to_rgb_bytes(frame: Array, photometric: str, header: Header) -> Array:
    """Return one colour frame, as stored, as RGB bytes; of more than 8 bits the highest 8 are kept.

    Args:
        frame: (rows, columns) of palette indices, or (rows, columns, 3).
        photometric: how its values are meant.
        header: the file's, for its palette and significant bits.

    Raises:
        FileRefused: when the colour space is not known here.
    """
    bits = header.layout.bits_stored
    if photometric == "PALETTE COLOR":
        dataset = header.dataset
        colors = apply_color_lut(frame, dataset)[..., :3]
        return _to_bytes(colors, 8 if _palette_is_bytes(dataset) else 16)
    if photometric not in AS_RGB + AS_YBR:
        raise FileRefused(f"Colour written as {photometric[:16]} cannot be read; export the image as RGB.")
    return _to_bytes(stored_color(frame, photometric, bits), bits)


def rgb_from_ybr(frame: Array, bits: int) -> Array:
    """Turn luminance and colour differences (YBR_FULL) into RGB of the same type.

    Args:
        frame: (rows, columns, 3), unsigned.
        bits: significant bits of a value.

    Source: DICOM PS3.3 C.7.6.3.1.2.
    """
    if frame.dtype == np.uint8:
        return convert_color_space(frame, "YBR_FULL", "RGB")
    top = 2**bits - 1
    values = frame.astype(np.float64)
    cb, cr = values[..., 1] - (top + 1) // 2, values[..., 2] - (top + 1) // 2
    shifts = [CR_TO_RED * cr, CB_TO_GREEN * cb + CR_TO_GREEN * cr, CB_TO_BLUE * cb]
    rgb = np.stack([np.floor(values[..., 0] + shift + 0.5) for shift in shifts], axis=-1)
    return rgb.clip(0, top).astype(frame.dtype)


def _palette_is_bytes(dataset: Dataset) -> bool:
    """True when a palette of 16-bit entries was filled with bytes, as some devices do."""
    tables = [dataset.get(f"{color}PaletteColorLookupTableData") or b"" for color in ("Red", "Green", "Blue")]
    return all(
        table and len(table) % 2 == 0 and np.frombuffer(table, "<u2").max(initial=0) < 256 for table in tables
    )


def _to_bytes(frame: Array, bits: int) -> Array:
    """Bring colour of more than 8 bits down to bytes."""
    return frame if frame.dtype == np.uint8 else (frame >> max(0, bits - 8)).astype(np.uint8)
