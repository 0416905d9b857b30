"""How a DICOM file asks to be shown: its windows, its curve (VOI LUT), and whether low values are bright."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from core.imaging.dicom_groups import functional_group
from core.types import Array, ShadeTable, Window, WindowFunction

MAX_WINDOWS = 8
FUNCTIONS: dict[str, WindowFunction] = {"LINEAR_EXACT": "linear_exact", "SIGMOID": "sigmoid"}
# Explanations are free text and may name a person: only texts made of these words are kept.
WINDOW_WORDS = {
    "window", "win", "normal", "default", "narrow", "wide", "harder", "softer", "hard", "soft", "tissue",
    "bone", "bones", "brain", "lung", "lungs", "abdomen", "mediastinum", "liver", "spine", "chest", "angio",
    "stroke", "subdural", "pelvis", "head", "neck", "user", "algo", "high", "low", "contrast", "auto",
}  # fmt: skip


@dataclass(frozen=True)
class Display:
    """What a file says about showing it; see the fields of ``ImageInfo``."""

    window: Window | None = None
    windows: tuple[Window, ...] = ()
    shade_table: ShadeTable | None = None


def display_of(dataset: Dataset, frame: int = 0) -> Display:
    """Read the windows and the first usable curve of one frame.

    Args:
        dataset: the header.
        frame: whose functional groups count, in a multi-frame file.

    Source: DICOM PS3.3 C.11.2 (VOI LUT), C.7.6.16.2.10 (Frame VOI LUT).
    """
    windows = _windows(functional_group(dataset, frame, "FrameVOILUTSequence") or dataset)
    table = next((found for item in dataset.get("VOILUTSequence") or [] if (found := _table(item))), None)
    if windows:
        return Display(windows[0], windows, table)
    return Display(None if table is None else _window_near(table), (), table)


def is_inverted(dataset: Dataset) -> bool:
    """True when low values are to be shown bright (PS3.3 C.7.6.3.1.2 MONOCHROME1, C.11.6 Presentation LUT)."""
    return (
        dataset.get("PhotometricInterpretation") == "MONOCHROME1"
        or dataset.get("PresentationLUTShape") == "INVERSE"
    )


def _windows(source: Dataset) -> tuple[Window, ...]:
    """Return the windows that make sense, in the file's order."""
    centers, widths = _numbers(source.get("WindowCenter")), _numbers(source.get("WindowWidth"))
    names = _texts(source.get("WindowCenterWidthExplanation"))
    function = FUNCTIONS.get(str(source.get("VOILUTFunction") or ""), "linear")
    found: list[Window] = []
    for number, (center, width) in enumerate(zip(centers, widths, strict=False)):
        if not np.isfinite([center, width]).all() or width <= 0:
            continue
        window = Window(center, width, function, _safe_name(names[number]) if number < len(names) else "")
        if window not in found:
            found.append(window)
    return tuple(found[:MAX_WINDOWS])


def _table(item: Dataset) -> ShadeTable | None:
    """Return one item of a VOI LUT sequence as bytes per entry, None when it makes no sense.

    Source: DICOM PS3.3 C.11.2.1.1; the descriptor is (entries, 0 for 65536; first value; bits per entry).
    """
    descriptor = _numbers(item.get("LUTDescriptor"))
    if len(descriptor) != 3 or not 0 <= descriptor[2] <= 16:
        return None
    count, bits = int(descriptor[0]) or 65536, int(descriptor[2]) or 16
    entries = _entries(item.get("LUTData"), count)
    if entries is None or len(entries) < count:
        return None
    top = max(2**bits - 1, int(entries.max()))
    shades = np.rint(entries[:count].astype(np.float64) * (255 / top))
    return ShadeTable.of(descriptor[1], shades, _safe_name(str(item.get("LUTExplanation") or "")))


def _entries(data: Any, count: int) -> Array | None:
    """Return table entries, which pydicom gives as bytes (OW) or as numbers (US)."""
    if isinstance(data, bytes):
        packed = len(data) in (count, count + 1)  # 8-bit entries may stand two to a word
        return np.frombuffer(data, np.uint8) if packed else np.frombuffer(data[: len(data) // 2 * 2], "<u2")
    numbers = np.array(_numbers(data))
    return (
        numbers.astype(np.int64)
        if len(numbers) and np.isfinite(numbers).all() and numbers.min() >= 0
        else None
    )


def _window_near(table: ShadeTable) -> Window:
    """Return the linear window over the values between which a curve rises or falls."""
    shades = table.array
    changes = np.flatnonzero(np.diff(shades.astype(np.int16)))
    low, high = (changes[0], changes[-1] + 1) if len(changes) else (0, len(shades))
    return Window(table.first + float(low + high + 1) / 2, float(high - low + 1))


def _numbers(value: Any) -> list[float]:
    """Return one or many numbers as a list, cut before the first that is none."""
    found: list[float] = []
    for item in _items(value):
        try:
            found.append(float(item))
        except (TypeError, ValueError):
            break
    return found


def _texts(value: Any) -> list[str]:
    return [str(item) for item in _items(value)]


def _items(value: Any) -> Sequence[Any]:
    if value is None or value == "":
        return ()
    return (
        (value,) if isinstance(value, str | int | float) or not hasattr(value, "__iter__") else tuple(value)
    )


def _safe_name(text: str) -> str:
    words = re.findall(r"[A-Za-z]+", text.lower())
    return text.strip()[:32] if words and all(word in WINDOW_WORDS for word in words) else ""
