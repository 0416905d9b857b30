"""A quick look at a DICOM file: its top-level elements as bytes, and where its pixels begin.

Of a series of hundreds of files all but a few numbers are equal, and a general parser spends its time on the
rest. This one walks the elements and keeps the wanted ones as they are written. It knows little-endian files
with the DICM mark; of anything else, and of anything odd, it says nothing, and pydicom has the word.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
# JPEG, JPEG-LS, JPEG 2000 and High-Throughput JPEG 2000: little-endian, frames in a capsule.
JPEG_FAMILY = tuple(
    f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)
)
UNDEFINED = 0xFFFFFFFF
CHUNKS = (2**14, 2**18, 2**22)  # bytes read in search of the pixels; few headers pass the first
MAX_ELEMENTS = 20_000
MAX_DEPTH = 16
MAX_VALUE = 2**16
META_AT = 132
PIXELS = frozenset((b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00", b"\xe0\x7f\x10\x00"))
PIXEL_DATA = b"\xe0\x7f\x10\x00"
SYNTAX = b"\x02\x00\x10\x00"
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
SHORT_VRS = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
     b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
# As written: padded to an even length with a null, by some with a blank.
KNOWN = {
    written: name
    for name in (IMPLICIT, EXPLICIT, RLE, *JPEG_FAMILY)
    for text in (name.encode(),)
    for written in (text, text + b"\0", text + b" ")
}


@dataclass(frozen=True, slots=True)
class Elements:
    """The wanted elements of one file.

    Attributes:
        values: tag (as ``tag_of`` gives it) to value as written; only those that are there.
        syntax: transfer syntax.
        size: of the whole file, in bytes.
        pixels_at: where the value of the pixels begins; 0 when there are none.
        pixels_length: its length as written, ``UNDEFINED`` for frames in a capsule.
        pixels_tag: PixelData or one of its floating-point kin; empty when there are none.
    """

    values: Mapping[bytes, bytes]
    syntax: str
    size: int
    pixels_at: int = 0
    pixels_length: int = 0
    pixels_tag: bytes = b""

    def text(self, tag: bytes) -> str | None:
        """Return a value as text without padding, "" when missing; None when it is not one plain ASCII text."""
        value = self.values.get(tag, b"")
        return value.decode("ascii").rstrip(" \0") if value.isascii() and b"\\" not in value else None

    def numbers(self, tag: bytes) -> tuple[float, ...] | None:
        """Return a value written in decimal (DS, IS) as numbers; None when missing, empty or no number."""
        try:
            return tuple(float(part) for part in self.values[tag].rstrip(b" \0").split(b"\\"))
        except (KeyError, ValueError):
            return None


class _Odd(Exception):
    """The file is not of the plain kind that is known here."""


class _Short(Exception):
    """The bytes read so far end before the pixels."""


def tag_of(number: int) -> bytes:
    """Return a tag such as 0x00100020 as it is written in a little-endian file."""
    return (number >> 16).to_bytes(2, "little") + (number & 0xFFFF).to_bytes(2, "little")


def read_elements(path: Path, wanted: Collection[bytes]) -> Elements | None:
    """Read the wanted top-level elements before the pixels; None for a file that needs a general parser.

    Args:
        path: the file.
        wanted: tags as ``tag_of`` gives them.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(descriptor).st_size
        for chunk in CHUNKS:
            os.lseek(descriptor, 0, os.SEEK_SET)
            data = os.read(descriptor, chunk)
            try:
                return _walk_file(data, size, wanted)
            except _Short:
                if len(data) >= size:
                    return None
    except _Odd:
        return None
    finally:
        os.close(descriptor)
    return None


def _walk_file(data: bytes, size: int, wanted: Collection[bytes]) -> Elements:
    """Walk the elements up to the pixels (PS3.10 section 7, PS3.5 section 7.1)."""
    syntax, at = _walk_meta(data)
    explicit = syntax != IMPLICIT
    if not explicit and data[at + 4 : at + 6] in SHORT_VRS:
        raise _Odd  # it says implicit and is explicit
    values: dict[bytes, bytes] = {}
    sure = len(data) - 12 if explicit else -1  # up to here the head of an element is whole
    for _ in range(MAX_ELEMENTS):
        tag = data[at : at + 4]
        if at <= sure and data[at + 4 : at + 6] in SHORT_VRS:  # nearly all; the rest goes the long way
            start = at + 8
            at = start + (data[at + 6] | data[at + 7] << 8)
        elif at == size:
            return Elements(values, syntax, size)
        else:
            tag, start, length = _element(data, at, explicit)
            if tag in PIXELS:
                return Elements(values, syntax, size, start, length, tag)
            at = _skip_sequence(data, start, explicit, 0) if length == UNDEFINED else start + length
        if tag in wanted:
            if at > len(data):
                raise _Short
            if tag in values or at - start > MAX_VALUE:
                raise _Odd
            values[tag] = data[start:at]
    raise _Odd


def _walk_meta(data: bytes) -> tuple[str, int]:
    """Return the transfer syntax and where the data set begins."""
    if data[128:META_AT] != b"DICM":
        raise _Odd
    at, syntax = META_AT, b""
    while data[at : at + 2] == b"\x02\x00":
        tag, at, length = _element(data, at, True)
        if tag == SYNTAX:
            syntax = data[at : at + length]
        at += length
    if syntax not in KNOWN:
        raise _Odd
    return KNOWN[syntax], at


def _element(data: bytes, at: int, explicit: bool) -> tuple[bytes, int, int]:
    """Return tag, where the value begins, and its length."""
    if at + 12 > len(data):
        raise _Short
    if not explicit:
        return data[at : at + 4], at + 8, int.from_bytes(data[at + 4 : at + 8], "little")
    vr = data[at + 4 : at + 6]
    if vr in SHORT_VRS:
        return data[at : at + 4], at + 8, data[at + 6] | data[at + 7] << 8
    if vr not in LONG_VRS:
        raise _Odd
    length = int.from_bytes(data[at + 8 : at + 12], "little")
    if length == UNDEFINED and vr == b"UN":
        raise _Odd  # its items are written as if implicit
    return data[at : at + 4], at + 12, length


def _skip_sequence(data: bytes, at: int, explicit: bool, depth: int) -> int:
    """Return where a sequence of undefined length ends (PS3.5 section 7.5)."""
    if depth > MAX_DEPTH:
        raise _Odd
    for _ in range(MAX_ELEMENTS):
        if at + 8 > len(data):
            raise _Short
        tag, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if tag == SEQUENCE_END:
            return at
        if tag != ITEM:
            raise _Odd
        at = _skip_item(data, at, explicit, depth) if length == UNDEFINED else at + length
    raise _Odd


def _skip_item(data: bytes, at: int, explicit: bool, depth: int) -> int:
    """Return where an item of undefined length ends."""
    for _ in range(MAX_ELEMENTS):
        if data[at : at + 4] == ITEM_END:
            return at + 8
        _, at, length = _element(data, at, explicit)
        at = _skip_sequence(data, at, explicit, depth + 1) if length == UNDEFINED else at + length
    raise _Odd
