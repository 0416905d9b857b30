"""What of a slide's file may be kept: the levels of the scan itself, and the tags that lead to them.

All other bytes become zeros in the kept copy: pictures of the label and of the whole glass, names of files, dates,
bar codes, serial numbers, and whatever lies between. Formats whose structure depends on such texts are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core.imaging.found import Original
from core.imaging.slide_tiff import NEED_OPENSLIDE, svs_fields
from core.imaging.tiff import opened_tiff

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffTag

HEADER_BYTES = 16
NUMBERS = (3, 4, 5, 8, 9, 10, 11, 12, 13, 16, 17, 18)  # TIFF types that hold no text: SHORT to IFD8
KEPT_TAGS = (347, 34675)  # JPEG tables, colour profile
DESCRIPTION = 270
SVS_KEPT = ("AppMag", "MPP", "StripeWidth", "Left", "Top", "OriginalWidth", "OriginalHeight")
SVS_HEAD = "Aperio Image Library v1\r\n"

Range = tuple[int, int]


def original_of(path: Path) -> Original | None:
    """Return how a TIFF slide's file is to be kept, None when it cannot be kept without what names a patient."""
    with opened_tiff(path) as tiff:
        file = tiff.file
        needs_texts = file.is_ome and len(file.series) > 1
        if needs_texts or any(getattr(file, f"is_{flag}") for flag in NEED_OPENSLIDE):
            return None
        levels = [level.keyframe for level in file.series[0].levels]
        kept: list[Range] = [(0, HEADER_BYTES)]
        rewritten: list[tuple[int, str]] = []
        for page in _all_pages(file):
            kept += _structure_of(file, page)
            is_level = any(page.offset == level.offset for level in levels)
            text = page.tags.get(DESCRIPTION)
            if is_level and text is not None and file.is_svs:
                rewritten.append((text.valueoffset, _svs_text(page, text)))
        for level in levels:
            kept += zip(level.dataoffsets, level.databytecounts, strict=True)
        return Original(path, tuple(_gaps(kept, path.stat().st_size)), tuple(rewritten))


def _all_pages(file: TiffFile) -> Iterator[TiffPage]:
    """Yield every page, those of pyramids inside pages as well."""
    file.pages.useframes = False
    for page in file.pages:
        yield page.aspage()
        if page.subifds and page.pages is not None:
            yield from (inner.aspage() for inner in page.pages)


def _structure_of(file: TiffFile, page: TiffPage) -> Iterator[Range]:
    """Yield the bytes of a page's directory and of the numbers that it leads to."""
    form = file.tiff
    yield page.offset, form.tagnosize + len(page.tags) * form.tagsize + form.offsetsize
    for tag in page.tags:
        if tag.dtype in NUMBERS or tag.code in KEPT_TAGS:
            yield tag.valueoffset, tag.valuebytecount


def _svs_text(page: TiffPage, tag: TiffTag) -> str:
    """Return an Aperio description with its technical fields only, as long as the one that it replaces."""
    fields = svs_fields(page.description)
    size = f"{page.imagewidth}x{page.imagelength} ({page.tilewidth}x{page.tilelength})"
    known = "".join(f"|{name} = {_number(fields[name])}" for name in SVS_KEPT if name in fields)
    length = tag.valuebytecount - 1
    return f"{SVS_HEAD}{size}{known}"[:length].ljust(length)


def _number(text: str) -> str:
    """Return a field's number; nothing else is kept."""
    try:
        return f"{float(text):.10g}"
    except ValueError:
        return "0"


def _gaps(kept: Iterable[Range], size: int) -> Iterator[Range]:
    """Yield what lies between ranges, up to the end of the file."""
    end = 0
    for start, count in sorted(kept):
        if start > end:
            yield end, min(start, size) - end
        end = max(end, start + count)
        if end >= size:
            return
    yield end, size - end
