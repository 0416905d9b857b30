"""Files made to do harm, written byte by byte: each function puts one into a folder and returns its path."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import tifffile
from PIL import Image as PILImage
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from tests.core.imaging.dicom_files import build, save

Make = Callable[[Path], Path]
Tag = tuple[int, int, int, int]  # number, type, count, value
MIB = 2**20


def zeros_deflated(n_mib: int) -> bytes:
    """Return raw deflate data of so many MiB of zeros, made in no time: one block, repeated."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = deflater.compress(b"\0" * MIB) + deflater.flush(zlib.Z_FULL_FLUSH)
    return block * n_mib + zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS).flush()


def gzip_of_zeros(n_mib: int, start: bytes = b"") -> bytes:
    """Return a gzip file of some bytes and so many MiB of zeros; its checksum is wrong."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = deflater.compress(start) + deflater.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\2\3" + first + zeros_deflated(n_mib) + b"\0" * 8


def raw(name: str, content: bytes | Callable[[], bytes]) -> Make:
    """Return a maker of a file with this content."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content() if callable(content) else content)
        return path

    return make


# DICOM


def dicom(name: str, syntax: str | None = None, data: bytes | None = None, **fields: object) -> Make:
    """Return a maker of an image object with these fields."""

    def make(folder: Path) -> Path:
        dataset = build(np.zeros((4, 4), np.uint16), **fields)
        if data is not None:
            dataset.PixelData = encapsulate([data]) if syntax else data
            dataset["PixelData"].is_undefined_length = bool(syntax)
        if syntax is not None:
            dataset.file_meta.TransferSyntaxUID = syntax
        return save(dataset, folder / f"{name}.dcm")

    return make


def dicom_with(name: str, extra: bytes, before_pixels: bool = False, **fields: object) -> Make:
    """Return a maker of a file with raw elements in front of, or behind, its pixels."""

    def make(folder: Path) -> Path:
        path = save(build(np.zeros((4, 4), np.uint16), **fields), folder / f"{name}.dcm")
        content = path.read_bytes()
        at = content.rindex(b"\xe0\x7f\x10\0OW") if before_pixels else len(content)
        path.write_bytes(content[:at] + extra + content[at:])
        return path

    return make


def nested_sequences(depth: int) -> bytes:
    """Return sequences inside sequences, each with one item, of unknown length."""
    start = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return start * depth + end * depth


def nested_sized(depth: int) -> bytes:
    """Return sequences inside sequences, each with its length."""
    content = b""
    for _ in range(depth):
        item = b"\xfe\xff\0\xe0" + struct.pack("<L", len(content)) + content
        content = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, len(item)) + item
    return content


def deflated_dicom(folder: Path) -> Path:
    """A deflated object of 1 GiB in 1 MB."""
    path = save(build(np.zeros((4, 4), np.uint16)), folder / "deflated-1GiB.dcm")
    content = path.read_bytes()
    start = 144 + struct.unpack("<L", content[140:144])[0]
    meta = content[:start].replace(b"1.2.840.10008.1.2.1\0", DeflatedExplicitVRLittleEndian.encode() + b"")
    body = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = body.compress(content[start:]) + body.flush(zlib.Z_FULL_FLUSH) + zeros_deflated(1024)
    grown = len(meta) - start
    meta = meta.replace(b"\2\0\x10\0UI\x14\0", b"\2\0\x10\0UI" + struct.pack("<H", 0x14 + grown))
    path.write_bytes(meta + packed)
    return path


def sized(start: bytes, marker: bytes, bits: int) -> bytes:
    """Return the start of a JPEG or JPEG-LS stream of 65500 x 65500 pixels."""
    frame = struct.pack(">HBHHB3B", 11, bits, 65500, 65500, 1, 1, 0x11, 0)
    return start + marker + frame + b"\xff\xda" + b"\0" * 600


J2K_SIZE = struct.pack(">HH8LH", 41, 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0, 1)
J2K_HUGE = b"\xff\x4f\xff\x51" + J2K_SIZE + b"\7\1\1" + b"\0" * 60
JPEG_HUGE = sized(b"\xff\xd8", b"\xff\xc0", 8)
JLS_HUGE = sized(b"\xff\xd8", b"\xff\xf7", 16)


def element(tag: int, vr: bytes, data: bytes, length: int | None = None) -> bytes:
    """Return an element in explicit little endian; its length may lie."""
    head, size = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr), len(data) if length is None else length
    if vr in (b"OB", b"UT", b"SQ"):
        return head + struct.pack("<HL", 0, size) + data
    return head + struct.pack("<H", size) + data


def number_text(number: str, count: int) -> bytes:
    """Return a number written so many times, as DICOM writes several."""
    text = "\\".join([number] * count)
    return (text + " " * (len(text) % 2)).encode()


DICOM: dict[str, Make] = {
    "rle-65535": dicom("rle-65535", RLELossless, b"\0" * 64, Rows=65535, Columns=65535),
    "rle-16000": dicom("rle-16000", RLELossless, b"\1" + b"\0" * 63 + b"\x81\0" * 500, Rows=16000, Columns=16000),
    "frames": dicom("frames", JPEG2000Lossless, b"\0" * 90, Rows=512, Columns=512, NumberOfFrames=2**31 - 1),
    "j2k-stream": dicom("j2k-stream", JPEG2000Lossless, J2K_HUGE),
    "jpeg-stream": dicom("jpeg-stream", JPEGBaseline8Bit, JPEG_HUGE, BitsAllocated=8, BitsStored=8, HighBit=7),
    "jls-stream": dicom("jls-stream", JPEGLSLossless, JLS_HUGE),
    "native-short": dicom("native-short", Rows=60000, Columns=2000),
    "no-rows": dicom("no-rows", Rows=0),
    "no-columns": dicom("no-columns", Columns=0, PixelData=b""),
    "bits-7": dicom("bits-7", BitsAllocated=7),
    "bits-0": dicom("bits-0", BitsAllocated=0, BitsStored=0),
    "stored-more": dicom("stored-more", BitsStored=60, HighBit=70),
    "samples-0": dicom("samples-0", SamplesPerPixel=65535),
    "frames-negative": dicom("frames-negative", NumberOfFrames="-5"),
    "deflated": deflated_dicom,
    "nested-front": dicom_with("nested-front", nested_sequences(20_000), before_pixels=True),
    "length-huge": dicom_with("length-huge", element(0x110010, b"OB", b"", 0xFFFFFFF0), before_pixels=True),
    "elements": dicom_with("elements", element(0x7FE10010, b"LO", b"") * MIB, before_pixels=True),
    "cut-sequence": dicom_with("cut-sequence", nested_sequences(50)[:600], before_pixels=True),
}  # fmt: skip

DICOM_EITHER: dict[str, Make] = {
    # What lies behind the pixels need not be looked at.
    "nested-behind": dicom_with("nested-behind", nested_sequences(20_000)),
    "length-text": dicom_with("length-text", element(0x7FE10010, b"UT", b"", 0x7FFFFFFE)),
    "nested-sized": dicom_with("nested-sized", nested_sized(3000), before_pixels=True),
}

# Numbers that are none. These may give an image, with what is not a number left out.
NUMBER_TAGS = {
    "spacing": (0x00280030, 2),
    "slope": (0x00281053, 1),
    "intercept": (0x00281052, 1),
    "width": (0x00281051, 1),
    "center": (0x00281050, 1),
    "position": (0x00200032, 3),
    "orientation": (0x00200037, 6),
    "thickness": (0x00180050, 1),
}
NO_NUMBERS = ("nan", "inf", "-inf", "1e999", "-1e308", "0", "-3", "1e-320", "abc")
DICOM_NUMBERS: dict[str, Make] = {
    f"{name}-{number}": dicom_with(f"{name}-{number}", element(tag, b"DS", number_text(number, count)), True)
    for name, (tag, count) in NUMBER_TAGS.items()
    for number in NO_NUMBERS
}


# NIfTI and its relatives


def nifti(
    name: str, edits: dict[str, object], body: bytes = b"\0" * 512, packed: bool = False, two: bool = False
) -> Make:
    """Return a maker of a file whose header fields were set to what they may not be."""

    def make(folder: Path) -> Path:
        header = nibabel.Nifti2Header() if two else nibabel.Nifti1Header()
        header.set_data_dtype(np.int16)
        header.set_data_shape((4, 4, 4))
        header["magic"] = b"n+2" if two else b"n+1"
        header["vox_offset"] = 544 if two else 352
        with np.errstate(all="ignore"):
            for field, value in edits.items():
                header[field] = value
        content = header.binaryblock + b"\0" * 4 + body
        path = folder / (f"{name}.nii.gz" if packed else f"{name}.nii")
        path.write_bytes(gzip.compress(content) if packed else content)
        return path

    return make


def dim(*sizes: int) -> dict[str, object]:
    """Return the header's dim field."""
    return {"dim": [*sizes, *[1] * (8 - len(sizes))]}


def _with_extension() -> bytes:
    """Return a volume behind an extension of 2 GB."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((4, 4, 4))
    header["magic"], header["vox_offset"] = b"n+1", 2**31 - 1
    return header.binaryblock + b"\1\0\0\0" + struct.pack("<ll", 2**31 - 16, 6) + b"\0" * 512


def gz_nifti_19_gb(folder: Path) -> Path:
    """A volume of 19 GB of zeros in 19 MB."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((2000, 2000, 2400))
    header["magic"], header["vox_offset"] = b"n+1", 352
    path = folder / "zeros-19GB.nii.gz"
    path.write_bytes(gzip_of_zeros(18_400, header.binaryblock + b"\0" * 4))
    return path


def gz_of_zeros(folder: Path) -> Path:
    """A gzip file of 4 GiB of zeros that is no volume."""
    path = folder / "zeros.nii.gz"
    path.write_bytes(gzip_of_zeros(4096))
    return path


def mgz(folder: Path) -> Path:
    """A FreeSurfer volume of 2**93 voxels."""
    path = folder / "huge.mgz"
    path.write_bytes(
        gzip.compress(struct.pack(">7l", 1, 2**31 - 1, 2**31 - 1, 2**31 - 1, 1, 3, 0) + b"\0" * 300)
    )
    return path


def lonely_header(folder: Path) -> Path:
    """An Analyze header whose pixels are missing."""
    path = folder / "lonely.hdr"
    path.write_bytes(nibabel.AnalyzeHeader().binaryblock)
    return path


NIFTI: dict[str, Make] = {
    "4-gb": nifti("4-gb", dim(3, 2000, 1000, 1000), b""),
    "4-gb-gz": nifti("4-gb-gz", dim(3, 2000, 1000, 1000), b"", packed=True),
    "2-overflow": nifti("2-overflow", {"dim": [3, 2**62, 2**62, 2**62, 1, 1, 1, 1]}, two=True),
    "2-wraps-to-0": nifti("2-wraps-to-0", {"dim": [3, 2**32, 2**32, 1, 1, 1, 1, 1]}, two=True),
    "zero": nifti("zero", dim(3, 0, 4, 4)),
    "negative": nifti("negative", dim(3, -4, 4, 4)),
    "dims-0": nifti("dims-0", dim(0)),
    "dims-negative": nifti("dims-negative", dim(-3, 4, 4, 4)),
    "dims-99": nifti("dims-99", dim(99, 4, 4, 4)),
    "offset-nan": nifti("offset-nan", {"vox_offset": np.nan}),
    "offset-inf": nifti("offset-inf", {"vox_offset": np.inf}),
    "offset-negative": nifti("offset-negative", {"vox_offset": -1e6}),
    "offset-behind": nifti("offset-behind", {"vox_offset": 1e9}),
    "type": nifti("type", {"datatype": 77}),
    "complex": nifti("complex", {"datatype": 32, "bitpix": 64}),
    "extension": raw("extension.nii", lambda: _with_extension()),
    "sform-nan": nifti("sform-nan", {"sform_code": 1, "srow_x": [np.nan] * 4}),
    "qform-inf": nifti("qform-inf", {"qform_code": 1, "quatern_b": np.inf}),
    "zeros-19GB": gz_nifti_19_gb,
    "zeros-gz": gz_of_zeros,
    "mgz": mgz,
    "lonely": lonely_header,
}

NIFTI_NUMBERS: dict[str, Make] = {
    "slope-nan": nifti("slope-nan", {"scl_slope": np.nan}),
    "slope-inf": nifti("slope-inf", {"scl_slope": np.inf}),
    "inter-nan": nifti("inter-nan", {"scl_slope": 1, "scl_inter": np.nan}),
    "pixdim-nan": nifti("pixdim-nan", {"pixdim": [1] + [np.nan] * 7}),
    "pixdim-inf": nifti("pixdim-inf", {"pixdim": [1] + [np.inf] * 7}),
    "pixdim-0": nifti("pixdim-0", {"pixdim": [0] * 8}),
    "sform-0": nifti("sform-0", {"sform_code": 1}),
    "values-nan": nifti("values-nan", {"datatype": 16, "bitpix": 32}, struct.pack("<f", np.nan) * 64),
    "values-inf": nifti("values-inf", {"datatype": 64, "bitpix": 64}, struct.pack("<d", -np.inf) * 64),
    "values-1e300": nifti("values-1e300", {"datatype": 64, "bitpix": 64}, struct.pack("<d", 1e300) * 64),
}


# pictures


def png(width: int, height: int, data: bytes, extra: bytes = b"", depth: int = 8) -> bytes:
    """Return a grey PNG with any data in it."""
    head = struct.pack(">LLBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    """Return one PNG chunk; its length may lie."""
    size = len(data) if length is None else length
    return struct.pack(">L", size) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def zlib_of_zeros(n_mib: int) -> bytes:
    """Return a zlib stream of zeros; its checksum is wrong."""
    return b"\x78\xda" + zeros_deflated(n_mib) + b"\0" * 4


def tiff(tags: list[Tag], next_at: int = 0, tail: bytes = b"", count: int | None = None) -> bytes:
    """Return a TIFF file of one directory at byte 8: tags of (number, type, count, value)."""
    entries = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    directory = (
        struct.pack("<H", len(tags) if count is None else count) + entries + struct.pack("<L", next_at)
    )
    return b"II*\0" + struct.pack("<L", 8) + directory + tail


def grey_tags(
    width: int, height: int, offset: int = 8, n_bytes: int = 100, compression: int = 1
) -> list[Tag]:
    """Return the tags of a grey image in one strip."""
    return [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1),
        (273, 4, 1, offset), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, n_bytes),
    ]  # fmt: skip


def bmp(width: int, height: int, bits: int, compression: int) -> bytes:
    """Return a BMP without pixels."""
    head = struct.pack("<LllHHLLllLL", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<LHHL", 100, 0, 0, 54) + head


def deflated_tiff() -> bytes:
    """16000 x 16000 zeros in 250 kB: a believable picture."""
    data = zlib_of_zeros(250)
    return tiff(grey_tags(16000, 16000, 200, len(data), 8)).ljust(200, b"\0") + data


def laughing_ome() -> bytes:
    """An OME-TIFF whose description grows without bound when read."""
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(12))
    xml = f'<?xml version="1.0"?><!DOCTYPE OME [{entities}]><OME><Pixels PhysicalSizeX="&e11;"/></OME>'
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((4, 4), np.uint8), description=xml, metadata=None)
    return file.getvalue()


def animation(kind: str) -> bytes:
    """Return 40 frames of a moving picture."""
    frames = [PILImage.fromarray(np.full((20, 20), n * 5, np.uint8)).convert("P") for n in range(40)]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return file.getvalue()


def many_scans() -> bytes:
    """Return a progressive JPEG of 16000 x 16000 that is refined again and again: minutes of work in 120 kB."""
    head = b"\xff\xd8\xff\xdb\0\x43\0" + b"\1" * 64
    head += b"\xff\xc2" + struct.pack(">HBHHB3B", 11, 8, 16000, 16000, 1, 1, 0x11, 0)
    head += b"\xff\xc4\0\x14\0\1" + b"\0" * 15 + b"\0" + b"\xff\xc4\0\x14\x10\1" + b"\0" * 15 + b"\0"
    scan = b"\xff\xda\0\x08\1\1\0" + b"\1\x3f\0" + b"\0" * 4
    return head + scan * 6000 + b"\xff\xd9"


NO_STRIPS = grey_tags(10, 10)[:5]
PICTURES: dict[str, Make] = {
    "png-tiny-idat": raw("png-tiny-idat.png", png(12500, 12500, zlib.compress(b"\0" * 100))),
    "png-65535": raw("png-65535.png", png(65535, 65535, zlib.compress(b"\0"))),
    "png-0": raw("png-0.png", png(0, 10, zlib.compress(b"\0"))),
    "png-2**31": raw("png-2^31.png", png(2**31 - 1, 2**31 - 1, zlib.compress(b"\0"))),
    "png-chunk": raw("png-chunk.png", png(4, 4, b"")[:33] + chunk(b"IDAT", b"x", 2**32 - 1)),
    "png-text": raw("png-text.png", lambda: png(4, 4, b"", chunk(b"zTXt", b"a\0\0" + zlib_of_zeros(1000)))),
    "png-profile": raw("png-profile.png", lambda: png(4, 4, b"", chunk(b"iCCP", b"a\0\0" + zlib_of_zeros(1000)))),
    "png-broken": raw("png-broken.png", b"\x89PNG\r\n\x1a\n broken"),
    "tiff-30000": raw("tiff-30000.tif", tiff(grey_tags(30000, 30000))),
    "tiff-2**32": raw("tiff-2^32.tif", tiff(grey_tags(2**32 - 1, 2**32 - 1))),
    "tiff-0": raw("tiff-0.tif", tiff(grey_tags(0, 10))),
    "tiff-cycle": raw("tiff-cycle.tif", tiff(grey_tags(20000, 20000, 8, 400), next_at=8)),
    "tiff-tags": raw("tiff-tags.tif", tiff(grey_tags(4, 4), count=65535)),
    "tiff-far": raw("tiff-far.tif", tiff(grey_tags(10, 10, 2**31, 100))),
    "tiff-tile-0": raw("tiff-tile-0.tif", tiff([*NO_STRIPS, (322, 4, 1, 0), (323, 4, 1, 0), (324, 4, 1, 8)])),
    "tiff-strips": raw("tiff-strips.tif", tiff([*NO_STRIPS, (273, 4, 2**31, 8), (278, 4, 1, 1), (279, 4, 2**31, 8)])),
    "bigtiff": raw("bigtiff.tif", b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**62)),
    "jpeg-lies": raw("jpeg-lies.jpg", JPEG_HUGE),
    "jpeg-cut": raw("jpeg-cut.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
    "gif-moves": raw("gif-moves.gif", lambda: animation("GIF")),
    "gif-screen": raw("gif-screen.gif", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;"),
    "webp-moves": raw("webp-moves.webp", lambda: animation("WEBP")),
    "bmp-huge": raw("bmp-huge.bmp", bmp(10**6, -(10**6), 24, 0)),
    "bmp-rle": raw("bmp-rle.bmp", bmp(30000, 30000, 8, 1)),
    "pgm": raw("huge.pgm", b"P5 100000 100000 255\n" + b"\0" * 100),
    "ppm-text": raw("text.ppm", b"P3 999999999 9 255\n" + b"1 " * 1000),
    "jp2": raw("huge.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">L4sLL", 22, b"ihdr", 10**9, 10**9) + J2K_HUGE),
    "empty": raw("empty.png", b""),
}  # fmt: skip

# These are what they say: large, odd, but pictures. An image or a sentence, whichever it is.
PICTURES_EITHER: dict[str, Make] = {
    "png-12500": raw("png-12500.png", lambda: png(12500, 12500, zlib_of_zeros(150))),
    "png-12500-right": raw(
        "png-12500-right.png", lambda: png(12500, 12500, zlib.compress(b"\0" * (12501 * 12500), 9))
    ),
    "tiff-deflated": raw("tiff-deflated.tif", deflated_tiff),
    "ome-laughs": raw("ome-laughs.ome.tif", laughing_ome),
    "tiff-nan": raw("tiff-nan.tif", lambda: _float_tiff(np.nan)),
    "tiff-resolution": raw("tiff-resolution.tif", lambda: _odd_resolution()),
    "tiff-inf": raw("tiff-inf.tif", lambda: _float_tiff(np.inf)),
}


def _odd_resolution() -> bytes:
    """Return a picture with 1/0 and 0/0 pixels per centimetre."""
    tags = [*grey_tags(4, 4, 200, 16), (282, 5, 1, 216), (283, 5, 1, 224), (296, 3, 1, 3)]
    return tiff(tags).ljust(200, b"\0") + bytes(16) + struct.pack("<LLLL", 1, 0, 0, 0)


def _float_tiff(value: float) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.full((4, 4), value, np.float32))
    return file.getvalue()


# archives

GOOD_PNG = png(2, 2, zlib.compress(b"\0ab\0cd"))


def zipped(name: str, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Make:
    """Return a maker of a zip archive."""

    def make(folder: Path) -> Path:
        with warnings.catch_warnings(), zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            warnings.simplefilter("ignore")  # of names that are taken
            for member, data in members:
                archive.writestr(member, data)
        return folder / name

    return make


def zip_bytes(*members: tuple[str, bytes]) -> bytes:
    """Return a zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members:
            archive.writestr(member, data)
    return file.getvalue()


def zip_link(target: str) -> zipfile.ZipInfo:
    """Return a member that is a link."""
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    return link


def member_header(name: bytes, crc: int, packed: int, size: int) -> bytes:
    """Return the header that stands before a member's data."""
    return b"PK\3\4" + struct.pack("<HHHHHLLLHH", 20, 0, 8, 0, 33, crc, packed, size, len(name), 0) + name


def directory_entry(name: bytes, crc: int, packed: int, size: int, at: int) -> bytes:
    """Return a member's entry in the directory at the end."""
    head = b"PK\1\2" + struct.pack("<HHHHHHLLLH", 20, 20, 0, 8, 0, 33, crc, packed, size, len(name))
    return head + struct.pack("<HHHHLL", 0, 0, 0, 0, 0, at) + name


def directory_end(count: int, size: int, at: int) -> bytes:
    """Return the last record of an archive."""
    return b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, min(count, 65535), min(count, 65535), size, at, 0)


def zip_of_zeros(n_mib: int, claimed: int | None = None) -> bytes:
    """Return an archive of one member of zeros, made in no time; its checksum is wrong."""
    packed = zeros_deflated(n_mib)
    facts = (b"zeros.png", 0, len(packed), n_mib * MIB if claimed is None else claimed)
    start, entry = member_header(*facts) + packed, directory_entry(*facts, 0)
    return start + entry + directory_end(1, len(entry), len(start))


def overlapping(folder: Path, n_members: int = 40, n_mib: int = 32) -> Path:
    """Members that share their bytes: each holds the header of the next as data, then the next one's data.

    Source: D. Fifield, A better zip bomb, USENIX WOOT 2019.
    """
    data, zeros = zeros_deflated(n_mib), b"\0" * (n_mib * MIB)
    crc, size, prefix = zlib.crc32(zeros), len(zeros), b""
    entries: list[tuple[bytes, int, int, int, int]] = []  # name, crc, packed size, size, bytes from the end
    for number in reversed(range(n_members)):
        name = f"{number:05}.png".encode()
        header = member_header(name, crc, len(data), size)
        entries.append((name, crc, len(data), size, len(header) + len(data)))
        quote = b"\0" + struct.pack("<HH", len(header), len(header) ^ 0xFFFF)
        data, prefix = quote + header + data, header + prefix
        crc, size = zlib.crc32(zeros, zlib.crc32(prefix)), size + len(header)
    content = data[5:]  # the outermost quote is no part of any member
    directory = b"".join(directory_entry(*facts, len(content) - back) for *facts, back in reversed(entries))
    path = folder / "overlapping.zip"
    path.write_bytes(content + directory + directory_end(n_members, len(directory), len(content)))
    return path


def zip_of_many() -> bytes:
    """Return an archive that lists three hundred thousand members."""
    start = member_header(b"a", 0, 2, 0) + b"\3\0"
    directory = directory_entry(b"a", 0, 2, 0, 0) * 300_000
    return start + directory + directory_end(300_000, len(directory), len(start))


def nested_zip(depth: int) -> bytes:
    """Return an archive inside an archive, inside an archive ..."""
    content = zip_bytes(("deep.png", GOOD_PNG))
    for number in range(depth):
        content = zip_bytes((f"{number}.zip", content))
    return content


def zip_of_zip_bombs() -> bytes:
    """Return 16 archives, each of 256 MiB of zeros."""
    inner = zip_of_zeros(256)
    return zip_bytes(*((f"{number}.zip", inner) for number in range(16)))


# Refused as a whole.
ZIPS: dict[str, Make] = {
    "slip": zipped("slip.zip", ("../evil.png", GOOD_PNG)),
    "slip-deep": zipped("slip-deep.zip", ("a/../../evil.png", GOOD_PNG)),
    "slip-windows": zipped("slip-windows.zip", ("..\\evil.png", GOOD_PNG)),
    "absolute": zipped("absolute.zip", ("/tmp/evil.png", GOOD_PNG)),
    "drive": zipped("drive.zip", ("C:\\evil.png", GOOD_PNG)),
    "link": zipped("link.zip", (zip_link("/etc/passwd"), b"/etc/passwd")),
    "long-name": zipped("long-name.zip", ("a" * 255 + ".png", GOOD_PNG)),
    "deep-name": zipped("deep-name.zip", ("a/" * 500 + "b.png", GOOD_PNG)),
    "bomb": raw("bomb.zip", lambda: zip_of_zeros(600)),
    "overlapping": overlapping,
    "many": raw("many.zip", zip_of_many),
    "bombs-inside": raw("bombs-inside.zip", zip_of_zip_bombs),
    "cut": raw("cut.zip", lambda: zip_bytes(("a.png", GOOD_PNG * 20))[:-40]),
    "end-only": raw(
        "end-only.zip", b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    ),
}

# Something good or odd is inside; each member is an image or named.
ZIPS_EITHER: dict[str, Make] = {
    "lies": raw("lies.zip", lambda: zip_of_zeros(1024, claimed=10)),
    "twice": zipped("twice.zip", ("a.png", GOOD_PNG), ("a.png", GOOD_PNG)),
    "case": zipped("case.zip", ("a.png", GOOD_PNG), ("A.PNG", GOOD_PNG)),
    "file-and-folder": zipped("file-and-folder.zip", ("a", GOOD_PNG), ("a/b.png", GOOD_PNG)),
    "nested": raw("nested.zip", nested_zip(4)),
    "control": zipped("control.zip", ("a\nb\r\x1b[2J\x07.png", GOOD_PNG)),
    "turned": zipped("turned.zip", ("\u202egnp.exe", GOOD_PNG)),
    "nul": zipped("nul.zip", ("a\0b.png", GOOD_PNG)),
    "empty": zipped("empty.zip"),
}


def tarred(name: str, *members: tuple[str, bytes, bytes, str]) -> Make:
    """Return a maker of a tar archive of (name, kind, data, link target)."""

    def make(folder: Path) -> Path:
        with tarfile.open(folder / name, "w:gz" if name.endswith("gz") else "w") as archive:
            for member, kind, data, target in members:
                info = tarfile.TarInfo(member)
                info.type, info.size, info.linkname = kind, len(data), target
                archive.addfile(info, io.BytesIO(data))
        return folder / name

    return make


def tar_that_lies(folder: Path) -> Path:
    """A member of 8 GB in a file of some bytes."""
    info = tarfile.TarInfo("a.png")
    info.size = 8 * 2**30
    path = folder / "lies.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2048)
    return path


def tar_bomb(folder: Path) -> Path:
    """4 GiB of zeros in 4 MB."""
    info = tarfile.TarInfo("zeros.png")
    info.size = 4 * 2**30
    path = folder / "bomb.tar.gz"
    path.write_bytes(gzip_of_zeros(4097, info.tobuf(tarfile.GNU_FORMAT)))
    return path


REG, SYM, LNK, FIFO, CHR = (
    tarfile.REGTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
)
GOOD_TAR = tarred("good.tar.gz", ("a.png", REG, GOOD_PNG, ""))
TARS: dict[str, Make] = {
    "tar-slip": tarred("slip.tar", ("../evil.png", REG, GOOD_PNG, "")),
    "tar-absolute": tarred("absolute.tar", ("/tmp/evil.png", REG, GOOD_PNG, "")),
    "tar-link": tarred("link.tar", ("a.png", SYM, b"", "/etc/passwd")),
    "tar-link-then-file": tarred("link2.tar", ("a", SYM, b"", "/tmp"), ("a/evil.png", REG, GOOD_PNG, "")),
    "tar-hard-link": tarred("hard.tar", ("a.png", LNK, b"", "/etc/passwd")),
    "tar-lies": tar_that_lies,
    "tar-bomb": tar_bomb,
}
TARS_EITHER: dict[str, Make] = {
    "tar-pipe": tarred("pipe.tar", ("a.png", FIFO, b"", ""), ("b.png", REG, GOOD_PNG, "")),
    "tar-device": tarred("device.tar", ("a.png", CHR, b"", ""), ("b.png", REG, GOOD_PNG, "")),
    "tar-twice": tarred("twice.tar", ("a.png", REG, GOOD_PNG, ""), ("a.png", REG, GOOD_PNG, "")),
    "tar-control": tarred("control.tar", ("a\nb\x1b[2J.png", REG, GOOD_PNG, "")),
}
