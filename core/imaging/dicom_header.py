"""DICOM headers: opened within bounds, checked against the limits; only facts that name nobody leave here."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from core.errors import FileRefused
from core.imaging.dicom_elements import read_elements, tag_of
from core.imaging.dicom_layout import NATIVE, PixelLayout, check_size, declared_size, pixel_layout
from core.imaging.limits import refusing
from core.settings import Settings

PREAMBLE = 132
INFLATED_HEADER_BYTES = 2**24  # far above any real header; the pixels are counted on top
MAX_META_BYTES = 2**16
MAX_ELEMENTS = (
    20_000  # at the top level; real files have some hundreds, and each costs a thousand times its bytes
)
SERIES_KEYWORDS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
SERIES_TAGS = tuple(tag_of(Tag(keyword)) for keyword in SERIES_KEYWORDS)
# A file without the DICM mark must have one of these to be taken for DICOM.
SOME_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality", "Rows")
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
    ("1.2.840.10008.5.1.4.1.1.66.1", "is a DICOM registration, which moves other images; add those"),
    (
        "1.2.840.10008.5.1.4.1.1.66.2",
        "is a DICOM fiducials object, which marks points in other images; add those",
    ),
    ("1.2.840.10008.5.1.4.1.1.66.3", "is a DICOM registration, which moves other images; add those"),
    (
        "1.2.840.10008.5.1.4.1.1.66.5",
        "is a DICOM surface segmentation, which holds no pixels; add the images",
    ),
    ("1.2.840.10008.5.1.4.1.1.66.6", "is a DICOM tractography, which holds no pixels; add the images"),
    ("1.2.840.10008.5.1.4.1.1.88.", "is a structured report, not an image"),
    ("1.2.840.10008.5.1.4.1.1.481.3", "is a set of radiotherapy contours (RTSTRUCT), not an image"),
    ("1.2.840.10008.5.1.4.1.1.481.5", "is a radiotherapy plan, not an image"),
    ("1.2.840.10008.5.1.4.1.1.481.8", "is a radiotherapy plan, not an image"),
    ("1.2.840.10008.5.1.4.1.1.9.", "is a waveform such as an ECG, not an image"),
    ("1.2.840.10008.5.1.4.1.1.11.", "is a presentation state, which describes other images"),
    ("1.2.840.10008.5.1.4.1.1.104.", "is a document inside DICOM, not an image"),
)


SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # bits or shares; label map


class IsSegmentation(FileRefused):
    """The file is a DICOM segmentation, which marks other images."""


@dataclass(frozen=True)
class Header:
    """One DICOM image file whose header passed the checks.

    Attributes:
        layout: what it says about its pixels.
        parsed: the elements before the pixels; None when it is one of many alike and they are read again.
    """

    path: Path
    layout: PixelLayout
    parsed: Dataset | None = None

    @property
    def dataset(self) -> Dataset:
        """The elements before the pixels."""
        return self.parsed if self.parsed is not None else _open(self.path, with_pixels=False)


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
    return _read_checked(path, settings, segmentation=False)


def read_segmentation_header(path: Path, settings: Settings) -> Header:
    """Read and check everything but the pixels of a DICOM segmentation.

    Raises:
        FileRefused: when the file is none, is damaged, or asks for more than the limits allow.
    """
    return _read_checked(path, settings, segmentation=True)


def is_segmentation(path: Path) -> bool:
    """True when the file is a DICOM segmentation; False for anything else, also when it is damaged."""
    if not is_dicom(path):
        return False
    _quiet_pydicom()
    try:
        with refusing(path.name):
            return _open(path, with_pixels=False, tags=("SOPClassUID",)).get("SOPClassUID") in SEGMENTATIONS
    except FileRefused:
        return False


def _read_checked(path: Path, settings: Settings, segmentation: bool) -> Header:
    _quiet_pydicom()
    with refusing(path.name):
        size = path.stat().st_size
        dataset = _open(path, with_pixels=False)
        try:
            _check_kind(dataset, path.name)
        except IsSegmentation:
            if not segmentation:
                raise
        else:
            if segmentation:
                raise FileRefused(f"{path.name} is no DICOM segmentation.")
        layout = pixel_layout(dataset, path.name)
        check_size(layout, transfer_syntax(dataset), size, path.name, settings)
        return Header(path, layout, dataset)


def series_key(path: Path) -> str:
    """Return what files of one series have in common: patient, study, series; the path where none is."""
    _quiet_pydicom()
    with refusing(path.name):
        elements = read_elements(path, SERIES_TAGS)
        texts = [elements.text(tag) for tag in SERIES_TAGS] if elements else [None]
        if None not in texts:
            return "|".join(map(str, texts)) if texts[-1] else str(path)
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
    times = dataset.get("FrameTimeVector")
    if "FrameTime" not in facts and isinstance(times, pydicom.multival.MultiValue) and len(times) > 1:
        with suppress(TypeError, ValueError):
            mean = sum(map(float, times[1:])) / (len(times) - 1)  # the first is no interval
            facts["FrameTime"] = f"{mean:.6g}"
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
        declared = declared_size(pixel_layout(_parse(plain, with_pixels=False), path.name))
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
    if sop_class in SEGMENTATIONS:
        raise IsSegmentation(
            f"{name} is a DICOM segmentation, which marks other images; import it together with those."
        )
    for prefix, sentence in NOT_IMAGES:
        if sop_class.startswith(prefix):
            raise FileRefused(f"{name} {sentence}.")
    marked = getattr(dataset, "preamble", None) is not None
    if len(dataset) == 0 or not (marked or any(dataset.get(keyword) for keyword in SOME_KEYWORDS)):
        raise FileRefused(f"{name} is not a DICOM file, or nothing of it is left.")
    if any(dataset.get(keyword) is None for keyword in ("Rows", "Columns", "BitsAllocated")):
        raise FileRefused(f"{name} is a DICOM object without an image in it.")
