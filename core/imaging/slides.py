"""Whole slides: an overview, their levels, any region, never more decoded than was asked for.

Two libraries read them: tifffile Aperio's and any tiled or pyramidal TIFF, OpenSlide (the extra ``slides``) the other
scanners' own formats. Labels and overviews of the glass, which often show a name or a
bar code, are never read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np

from core.errors import FileRefused
from core.imaging.found import Found
from core.imaging.limits import check_declared_size, check_ratio, refusing
from core.imaging.slide_file import Level, Slide
from core.imaging.slide_openslide import is_for_openslide, is_openslide_there, opened_openslide
from core.imaging.slide_original import original_of
from core.imaging.slide_tiff import is_tiff_slide, opened_tiff_slide, reads_tiff_slide
from core.imaging.tiff import is_tiff
from core.imaging.tiles import TILE_SIZE, box_mean, level_count, level_shape
from core.settings import Settings
from core.types import Array, Image, ImageInfo

SLIDE_MAX_RATIO = 500  # white glass in JPEG is about 100:1
PIXELS_AT_ONCE = 2**24
MODALITY = "SM"  # DICOM's code for slide microscopy
NEEDS_OPENSLIDE = (
    "is a whole slide of a kind that only OpenSlide reads; install Sightline's extra for it "
    '(pip install "sightline[slides]") or save the slide as tiled TIFF.'
)


def is_slide(path: Path) -> bool:
    """Tell whether a TIFF file is a whole slide: a scanner's, a pyramid, or too large to be decoded at once."""
    with refusing(path.name):
        return is_tiff_slide(path)


@contextmanager
def open_slide(path: Path) -> Iterator[Slide]:
    """Open a slide.

    Raises:
        FileRefused: when it is damaged, or no library that is installed reads it.
    """
    with ExitStack() as stack:
        with refusing(path.name):
            slide = stack.enter_context(_opened(path))
        yield slide


def _opened(path: Path) -> AbstractContextManager[Slide]:
    """Open a slide with the library that reads it best.

    OpenSlide places regions by the largest level's pixels. Where a level is not an exact fraction of that, it shifts
    a region by part of a pixel; so plain TIFF and Aperio's, which tifffile reads as they are stored, come from there.
    """
    if is_tiff(path) and reads_tiff_slide(path):
        return opened_tiff_slide(path)
    if is_for_openslide(path):
        return opened_openslide(path)
    if is_openslide_there():
        raise FileRefused(f"{path.name} is damaged or no slide of a kind that Sightline reads.")
    raise FileRefused(f"{path.name} {NEEDS_OPENSLIDE}")


def read_slide(path: Path, settings: Settings) -> Found:
    """Read the largest level of a slide that is within ``max_slide_pixels``.

    When even the smallest level is larger, it is averaged down while it is read. The slide's own file is to be kept
    beside an image that holds less than it, if what may name a patient can be taken out.

    Raises:
        FileRefused: when it is damaged, over the limits, or no library that is installed reads it.
    """
    with refusing(path.name), open_slide(path) as slide:
        number, factor = _choose(slide.levels, settings.max_slide_pixels)
        level = slide.levels[number]
        if is_tiff(path):
            first = slide.levels[0]
            declared = first.width * first.height * slide.channels * slide.dtype.itemsize
            check_ratio(declared, path.stat().st_size, SLIDE_MAX_RATIO, path.name)
        height, width = (-(-n // factor) for n in (level.height, level.width))
        check_declared_size((slide.channels, height, width), slide.dtype.itemsize, path.name, settings)
        array = _read_level(slide, number, factor)
        shrunk = level.downsample * factor
        original = original_of(path) if shrunk > 1 and is_tiff(path) else None
        info = _describe(slide, array, shrunk, original is not None)
    return Found(Image(array, info), path.stem, path.name, original=original)


def slide_level_count(slide: Slide, size: int = TILE_SIZE) -> int:
    """Return the number of levels of the slide's pyramid of tiles; see ``slide_tile``."""
    return level_count(slide.levels[0].height, slide.levels[0].width, size)


def slide_tile(slide: Slide, level: int, row: int, column: int, size: int = TILE_SIZE) -> Array:
    """Return one tile of a slide, in the pyramid that ``core.imaging.tiles`` makes of the full resolution.

    It is read from the slide's nearest finer level and averaged down from there.

    Args:
        slide: an open slide.
        level: 0 for the full resolution; each further level is half as large.
        row: number of the tile from the top, from 0.
        column: number of the tile from the left, from 0.
        size: pixels along a tile's edge; tiles at the right and bottom edge are smaller.

    Raises:
        ValueError: when there is no such tile.
        FileRefused: when the file is damaged there.
    """
    full = slide.levels[0]
    rows, columns = level_shape(full.height, full.width, level)
    top, left = row * size, column * size
    if not (0 <= level < slide_level_count(slide, size) and 0 <= top < rows and 0 <= left < columns):
        raise ValueError(
            f"there is no tile {level}/{row}/{column} in a slide of {full.height} x {full.width}."
        )
    height, width = min(size, rows - top), min(size, columns - left)
    number = max(n for n, found in enumerate(slide.levels) if found.downsample <= 2**level * 1.01)
    source = slide.levels[number]
    y, to_y = _span(top, height, rows, source.height)
    x, to_x = _span(left, width, columns, source.width)
    with refusing(slide.name):
        region = slide.read_region(number, x, y, to_x - x, to_y - y)
    if region.shape[:2] == (height, width):
        return region
    return np.asarray(cv2.resize(region, (width, height), interpolation=cv2.INTER_AREA))


def _span(start: int, length: int, total: int, source_total: int) -> tuple[int, int]:
    """Return the part of a source axis that a part of an axis covers."""
    scale = source_total / total
    first = min(round(start * scale), source_total - 1)
    return first, max(first + 1, min(round((start + length) * scale), source_total))


def _choose(levels: tuple[Level, ...], max_pixels: int) -> tuple[int, int]:
    """Return the number of the level to store, and the power of two to average it down by."""
    for number, level in enumerate(levels):
        if level.width * level.height <= max_pixels:
            return number, 1
    smallest, factor = levels[-1], 2
    while -(-smallest.width // factor) * -(-smallest.height // factor) > max_pixels:
        factor *= 2
    return len(levels) - 1, factor


def _read_level(slide: Slide, number: int, factor: int) -> Array:
    """Decode a level in stripes, averaged down by a power of two."""
    level = slide.levels[number]
    shape = (-(-level.height // factor), -(-level.width // factor), slide.channels)
    out = np.empty(shape if slide.channels > 1 else shape[:2], slide.dtype)
    rows = max(1, PIXELS_AT_ONCE // level.width // factor) * factor
    for y in range(0, level.height, rows):
        stripe = slide.read_region(number, 0, y, level.width, min(rows, level.height - y))
        out[y // factor : (y + rows) // factor] = box_mean(stripe, factor)
    out.flags.writeable = False
    return out


def _describe(slide: Slide, array: Array, shrunk: float, is_kept: bool) -> ImageInfo:
    full = slide.levels[0]
    spacing = None
    if slide.mm_per_pixel is not None:
        y, x = slide.mm_per_pixel
        spacing = (y * full.height / array.shape[0], x * full.width / array.shape[1])
    metadata = {
        "file_format": "whole slide",
        "slide_vendor": slide.vendor,
        "slide_size": f"{full.width} x {full.height}",
        "slide_downsample": f"{shrunk:.4g}",
    }
    if slide.objective_power is not None:
        metadata["objective_power"] = f"{slide.objective_power:g}"
    return ImageInfo(
        layout="yx" if array.ndim == 2 else "yxc",
        shape=tuple(array.shape),
        dtype=array.dtype.name,
        spacing_mm=spacing,
        modality=MODALITY,
        metadata=metadata,
        warnings=_warnings(slide, array, shrunk, is_kept),
    )


def _warnings(slide: Slide, array: Array, shrunk: float, is_kept: bool) -> tuple[str, ...]:
    said = []
    if shrunk > 1:
        full, power = slide.levels[0], slide.objective_power
        scale = f"1/{shrunk:.3g} of its resolution"
        if power is not None:
            scale = f"{power / shrunk:.2g}x instead of {power:g}x"
        kept = "is kept with the case" if is_kept else "is not kept: keep the slide's own file"
        said.append(
            f"The slide has {full.width} x {full.height} pixels; this image shows it at {scale} "
            f"({array.shape[1]} x {array.shape[0]}). The full resolution {kept}."
        )
    if slide.mm_per_pixel is None:
        said.append("The slide does not say how large its pixels are; distances are in pixels.")
    return tuple(said)
