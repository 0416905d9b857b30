"""Frames of a DICOM file as they are stored: decoded, but not yet made physical.

Most files go a quick way: uncompressed frames are read straight to where they are wanted, and lossless streams
go through codecs that leave Python free, so that several frames are decoded at once. Whatever is unusual goes
through pydicom; both ways give the same values.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from core.errors import FileRefused
from core.imaging.dicom_elements import EXPLICIT, IMPLICIT, PIXEL_DATA, RLE, UNDEFINED, Elements
from core.imaging.dicom_header import Header, read_dataset, transfer_syntax
from core.imaging.dicom_layout import DEFLATED, NATIVE, PixelLayout, stored_size
from core.imaging.dicom_video import VIDEO, video_frames
from core.types import Array

JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
ALWAYS_LOSSY = frozenset(("1.2.840.10008.1.2.4.50", JPEG_EXTENDED, *VIDEO))
JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))
# One codec each. GDCM, which pydicom would ask first, ends the process on some valid depths.
PLUGINS = {
    "1.2.840.10008.1.2.4.50": "pillow",
    JPEG_EXTENDED: "pillow",
    RLE: "pydicom",
    **dict.fromkeys(JPEG_LS, "pyjpegls"),
    **dict.fromkeys(JPEG_2000, "pylibjpeg"),
}
OWN_SIGN = JPEG_LS + JPEG_2000  # their streams say how many bits count; the header does not
RLE_HEADER = struct.Struct("<16L")
LOSSLESS_FRAME = 0xC3  # marker SOF3, ITU-T T.81 table B.1
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
    with open(path, "rb", buffering=0) as file:
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
    start = _jpeg_frame(data)
    if start is None or data[start - 3] != LOSSLESS_FRAME:
        raise NotQuick
    return _as_stored(imagecodecs.jpeg8_decode(data), layout)


def _decode_jpeg_ls(data: bytes, layout: PixelLayout) -> Array:
    """Decode JPEG-LS, which knows no sign: the highest of the bits in the stream is it (PS3.5 8.2.3)."""
    start = _jpeg_frame(data)
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


def slow_frames(header: Header) -> Iterator[tuple[Array, str]]:
    """Decode every frame through pydicom, without its colour conversion.

    Returns:
        Each frame in the file's byte order, and how its colours are meant.

    Raises:
        FileRefused: when the encoding is not known here or lies about its size.
    """
    dataset = read_dataset(header)
    syntax, layout = transfer_syntax(dataset), header.layout
    if syntax in VIDEO:
        for picture in video_frames(dataset, layout.rows, layout.columns, header.path.name):
            yield picture, "RGB"
        return
    _check_pixels(dataset, syntax, header)
    if syntax in JPEG_LOSSLESS or (syntax == JPEG_EXTENDED and layout.bits == 16):
        for data in generate_frames(dataset.PixelData, number_of_frames=layout.frames):
            yield _decode_jpeg(data, layout, header.path.name), _jpeg_photometric(data, layout)
        return
    _complete(dataset, syntax)
    # pydicom takes it that the value ends right below the spare bits; elsewhere only settle_bits knows it.
    elsewhere = syntax not in OWN_SIGN and layout.high_bit != layout.bits_stored - 1
    for frame, photometric in _through_pydicom(dataset, syntax, layout, not elsewhere):
        if elsewhere:
            frame = np.array(frame)
            settle_bits(frame, layout)
        yield frame, photometric


def _through_pydicom(
    dataset: Dataset, syntax: str, layout: PixelLayout, settle: bool
) -> Iterator[tuple[Array, str]]:
    decoder, plugin = get_decoder(syntax), PLUGINS.get(syntax, "")
    settle = settle and syntax not in OWN_SIGN
    if layout.frames == 1 or syntax in JPEG_2000 or (layout.bits == 1 and layout.rows * layout.columns % 8):
        # Frame by frame, pydicom 3.0 fails on JPEG 2000 whose signedness differs from the header's, and on bits of
        # frames that share a byte.
        options: Any = {"allow_excess_frames": False, "correct_unused_bits": settle}
        array, properties = decoder.as_array(dataset, raw=True, decoding_plugin=plugin, **options)
        frames = array if layout.frames > 1 else array[np.newaxis]
        yield from ((frame, str(properties["photometric_interpretation"])) for frame in frames)
        return
    for frame, properties in decoder.iter_array(
        dataset, raw=True, decoding_plugin=plugin, allow_excess_frames=False, correct_unused_bits=settle
    ):
        yield frame, str(properties["photometric_interpretation"])


def _decode_jpeg(data: bytes, layout: PixelLayout, name: str) -> Array:
    """Decode lossless JPEG, or lossy JPEG of 12 bits: pydicom's permissively licensed plug-ins read neither."""
    as_it_is = None if layout.samples == 1 else "RGB"
    frame = imagecodecs.jpeg8_decode(data, colorspace=as_it_is, outcolorspace=as_it_is)
    if frame.shape != layout.frame_shape or frame.dtype.itemsize > layout.itemsize:
        raise FileRefused(
            f"{name} holds a picture of shape {frame.shape}, its header says {layout.frame_shape}."
        )
    frame = frame.astype(layout.stored_type)
    settle_bits(frame, layout)
    return frame


def _jpeg_photometric(data: bytes, layout: PixelLayout) -> str:
    """Return how the colours of a JPEG stream are meant: what the stream says counts more than the header."""
    start = _jpeg_frame(data)
    if layout.samples != 3 or start is None:
        return layout.photometric
    components = data[start + 6 : start + 15 : 3]
    if components in (b"RGB", b"rgb"):
        return "RGB"
    return "YBR_FULL" if data[6:10] == b"JFIF" and layout.photometric == "RGB" else layout.photometric


def _check_pixels(dataset: Dataset, syntax: str, header: Header) -> None:
    """Refuse an encoding that no codec here reads, pixels cut short, and streams larger than the header says."""
    name, layout = header.path.name, header.layout
    if syntax not in (*NATIVE, DEFLATED, *JPEG_LOSSLESS, *PLUGINS):
        raise FileRefused(f"{name} is compressed in a way that cannot be read here ({syntax}).")
    if syntax not in (*NATIVE, DEFLATED):
        for data in generate_frames(dataset.PixelData, number_of_frames=layout.frames):
            check_codestream(data, layout, name)
    elif "PixelData" in dataset and len(dataset.PixelData) < stored_size(layout):
        raise FileRefused(
            f"{name} is cut short: it has {len(dataset.PixelData)} bytes of pixels, not {stored_size(layout)}."
        )


def _complete(dataset: Dataset, syntax: str) -> None:
    """Fill in what pydicom asks for and files leave out."""
    if "file_meta" not in dataset.__dict__ or not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.ensure_file_meta()
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.setdefault("SamplesPerPixel", 1)


def check_codestream(data: bytes, layout: PixelLayout, name: str) -> None:
    """Refuse a JPEG or JPEG 2000 stream that is larger than the header says: codecs obey the stream."""
    size = codestream_size(data)
    if size is not None and size[0] * size[1] > 2 * layout.rows * layout.columns + 65536:
        raise FileRefused(
            f"{name} hides a picture of {size[0]} x {size[1]} pixels behind a header of "
            f"{layout.rows} x {layout.columns}; it was not decoded."
        )


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) written in a JPEG, JPEG-LS or JPEG 2000 stream, None for other data.

    Source: ITU-T T.81 B.2.2 (SOFn), T.87 C.2.2 (SOF55), T.800 A.5.1 (SIZ).
    """
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start >= 0 and len(data) >= start + 24:
        x_end, y_end, x_start, y_start = struct.unpack(">4L", data[start + 8 : start + 24])
        return y_end - y_start, x_end - x_start
    frame = _jpeg_frame(data)
    return None if frame is None else struct.unpack(">HH", data[frame + 1 : frame + 5])


def _jpeg_frame(data: bytes) -> int | None:
    """Return where the content of a JPEG stream's frame header begins: precision, rows, columns."""
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return at + 4
        at += 1 if marker == 0xFF else 2 + length
    return None
