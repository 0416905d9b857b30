"""DICOM headers: opened within bounds, checked against the limits; only facts that name nobody leave here."""

from __future__ import annotations

import logging
import math
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from core.errors import FileRefused
from core.imaging.limits import (
    CODEC_MAX_RATIO,
    DEFLATE_MAX_RATIO,
    HARMLESS_BYTES,
    RLE_MAX_RATIO,
    check_declared_size,
    check_ratio,
    declared_bytes,
    refusing,
)
from core.settings import Settings

PREAMBLE = 132
INFLATED_HEADER_BYTES = 2**24  # far above any real header; the pixels are counted on top
MAX_META_BYTES = 2**16
MAX_ELEMENTS = (
    20_000  # at the top level; real files have some hundreds, and each costs a thousand times its bytes
)
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
SERIES_KEYWORDS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

# Facts about the device and the picture. No free text (descriptions, comments, protocol names), no dates, no
# identifiers: those may name a person (PS3.15, Annex E lists them for cleaning).
METADATA_KEYWORDS = (
    "Manufacturer", "ManufacturerModelName", "BodyPartExamined", "ViewPosition", "Laterality",
    "ImageLaterality", "PatientPosition", "KVP", "XRayTubeCurrent", "ExposureTime", "ConvolutionKernel",
    "SliceThickness", "MagneticFieldStrength", "ScanningSequence", "SequenceVariant", "MRAcquisitionType",
    "EchoTime",
    "RepetitionTime", "InversionTime", "FlipAngle", "EchoNumbers", "FrameTime", "CineRate",
    "RecommendedDisplayFrameRate", "TransducerType", "Units", "PhotometricInterpretation", "BitsStored",
    "LossyImageCompression",
)  # fmt: skip

NOT_IMAGES = (
    (
        "1.2.840.10008.1.3.10",
        "is the index of a DICOM disc (DICOMDIR); the images beside it are read without it",
    ),
    (
        "1.2.840.10008.5.1.4.1.1.66.",
        "is a DICOM segmentation or registration, which marks other images; add those",
    ),
    ("1.2.840.10008.5.1.4.1.1.88.", "is a structured report, not an image"),
    ("1.2.840.10008.5.1.4.1.1.481.3", "is a set of radiotherapy contours (RTSTRUCT), not an image"),
    ("1.2.840.10008.5.1.4.1.1.481.5", "is a radiotherapy plan, not an image"),
    ("1.2.840.10008.5.1.4.1.1.481.8", "is a radiotherapy plan, not an image"),
    ("1.2.840.10008.5.1.4.1.1.9.", "is a waveform such as an ECG, not an image"),
    ("1.2.840.10008.5.1.4.1.1.11.", "is a presentation state, which describes other images"),
    ("1.2.840.10008.5.1.4.1.1.104.", "is a document inside DICOM, not an image"),
)


@dataclass(frozen=True)
class PixelLayout:
    """What a header says about its pixels; sizes are positive and within the limits."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits: int
    photometric: str

    @property
    def is_color(self) -> bool:
        """True when the decoded image is RGB."""
        return self.samples == 3 or self.photometric == "PALETTE COLOR"

    @property
    def itemsize(self) -> int:
        """Bytes per stored value."""
        return max(1, self.bits // 8)


@dataclass(frozen=True)
class Header:
    """One DICOM image file whose header passed the checks."""

    path: Path
    dataset: Dataset
    layout: PixelLayout


def is_dicom(path: Path) -> bool:
    """True when the file's content says DICOM: the DICM mark, or a plausible first element without one."""
    with open(path, "rb") as file:
        start = file.read(PREAMBLE)
        size = file.seek(0, 2)
    return start[128:] == b"DICM" or _starts_with_element(start, size)


def _starts_with_element(start: bytes, size: int) -> bool:
    """Recognise files written without preamble by their first element, in group 0002 or 0008."""
    if len(start) < 16:
        return False
    group, element, length = struct.unpack("<HHL", start[:8])
    if group not in (2, 8) or element > 0x18 or (element % 2 and element not in (1, 5)):
        return False
    return start[4:6].decode("latin-1") in ("UL", "UI", "OB", "CS", "DA", "LO", "SH", "ST") or length < min(
        size, 256
    )


def read_header(path: Path, settings: Settings) -> Header:
    """Read and check everything but the pixels.

    Raises:
        FileRefused: when the file is not a DICOM image, is damaged, or asks for more than the limits allow.
    """
    _quiet_pydicom()
    with refusing(path.name):
        size = path.stat().st_size
        dataset = _open(path, with_pixels=False)
        _check_kind(dataset, path.name)
        layout = _pixel_layout(dataset, path.name)
        _check_size(dataset, layout, size, path.name, settings)
        return Header(path, dataset, layout)


def series_key(path: Path) -> str:
    """Return what files of one series have in common: patient, study, series; the path where none is."""
    _quiet_pydicom()
    with refusing(path.name):
        dataset = _open(path, with_pixels=False, tags=SERIES_KEYWORDS)
        if not dataset.get("SeriesInstanceUID"):
            return str(path)
        return "|".join(str(dataset.get(keyword) or "") for keyword in SERIES_KEYWORDS)


def read_object(path: Path, with_pixels: bool) -> Dataset:
    """Read any DICOM object, image or not, within the bounds that images are read in.

    Raises:
        FileRefused: when it is damaged or no DICOM object.
    """
    _quiet_pydicom()
    with refusing(path.name):
        dataset = _open(path, with_pixels)
        if len(dataset) == 0:
            raise FileRefused(f"{path.name} is not a DICOM file, or nothing of it is left.")
        return dataset


def read_dataset(header: Header) -> Dataset:
    """Read the whole file whose header was checked.

    Raises:
        FileRefused: when its pixels are missing.
    """
    dataset = _open(header.path, with_pixels=True)
    if not any(keyword in dataset for keyword in PIXEL_KEYWORDS):
        raise FileRefused(
            f"{header.path.name} holds no pixels; it is damaged or only a description of an image."
        )
    return dataset


def transfer_syntax(dataset: Dataset) -> str:
    """Return how the pixels are encoded; files that do not say are taken as uncompressed."""
    meta = getattr(dataset, "file_meta", None)
    named = str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
    if named:
        return named
    implicit, little = dataset.original_encoding
    if not little:
        return NATIVE[2]
    return NATIVE[0] if implicit else NATIVE[1]


def metadata_of(dataset: Dataset) -> dict[str, str]:
    """Return the facts that name nobody, as short text."""
    facts = {}
    for keyword in METADATA_KEYWORDS:
        value = dataset.get(keyword)
        if value is None or value == "":
            continue
        parts = value if isinstance(value, pydicom.multival.MultiValue) else [value]
        facts[keyword] = ", ".join(str(part) for part in parts)[:64]
    return facts


def _quiet_pydicom() -> None:
    """Keep pydicom from printing traces and warnings about files that get a sentence of their own."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module="pydicom")


def _open(path: Path, with_pixels: bool, tags: tuple[str, ...] = ()) -> Dataset:
    with open(path, "rb") as file:
        start = file.read(MAX_META_BYTES)
        if _body_offset(start) >= MAX_META_BYTES:
            raise FileRefused(f"{path.name} has a damaged file header.")
        if _is_deflated(path, start):
            dataset = _parse(_inflate(path, start, with_pixels), with_pixels, tags)
            dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
            return dataset
        file.seek(0)
        return _parse(file, with_pixels, tags)


def _parse(file: BinaryIO | DicomBytesIO, with_pixels: bool, tags: tuple[str, ...] = ()) -> Dataset:
    """Read the data set, up to the pixels or whole, and give up on endless lists of elements."""
    count = 0

    def stop_when(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS:
            raise ValueError(f"more than {MAX_ELEMENTS} elements")
        return not with_pixels and tag in PIXEL_TAGS

    start = file.read(MAX_META_BYTES)
    file.seek(0)
    at = _body_offset(start)
    if (
        start[at : at + 2] == b"\0\0"
    ):  # network commands have no place in files, and pydicom reads them without end
        raise ValueError("group 0000")
    wanted: list[BaseTag | int] = [Tag(keyword) for keyword in tags]
    return read_partial(file, stop_when, force=True, specific_tags=wanted or None)  # type: ignore[arg-type]


def _is_deflated(path: Path, start: bytes) -> bool:
    """True for deflated files, which pydicom would inflate without any bound.

    Raises:
        FileRefused: for such a file without the DICM mark.
    """
    if DeflatedExplicitVRLittleEndian.encode() not in start:
        return False
    if start[128:132] != b"DICM":
        raise FileRefused(f"{path.name} is a deflated DICOM file without its mark; it was not opened.")
    return read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian


def _body_offset(start: bytes) -> int:
    """Return where the data set begins, behind preamble and file meta elements (PS3.10, 7.1)."""
    at = PREAMBLE if start[128:132] == b"DICM" else 0
    while start[at : at + 2] == b"\x02\0" and at + 12 <= len(start):
        long_form = start[at + 4 : at + 6] in (b"OB", b"OW", b"UN", b"SQ", b"UT")
        if long_form:
            at += 12 + int.from_bytes(start[at + 8 : at + 12], "little")
        else:
            at += 8 + int.from_bytes(start[at + 6 : at + 8], "little")
    return at


def _inflate(path: Path, start: bytes, with_pixels: bool) -> DicomBytesIO:
    """Return a deflated file as a plain one: the header first, then no more than the header declares."""
    body = path.read_bytes()[_body_offset(start) :]
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = DicomBytesIO()
    plain.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(plain, _plain_meta(), enforce_standard=False)
    plain.write(inflater.decompress(body, INFLATED_HEADER_BYTES))
    if with_pixels and not inflater.eof:
        plain.seek(0)
        declared = _declared(_pixel_layout(_parse(plain, with_pixels=False), path.name))
        plain.seek(0, 2)
        plain.write(inflater.decompress(inflater.unconsumed_tail, declared + INFLATED_HEADER_BYTES))
        if not inflater.eof:
            raise FileRefused(f"{path.name} is cut short or inflates to more than its header declares.")
    plain.seek(0)
    return plain


def _plain_meta() -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def _check_kind(dataset: Dataset, name: str) -> None:
    """Refuse DICOM objects that are no images, each with its own sentence."""
    meta = getattr(dataset, "file_meta", None) or Dataset()
    sop_class = str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
    for prefix, sentence in NOT_IMAGES:
        if sop_class.startswith(prefix):
            raise FileRefused(f"{name} {sentence}.")
    if len(dataset) == 0:
        raise FileRefused(f"{name} is not a DICOM file, or nothing of it is left.")
    if any(dataset.get(keyword) is None for keyword in ("Rows", "Columns", "BitsAllocated")):
        raise FileRefused(f"{name} is a DICOM object without an image in it.")


def _pixel_layout(dataset: Dataset, name: str) -> PixelLayout:
    layout = PixelLayout(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        frames=int(dataset.get("NumberOfFrames") or 1),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        bits=int(dataset.BitsAllocated),
        photometric=str(dataset.get("PhotometricInterpretation") or "MONOCHROME2"),
    )
    if layout.samples not in (1, 3):
        raise FileRefused(
            f"{name} has {layout.samples} values per pixel; only 1 (grey) and 3 (colour) can be read."
        )
    if layout.bits not in (1, 8, 16, 32, 64):
        raise FileRefused(f"{name} stores {layout.bits} bits per value, which no DICOM image does.")
    return layout


def _declared(layout: PixelLayout) -> int:
    """Bytes of the uncompressed pixels."""
    values = declared_bytes((layout.frames, layout.rows, layout.columns, layout.samples), 1)
    return math.ceil(values * layout.bits / 8)


def _check_size(dataset: Dataset, layout: PixelLayout, size: int, name: str, settings: Settings) -> None:
    samples = 3 if layout.is_color else layout.samples
    shape = (layout.frames, layout.rows, layout.columns, samples)
    check_declared_size(shape, layout.itemsize, name, settings)
    declared, syntax = _declared(layout), transfer_syntax(dataset)
    if syntax in NATIVE:
        stored = declared * 2 // 3 if layout.photometric == "YBR_FULL_422" else declared
        if stored > size:
            raise FileRefused(
                f"{name} is cut short: its header declares {stored} bytes of pixels, it has {size}."
            )
        return
    ratios = {
        str(RLELossless): (RLE_MAX_RATIO, 2**20),
        str(DeflatedExplicitVRLittleEndian): (DEFLATE_MAX_RATIO, 2**20),
    }
    ratio, harmless = ratios.get(syntax, (CODEC_MAX_RATIO, HARMLESS_BYTES))
    check_ratio(declared, size, ratio, name, harmless)
