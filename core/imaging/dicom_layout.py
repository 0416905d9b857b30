"""What a DICOM header says about its pixels, checked against the limits before any of them is decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from core.errors import FileRefused
from core.imaging.limits import (
    CODEC_MAX_RATIO,
    DEFLATE_MAX_RATIO,
    HARMLESS_BYTES,
    RLE_MAX_RATIO,
    check_declared_size,
    check_ratio,
    declared_bytes,
)
from core.settings import Settings

DEFLATED = str(DeflatedExplicitVRLittleEndian)
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")


@dataclass(frozen=True)
class PixelLayout:
    """What a header says about its pixels; sizes are positive and within the limits."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    is_float: bool
    photometric: str
    planar: int = 0  # 1: all of one colour, then all of the next

    @cached_property
    def stored_type(self) -> np.dtype:
        """Type of the stored values, in this machine's byte order."""
        if self.is_float:
            return np.dtype(f"f{self.itemsize}")
        return np.dtype(f"{'i' if self.is_signed else 'u'}{self.itemsize}")

    @cached_property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame as stored."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @cached_property
    def frame_bytes(self) -> int:
        """Size of one uncompressed frame of whole bytes."""
        return self.rows * self.columns * self.samples * self.itemsize

    @property
    def is_color(self) -> bool:
        """True when the decoded image is RGB."""
        return self.samples == 3 or self.photometric == "PALETTE COLOR"

    @property
    def itemsize(self) -> int:
        """Bytes per stored value."""
        return max(1, self.bits // 8)


def pixel_layout(dataset: Dataset, name: str) -> PixelLayout:
    """Read what a header says about its pixels (PS3.3 C.7.6.3).

    Raises:
        FileRefused: when no image can be like that.
    """
    bits, sign = int(dataset.BitsAllocated), dataset.get("PixelRepresentation")
    stored, high = int(dataset.get("BitsStored") or bits), dataset.get("HighBit")
    layout = PixelLayout(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        frames=_frame_count(dataset, name),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        bits=bits,
        bits_stored=stored,
        high_bit=int(high) if high is not None and stored <= int(high) + 1 <= bits else stored - 1,
        is_signed=sign == 1,
        is_float=sign is None and bits in (32, 64),  # float pixels have no PixelRepresentation
        photometric=str(dataset.get("PhotometricInterpretation") or "MONOCHROME2"),
        planar=int(dataset.get("PlanarConfiguration") or 0),
    )
    if layout.samples not in (1, 3):
        raise FileRefused(
            f"{name} has {layout.samples} values per pixel; only 1 (grey) and 3 (colour) can be read."
        )
    if layout.bits not in (1, 8, 16, 32, 64):
        raise FileRefused(f"{name} stores {layout.bits} bits per value, which no DICOM image does.")
    if not 1 <= layout.bits_stored <= layout.bits:
        raise FileRefused(
            f"{name} says that {layout.bits_stored} of {layout.bits} bits hold its values; it is damaged."
        )
    return layout


def _frame_count(dataset: Dataset, name: str) -> int:
    raw = dataset.get("NumberOfFrames")
    try:
        return int(raw or 1)
    except (TypeError, ValueError):
        raise FileRefused(f"{name} gives {str(raw)[:16]!r} as its number of frames; it is damaged.") from None


def declared_size(layout: PixelLayout) -> int:
    """Bytes of the uncompressed pixels."""
    values = declared_bytes((layout.frames, layout.rows, layout.columns, layout.samples), 1)
    return math.ceil(values * layout.bits / 8)


def stored_size(layout: PixelLayout) -> int:
    """Bytes that the pixels take in an uncompressed file."""
    declared = declared_size(layout)
    return declared * 2 // 3 if layout.photometric == "YBR_FULL_422" else declared


def check_size(layout: PixelLayout, syntax: str, size: int, name: str, settings: Settings) -> None:
    """Refuse an image past the limits, or one that its file cannot hold.

    Args:
        layout: what the header says.
        syntax: transfer syntax.
        size: of the file, in bytes.
        name: what to call the file.
        settings: the limits.

    Raises:
        FileRefused: when it asks for too much.
    """
    samples = 3 if layout.is_color else layout.samples
    shape = (layout.frames, layout.rows, layout.columns, samples)
    check_declared_size(shape, layout.itemsize, name, settings)
    declared = declared_size(layout)
    if syntax in NATIVE:
        stored = stored_size(layout)
        if stored > size:
            raise FileRefused(
                f"{name} is cut short: its header declares {stored} bytes of pixels, it has {size}."
            )
        return
    ratios = {str(RLELossless): (RLE_MAX_RATIO, 2**20), DEFLATED: (DEFLATE_MAX_RATIO, 2**20)}
    ratio, harmless = ratios.get(syntax, (CODEC_MAX_RATIO, HARMLESS_BYTES))
    check_ratio(declared, size, ratio, name, harmless)
