"""TIFF files without what they say about a person: rebuilt from their technical tags and the encoded pixels."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from core.errors import FileRefused

# Baseline and extension tags that describe pixels: sizes, encoding, colours, resolution, ICC profile.
KEPT = frozenset(
    (
        254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 274, 277, 278, 280, 281, 282, 283, 284, 290, 291,
        292, 293, 296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 332, 334, 336, 338, 339, 340, 341, 342, 347,
        529, 530, 531, 532, 32995, 32997, 34675,
    )
)  # fmt: skip
STRIPS, STRIP_BYTES, TILES, TILE_BYTES, DESCRIPTION, COMPRESSION = 273, 279, 324, 325, 270, 259
OLD_JPEG = 6
SLIDE_TAGS = frozenset((65420, 65421, 65422, 65423, 65427))  # Hamamatsu
SLIDE_WORDS = (b"Aperio", b"<scn", b"DICOM_DEVICE_SERIAL", b"<EncodeInfo", b"Leica")
TYPE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
MAX_PAGES = 100_000
IMAGEJ_KEYS = (
    "ImageJ", "images", "channels", "slices", "frames", "hyperstack", "mode", "unit", "spacing", "loop", "min", "max",
    "finterval", "fps",
)  # fmt: skip
OME_ELEMENTS = ("OME", "Image", "Pixels", "Channel", "TiffData", "Plane")
OME_ATTRIBUTES = re.compile(
    r"ID|DimensionOrder|Type|Size[XYZCT]|PhysicalSize[XYZ](Unit)?|BigEndian|SignificantBits|Interleaved|"
    r"SamplesPerPixel|First[ZCT]|IFD|PlaneCount|The[ZCT]|TimeIncrement(Unit)?|Color"
)
OME_SPACE = re.compile(r"\{(http://www\.openmicroscopy\.org/Schemas/OME/[\d-]{1,10})\}")
# What the value of a kept key or attribute may be: a number, an identifier, a word of the format, a unit.
VALUE = re.compile(
    r"[-+.\deE]*|[1-9.]+[a-z]?|(true|false)|(Image|Pixels|Channel):[\d:]+|[XYZCT]{5}|u?int\d+|float|double|bit|complex|"
    r"double-complex|composite|grayscale|color|pixels?|inch|microns?|sec|m?s|[cmnpµμu]?m|\\u00[bB]5m"
)


@dataclass(frozen=True)
class Form:
    """How a TIFF file writes its numbers."""

    order: str  # "<" or ">"
    big: bool

    @property
    def word(self) -> str:
        """Format of offsets and counts."""
        return f"{self.order}{'Q' if self.big else 'I'}"

    @property
    def size(self) -> int:
        """Bytes of an offset."""
        return 8 if self.big else 4


@dataclass(frozen=True)
class Entry:
    """One tag: its type, how many values, and their bytes."""

    kind: int
    count: int
    content: bytes


Page = dict[int, Entry]


def strip_tiff(data: bytes, name: str) -> bytes:
    """Return a TIFF file with its pages' pixels and technical tags, but nothing else.

    Descriptions of ImageJ and OME keep sizes and axes only. Smaller copies of the picture (pyramids) are left out.

    Raises:
        FileRefused: when it is damaged, a whole slide, or of a kind that cannot be rebuilt.

    Source: TIFF 6.0, sections 2 and 8; BigTIFF (libtiff); OME-TIFF specification.
    """
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    form = Form(order, struct.unpack_from(f"{order}H", data, 2)[0] == 43)
    pages = list(_pages(data, form, name))
    for page in pages:
        _check(page, len(pages), name)
    out = bytearray(data[:8] if form.big else data[:4])
    where_next = len(out)
    out += b"\0" * form.size
    for page in pages:
        kept = {tag: entry for tag, entry in page.items() if tag in KEPT}
        if DESCRIPTION in page and (text := _clean_description(page[DESCRIPTION].content)):
            kept[DESCRIPTION] = Entry(2, len(text) + 1, text + b"\0")
        kept |= _copy_pixels(data, page, out, form, name)
        where_next = _write_page(kept, out, where_next, form)
    return bytes(out)


def _pages(data: bytes, form: Form, name: str) -> Iterator[Page]:
    """Yield the chain of pages; sub-directories (pyramids, EXIF) are not followed."""
    (at,) = struct.unpack_from(form.word, data, 8 if form.big else 4)
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) >= MAX_PAGES or at + form.size > len(data):
            raise FileRefused(f"{name} is damaged: its chain of pages breaks off or runs in a circle.")
        seen.add(at)
        head, width = (8, 20) if form.big else (2, 12)
        (count,) = struct.unpack_from(f"{form.order}{'Q' if form.big else 'H'}", data, at)
        if at + head + count * width + form.size > len(data):
            raise FileRefused(f"{name} is cut short; its copy would be no better.")
        yield dict(_entry(data, at + head + number * width, form, name) for number in range(count))
        (at,) = struct.unpack_from(form.word, data, at + head + count * width)


def _entry(data: bytes, at: int, form: Form, name: str) -> tuple[int, Entry]:
    tag, kind = struct.unpack_from(f"{form.order}HH", data, at)
    (count,) = struct.unpack_from(form.word, data, at + 4)
    size = TYPE_BYTES.get(kind, 1) * count
    start = at + 4 + form.size
    if size > form.size:
        (start,) = struct.unpack_from(form.word, data, start)
    if start + size > len(data):
        raise FileRefused(f"{name} is cut short; its copy would be no better.")
    return tag, Entry(kind, count, data[start : start + size])


def _numbers(entry: Entry, form: Form) -> list[int]:
    letter = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}[entry.kind]
    return list(struct.unpack(f"{form.order}{entry.count}{letter}", entry.content))


def _check(page: Page, pages: int, name: str) -> None:
    """Refuse what cannot be rebuilt from its pages, or shows more than its pixels."""
    description = page[DESCRIPTION].content if DESCRIPTION in page else b""
    if SLIDE_TAGS & page.keys() or any(word in description[:2000] for word in SLIDE_WORDS):
        raise FileRefused(
            f"{name} is a whole slide, whose label picture may name the patient; it was not copied."
        )
    has_pixels = {STRIPS, STRIP_BYTES} <= page.keys() or {TILES, TILE_BYTES} <= page.keys()
    compression = page.get(COMPRESSION)
    if not has_pixels or (compression and compression.content.strip(b"\0") == bytes([OLD_JPEG])):
        raise FileRefused(f"{name} stores its pixels in a way that cannot be copied without re-encoding.")
    images = re.search(rb"^images=(\d+)", description, re.MULTILINE)
    if description.startswith(b"ImageJ=") and images and int(images.group(1)) > pages:
        raise FileRefused(
            f"{name} is an ImageJ stack with pixels outside its pages; save it as a plain TIFF stack."
        )


def _copy_pixels(data: bytes, page: Page, out: bytearray, form: Form, name: str) -> Page:
    """Append the encoded strips or tiles; returns the two entries that lead to them."""
    tags = (TILES, TILE_BYTES) if TILES in page else (STRIPS, STRIP_BYTES)
    starts, sizes = _numbers(page[tags[0]], form), _numbers(page[tags[1]], form)
    placed = []
    for start, size in zip(starts, sizes, strict=True):
        if start + size > len(data):
            raise FileRefused(f"{name} is cut short; its copy would be no better.")
        out += b"\0" * (-len(out) % 2)
        placed.append(len(out) if size else 0)
        out += data[start : start + size]
    kind = 16 if form.big else 4
    letter = form.word[1]
    content = struct.pack(f"{form.order}{len(placed)}{letter}", *placed)
    return {tags[0]: Entry(kind, len(placed), content), tags[1]: page[tags[1]]}


def _write_page(page: Page, out: bytearray, where_next: int, form: Form) -> int:
    """Append a page's directory and its values; returns where the next page's place is to be written."""
    entries = b""
    for tag, entry in sorted(page.items()):
        content = entry.content.ljust(form.size, b"\0")
        if len(entry.content) > form.size:
            out += b"\0" * (-len(out) % 2)
            content = struct.pack(form.word, len(out))
            out += entry.content
        entries += (
            struct.pack(f"{form.order}HH", tag, entry.kind) + struct.pack(form.word, entry.count) + content
        )
    out += b"\0" * (-len(out) % 2)
    struct.pack_into(form.word, out, where_next, len(out))
    out += struct.pack(f"{form.order}{'Q' if form.big else 'H'}", len(page)) + entries
    after = len(out)
    out += b"\0" * form.size
    return after


def _clean_description(content: bytes) -> bytes:
    """Return the part of a description that programs need to understand the pages; empty for any other text."""
    text = content.split(b"\0", 1)[0].decode("utf-8", "replace")
    if text.startswith("ImageJ="):
        pairs = (line.partition("=") for line in text.splitlines())
        lines = [f"{key}={value}" for key, _, value in pairs if key in IMAGEJ_KEYS and VALUE.fullmatch(value)]
        return "\n".join([*lines, ""]).encode("ascii", "replace")
    if "<OME" not in text or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return b""
    try:
        root = ElementTree.fromstring(text.strip())  # noqa: S314 - entities were refused above
    except ElementTree.ParseError:
        return b""
    cleaned = _clean_element(root)
    space = OME_SPACE.match(root.tag)
    if space:
        cleaned.set("xmlns", space.group(1))
    return ElementTree.tostring(cleaned, encoding="utf-8", xml_declaration=True)


def _clean_element(element: ElementTree.Element) -> ElementTree.Element:
    """Copy an OME element with its numbers, without names, texts and annotations."""
    kept = {
        key: value
        for key, value in element.attrib.items()
        if OME_ATTRIBUTES.fullmatch(key) and VALUE.fullmatch(value)
    }
    out = ElementTree.Element(element.tag.rsplit("}", 1)[-1], kept)
    for child in element:
        if child.tag.rsplit("}", 1)[-1] in OME_ELEMENTS:
            out.append(_clean_element(child))
    return out
