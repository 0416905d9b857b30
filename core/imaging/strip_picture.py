"""PNG and JPEG files without what they say about a person: comments, EXIF, places, dates. Pixels are not re-encoded."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from core.errors import FileRefused

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = frozenset(
    (
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV",
        b"cLLI", b"bKGD", b"hIST", b"pHYs", b"acTL", b"fcTL", b"fdAT",
    )
)  # fmt: skip
EXIF_ORIENTATION = 0x0112
APP0, APP1, APP2, APP14, APP15, COM, SOS, EOI = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE, 0xDA, 0xD9
KEPT_APPS = {APP2: b"ICC_PROFILE\0", APP14: b"Adobe"}
WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))


def strip_png(data: bytes, name: str) -> bytes:
    """Return a PNG file with its pixels, palette and colours, and its rotation, but nothing else.

    Raises:
        FileRefused: when it is no whole PNG file.

    Source: PNG (Third Edition), 5 and 11.
    """
    out = [PNG_START]
    for kind, content in _png_chunks(data, name):
        if kind == b"iCCP":
            content = b"profile" + content[content.index(b"\0") :]  # its name is free text
        if kind == b"eXIf":
            orientation = _orientation(content)
            if orientation != 1:
                out.append(_png_chunk(b"eXIf", _exif(orientation)))
        elif kind in PNG_KEPT:
            out.append(_png_chunk(kind, content))
    return b"".join(out)


def _png_chunks(data: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
    at, kind = len(PNG_START), b""
    while kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if len(kind) < 4 or len(content) < length:
            raise FileRefused(f"{name} is cut short; its copy would be no better.")
        yield kind, content
        at += 12 + length


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return len(content).to_bytes(4, "big") + kind + content + check.to_bytes(4, "big")


def strip_jpeg(data: bytes, name: str) -> bytes:
    """Return a JPEG file with its pixels, colours and rotation, but nothing else.

    Raises:
        FileRefused: when it is no whole JPEG file.

    Source: ITU-T T.81, Annex B; T.871 (JFIF); Exif 2.32, 4.7.
    """
    out, orientation = [], 1
    for marker, content in _jpeg_segments(data, name):
        if marker == APP1 and content.startswith(b"Exif\0\0"):
            orientation = _orientation(content[6:])
        if marker == APP0 and content.startswith(b"JFIF\0"):
            out.append(_jpeg_segment(marker, content[:12] + b"\0\0"))  # without its thumbnail
        elif marker in KEPT_APPS and content.startswith(KEPT_APPS[marker]):
            out.append(_jpeg_segment(marker, content))
        elif not (APP0 <= marker <= APP15 or marker == COM):
            out.append(content if marker == SOS else _jpeg_segment(marker, content))
    exif = _jpeg_segment(APP1, b"Exif\0\0" + _exif(orientation)) if orientation != 1 else b""
    first = next((n for n, part in enumerate(out) if part[:2] != b"\xff\xe0"), 0)
    return b"".join([b"\xff\xd8", *out[:first], exif, *out[first:], b"\xff\xd9"])


def _jpeg_segments(data: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, content); a scan comes whole, with its header, as the content of SOS."""
    at, scans = 2, 0
    while True:
        while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] == b"\xff":
            at += 1
        if data[at : at + 1] != b"\xff" or at + 2 > len(data):
            raise FileRefused(f"{name} is cut short or damaged; its copy would be no better.")
        marker = data[at + 1]
        if marker == EOI:
            break
        if marker in WITHOUT_LENGTH:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + length
        if marker == SOS:
            end, scans = _end_of_scan(data, end), scans + 1
            yield marker, data[at:end]
        else:
            yield marker, data[at + 4 : end]
        at = end
    if not scans:
        raise FileRefused(f"{name} holds no picture; it is damaged.")


def _end_of_scan(data: bytes, at: int) -> int:
    """Return where the entropy-coded data end: at the next marker that is no restart and no stuffed byte."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        follows = data[at + 1]
        if follows != 0 and not 0xD0 <= follows <= 0xD7 and follows != 0xFF:
            return at
        at += 1 if follows == 0xFF else 2


def _jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _exif(orientation: int) -> bytes:
    """Return the smallest EXIF block: how the camera was held."""
    entry = struct.pack(">HHIHH", EXIF_ORIENTATION, 3, 1, orientation, 0)
    return b"MM\0*" + struct.pack(">IH", 8, 1) + entry + b"\0\0\0\0"


def _orientation(exif: bytes) -> int:
    """Return the orientation (1 to 8) that an EXIF block gives; 1 when it gives none."""
    from PIL import Image

    block = Image.Exif()
    try:
        block.load(b"Exif\0\0" + exif.removeprefix(b"Exif\0\0"))
        value = int(block.get(EXIF_ORIENTATION, 1) or 1)
    except (SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return 1
    return value if 1 <= value <= 8 else 1
