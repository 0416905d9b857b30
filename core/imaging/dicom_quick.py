"""Frames of DICOM files read the quick way: straight to where they are wanted, several at once.

Uncompressed frames are read from the file into their place; lossless streams go through codecs that leave Python
free meanwhile. Whatever is unusual is left to ``dicom_frames``, which gives the same values.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol

import imagecodecs
import numpy as np
from pydicom.encaps import generate_frames

from core.errors import FileRefused
from core.imaging.dicom_codestream import JPEG_LOSSLESS, JPEG_LS, LOSSLESS_FRAME, check_codestream, jpeg_frame
from core.imaging.dicom_elements import (
    EXPLICIT,
    IMPLICIT,
    PIXEL_DATA,
    RLE,
    UNDEFINED,
    Elements,
    read_elements,
)
from core.imaging.dicom_layout import PixelLayout, stored_size
from core.types import Array

RLE_HEADER = struct.Struct("<16L")
RLE_SLACK = 256  # some writers pad a segment
CODEC_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, struct.error)


class NotQuick(Exception):
    """The quick way cannot read this after all; pydicom may."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where the pixels of a file lie: at which byte, how many bytes (as written), in which transfer syntax."""

    at: int
    length: int
    syntax: str


class QuickFrames(Protocol):
    """Frames that can be had in any order and from several threads at once."""

    @property
    def count(self) -> int:
        """Number of frames."""
        ...

    def stored(self, index: int) -> Array:
        """Return one frame.

        Raises:
            NotQuick: when pydicom should have a try.
            FileRefused: when the frame is cut short.
        """
        ...


def span_of(elements: Elements | None, layout: PixelLayout) -> Span | None:
    """Return where the pixels lie, when the quick way knows their kind."""
    if elements is None or sys.byteorder != "little" or elements.pixels_at == 0:
        return None
    syntax, length = elements.syntax, elements.pixels_length
    color = layout.samples == 3 and layout.photometric in ("RGB", "YBR_FULL")
    grey = layout.samples == 1
    if syntax in (EXPLICIT, IMPLICIT):
        if not (grey or (color and layout.planar in (0, 1))):
            return None
        if (elements.pixels_tag == PIXEL_DATA) == layout.is_float:
            return None
        wanted = stored_size(layout)
        if not wanted <= length < UNDEFINED or elements.pixels_at + wanted > elements.size:
            return None
        return Span(elements.pixels_at, length, syntax)
    by_bytes = syntax == RLE and (grey or color)
    if not by_bytes and not (syntax in JPEG_LOSSLESS + JPEG_LS and grey and layout.bits < 32):
        return None
    if layout.bits not in (8, 16, 32) or length != UNDEFINED:
        return None
    return Span(elements.pixels_at, elements.size - elements.pixels_at, syntax)


def find_span(path: Path, layout: PixelLayout) -> Span | None:
    """Return where the pixels of a file lie, None when the quick way does not know their kind."""
    return span_of(read_elements(path, ()), layout)


def quick_frames(path: Path, layout: PixelLayout, span: Span) -> QuickFrames:
    """Open the frames of a file that ``span_of`` knows.

    Raises:
        NotQuick: when the capsule is odd.
    """
    if span.syntax in (EXPLICIT, IMPLICIT):
        return PackedFrames(path, layout, span.at) if layout.bits == 1 else PlainFrames(path, layout, span.at)
    try:
        with open(path, "rb") as file:
            file.seek(span.at)
            capsule = file.read(span.length)
        encoded = tuple(generate_frames(capsule, number_of_frames=layout.frames))
    except CODEC_ERRORS as error:
        raise NotQuick from error
    if len(encoded) != layout.frames:
        raise NotQuick
    return CapsuleFrames(encoded, layout, span.syntax, path.name)


@dataclass(frozen=True)
class PlainFrames:
    """Uncompressed little-endian frames of one file."""

    path: Path
    layout: PixelLayout
    at: int

    @property
    def count(self) -> int:
        """Number of frames."""
        return self.layout.frames

    def stored(self, index: int) -> Array:
        """Return one frame."""
        layout = self.layout
        shape = layout.frame_shape
        if layout.samples == 3 and layout.planar == 1:
            shape = (layout.samples, layout.rows, layout.columns)
        out = np.empty(shape, layout.stored_type)
        self.read_into(index, out)
        return np.moveaxis(out, 0, -1) if shape != layout.frame_shape else out

    def read_into(self, index: int, out: Array) -> None:
        """Read one frame into contiguous memory of its size.

        Args:
            index: number of the frame.
            out: of the stored type or another of the same size.

        Raises:
            FileRefused: when the file ends before the frame.
        """
        _read_into(self.path, self.at + index * self.layout.frame_bytes, memoryview(out).cast("B"))
        settle_bits(out.view(self.layout.stored_type), self.layout)


@dataclass(frozen=True)
class PackedFrames:
    """Uncompressed frames of single bits, the first pixel lowest; frames need not begin with a byte."""

    path: Path
    layout: PixelLayout
    at: int

    @property
    def count(self) -> int:
        """Number of frames."""
        return self.layout.frames

    def stored(self, index: int) -> Array:
        """Return one frame, a byte per pixel."""
        pixels = self.layout.rows * self.layout.columns
        first, spare = divmod(index * pixels, 8)
        packed = np.empty((spare + pixels + 7) // 8, np.uint8)
        _read_into(self.path, self.at + first, memoryview(packed))
        return np.unpackbits(packed, bitorder="little")[spare : spare + pixels].reshape(
            self.layout.frame_shape
        )


def _read_into(path: Path, at: int, view: memoryview) -> None:
    with FileIO(path) as file:
        file.seek(at)
        done = 0
        while done < len(view):
            count = file.readinto(view[done:])
            if not count:
                raise FileRefused(f"{path.name} is cut short in its pixels.")
            done += count


@dataclass(frozen=True)
class CapsuleFrames:
    """Losslessly compressed frames, still encoded."""

    encoded: tuple[bytes, ...]
    layout: PixelLayout
    syntax: str
    name: str

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.encoded)

    def stored(self, index: int) -> Array:
        """Return one frame, decoded."""
        data, layout = self.encoded[index], self.layout
        check_codestream(data, layout, self.name)
        try:
            if self.syntax == RLE:
                frame = _decode_rle(data, layout)
            elif self.syntax in JPEG_LS:
                return _decode_jpeg_ls(data, layout)
            else:
                frame = _decode_jpeg_lossless(data, layout)
        except CODEC_ERRORS as error:
            raise NotQuick from error
        settle_bits(frame, layout)
        return frame


def _decode_rle(data: bytes, layout: PixelLayout) -> Array:
    """Decode one frame of byte planes (PS3.5 Annex G); the highest byte of the first sample comes first."""
    count, *offsets = RLE_HEADER.unpack_from(data)
    size = layout.itemsize
    if count != size * layout.samples:
        raise NotQuick
    ends = [*offsets[1:count], len(data)]
    pixels = layout.rows * layout.columns
    out = np.empty((pixels, layout.samples, size), np.uint8)
    for number in range(count):
        segment = data[offsets[number] : ends[number]]
        plane = imagecodecs.packbits_decode(segment, out=pixels + RLE_SLACK)
        if len(plane) < pixels:
            raise NotQuick
        sample, byte = divmod(number, size)
        out[:, sample, size - 1 - byte] = np.frombuffer(plane, np.uint8, pixels)
    return out.view(layout.stored_type).reshape(layout.frame_shape)


def _decode_jpeg_lossless(data: bytes, layout: PixelLayout) -> Array:
    start = jpeg_frame(data)
    if start is None or data[start - 3] != LOSSLESS_FRAME:
        raise NotQuick
    return _as_stored(imagecodecs.jpeg8_decode(data), layout)


def _decode_jpeg_ls(data: bytes, layout: PixelLayout) -> Array:
    """Decode JPEG-LS, which knows no sign: the highest of the bits in the stream is it (PS3.5 8.2.3)."""
    start = jpeg_frame(data)
    if start is None:
        raise NotQuick
    frame = _as_stored(imagecodecs.jpegls_decode(data), layout)
    if layout.is_signed:
        spare = 8 * layout.itemsize - data[start]  # precision
        np.left_shift(frame, spare, out=frame)
        np.right_shift(frame, spare, out=frame)
    return frame


def _as_stored(decoded: Array, layout: PixelLayout) -> Array:
    if decoded.shape != layout.frame_shape or decoded.dtype.kind != "u":
        raise NotQuick
    if decoded.dtype.itemsize == layout.itemsize:
        return decoded.view(layout.stored_type)
    if decoded.dtype.itemsize > layout.itemsize:
        raise NotQuick
    return decoded.astype(layout.stored_type)


def settle_bits(frame: Array, layout: PixelLayout) -> None:
    """Drop what stands in bits that are no part of the value, and extend the sign, in place (PS3.5 8.1.1)."""
    if layout.is_float or layout.bits_stored == layout.bits:
        return
    if layout.high_bit == layout.bits_stored - 1:
        low, high = (-(2 ** (layout.bits_stored - 1)), 2 ** (layout.bits_stored - 1))
        if not layout.is_signed:
            low, high = 0, 2**layout.bits_stored
        if (low == 0 or frame.min() >= low) and frame.max() < high:
            return
    np.left_shift(frame, layout.bits - 1 - layout.high_bit, out=frame)
    np.right_shift(frame, layout.bits - layout.bits_stored, out=frame)
