"""Slides through tifffile: Aperio's, and tiled or pyramidal TIFF of any make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import FileRefused
from core.imaging.pixel_size import tiff_pixel_size
from core.imaging.slide_file import Level, positive
from core.imaging.tiff import OpenTiff, opened_tiff, photometric_name
from core.types import Array

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

# Scanners' formats by tifffile's flags. Ventana's tiles overlap, Leica's and Philips' levels have gaps, Hamamatsu's
# JPEGs are too large for a decoder: OpenSlide sees to that.
APERIO = "svs"
NEED_OPENSLIDE = {"ndpi": "hamamatsu", "scn": "leica", "bif": "ventana", "philips": "philips"}
PYRAMID_FROM_PIXELS = 2**22
SLIDE_FROM_PIXELS = 2**27  # larger tiled images are never decoded at once
MAX_SEGMENT_BYTES = 2**26
YCBCR_JPEG2000 = 33003
JPEG_CODES = (6, 7, 34892, 33007)
COLORS = ("RGB", "YCBCR")
SVS_FIELD = re.compile(r"\|\s*([^|=]+?)\s*=\s*([^|]*?)\s*(?=\||$)")


def is_tiff_slide(path: Path) -> bool:
    """Tell whether a TIFF file is a scanner's slide, a tiled pyramid, or a tiled image too large to be decoded."""
    with opened_tiff(path) as tiff:
        if _vendor(tiff.file) != "generic":
            return True
        page = tiff.file.pages.first
        pixels = page.imagelength * page.imagewidth
        plain = photometric_name(page) in (*COLORS, "MINISBLACK") and page.bitspersample in (8, 16, 32)
        if not (page.is_tiled and plain and pixels >= PYRAMID_FROM_PIXELS):
            return False
        series = tiff.file.series[0]
        return (len(series.levels) > 1 or pixels > SLIDE_FROM_PIXELS) and _is_flat(series)


def reads_tiff_slide(path: Path) -> bool:
    """Tell whether tifffile reads a slide exactly as it is stored."""
    with opened_tiff(path) as tiff:
        # Aperio's JPEG 2000 in YCbCr comes out of tifffile in the wrong colours.
        exact = tiff.file.pages.first.compression != YCBCR_JPEG2000
        return exact and _vendor(tiff.file) not in NEED_OPENSLIDE.values()


@contextmanager
def opened_tiff_slide(path: Path) -> Iterator[TiffSlide]:
    """Open a slide with tifffile."""
    with opened_tiff(path) as tiff:
        yield TiffSlide(tiff)


def svs_fields(description: str) -> dict[str, str]:
    """Return the fields of an Aperio description: "Aperio ...|AppMag = 20|MPP = 0.4990"."""
    return dict(SVS_FIELD.findall(description))


class TiffSlide:
    """A slide that tifffile reads; see ``slide_file.Slide``."""

    def __init__(self, tiff: OpenTiff) -> None:
        self._tiff = tiff
        self.name = tiff.path.name
        series = tiff.file.series[0]
        if not _is_flat(series):
            raise FileRefused(f"{tiff.path.name} has the axes {series.axes}; a slide is one plane.")
        self._pages = [level.keyframe for level in series.levels]
        first = self._pages[0]
        self.levels = tuple(
            Level(page.imagewidth, page.imagelength, first.imagewidth / page.imagewidth)
            for page in self._pages
        )
        samples = first.samplesperpixel
        self.channels = 3 if photometric_name(first) in COLORS else samples
        self.dtype = np.dtype(first.dtype)
        self.vendor = _vendor(tiff.file)
        fields = svs_fields(first.description) if self.vendor == "aperio" else {}
        self.objective_power = positive(fields.get("AppMag"))
        microns = positive(fields.get("MPP"))
        size = tiff_pixel_size(tiff.file, first).yx
        self.mm_per_pixel = (microns / 1000, microns / 1000) if microns else size

    def read_region(self, level: int, x: int, y: int, width: int, height: int) -> Array:
        """Return a region; only the tiles that it touches are decoded."""
        page = self._pages[level]
        samples = page.samplesperpixel
        out = np.zeros((height, width, samples), self.dtype)
        options = _decoder_options(page)
        for index in _segments(page, x, y, width, height):
            data = self._bytes_of(page, index)
            segment, position, shape = page.decode(data, index, **options)
            plane, _, top, left, _ = position
            if segment is None:
                continue
            pixels = np.asarray(segment).reshape(shape)[0]
            _paste(out[..., plane:] if page.planarconfig == 2 else out, pixels, top - y, left - x)
        self._tiff.refuse_if_broken()
        out = out[..., : self.channels]
        return out[..., 0] if self.channels == 1 else np.ascontiguousarray(out)

    def _bytes_of(self, page: TiffPage, index: int) -> bytes | None:
        count = page.databytecounts[index]
        if count == 0:
            return None
        if count > MAX_SEGMENT_BYTES:
            raise FileRefused(f"{self._tiff.path.name} has tiles of {count} bytes, which is too many.")
        file = self._tiff.file.filehandle
        file.seek(page.dataoffsets[index])
        data: bytes = file.read(count)
        if len(data) < count:
            raise FileRefused(f"{self._tiff.path.name} is cut short: not all of its tiles are there.")
        return data


def _vendor(file: TiffFile) -> str:
    flags = {APERIO: "aperio", **NEED_OPENSLIDE}
    return next((vendor for flag, vendor in flags.items() if getattr(file, f"is_{flag}")), "generic")


def _is_flat(series: TiffPageSeries) -> bool:
    """True when a series is one plane of grey or colour."""
    others = [n for n, axis in zip(series.shape, series.axes, strict=True) if axis not in "YXS"]
    return "Y" in series.axes and "X" in series.axes and max(others, default=1) == 1


def _decoder_options(page: TiffPage) -> dict[str, Any]:
    if page.compression not in JPEG_CODES:
        return {}
    return {"jpegtables": page.jpegtables}


def _segments(page: TiffPage, x: int, y: int, width: int, height: int) -> list[int]:
    """Return the numbers of the tiles or strips that a region touches."""
    tall = page.tilelength if page.is_tiled else page.rowsperstrip
    wide = page.tilewidth if page.is_tiled else page.imagewidth
    down, across = -(-page.imagelength // tall), -(-page.imagewidth // wide)
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    rows = range(y // tall, min(down, -(-(y + height) // tall)))
    columns = range(x // wide, min(across, -(-(x + width) // wide)))
    return [
        (plane * down + row) * across + column
        for plane in range(planes)
        for row in rows
        for column in columns
    ]


def _paste(out: Array, pixels: Array, top: int, left: int) -> None:
    """Copy what lies within ``out`` of pixels that begin at (top, left) of it."""
    to_y, to_x = min(out.shape[0], top + pixels.shape[0]), min(out.shape[1], left + pixels.shape[1])
    y, x = max(top, 0), max(left, 0)
    if to_y > y and to_x > x:
        out[y:to_y, x:to_x, : pixels.shape[2]] = pixels[y - top : to_y - top, x - left : to_x - left]
