"""Frames of a DICOM file as they are stored, whatever its encoding: decoded, but not yet made physical."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from core.errors import FileRefused
from core.imaging.dicom_codestream import (
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LS,
    check_codestream,
    jpeg_frame,
)
from core.imaging.dicom_elements import RLE
from core.imaging.dicom_header import Header, read_dataset, transfer_syntax
from core.imaging.dicom_layout import DEFLATED, NATIVE, PixelLayout, stored_size
from core.imaging.dicom_quick import settle_bits
from core.imaging.dicom_video import VIDEO, video_frames
from core.types import Array

ALWAYS_LOSSY = frozenset((JPEG_BASELINE, JPEG_EXTENDED, *VIDEO))
# One codec each. GDCM, which pydicom would ask first, ends the process on some valid depths.
PLUGINS = {
    JPEG_BASELINE: "pillow",
    JPEG_EXTENDED: "pillow",
    RLE: "pydicom",
    **dict.fromkeys(JPEG_LS, "pyjpegls"),
    **dict.fromkeys(JPEG_2000, "pylibjpeg"),
}
OWN_SIGN = JPEG_LS + JPEG_2000  # their streams say how many bits count; the header does not


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
    start = jpeg_frame(data)
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
