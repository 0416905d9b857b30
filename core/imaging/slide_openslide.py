"""Slides through OpenSlide, which is an extra: everything here works without it but says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.imaging.slide_file import Level, positive
from core.types import Array

GENERIC = "generic-tiff"  # read by tifffile, exactly as stored
MM_PER_MICRON = 1e-3
WHITE = "ffffff"


def is_openslide_there() -> bool:
    """Tell whether OpenSlide is installed."""
    try:
        import openslide
    except (ImportError, OSError):  # OSError: the wrapper is there, its library is not
        return False
    return bool(openslide.__version__)


def is_for_openslide(path: Path) -> bool:
    """Tell whether a file is of a scanner's format that the OpenSlide at hand reads."""
    if not is_openslide_there():
        return False
    import openslide

    return openslide.OpenSlide.detect_format(path) not in (None, GENERIC)


@contextmanager
def opened_openslide(path: Path) -> Iterator[OpenSlideFile]:
    """Open a slide with OpenSlide."""
    import openslide

    with openslide.OpenSlide(path) as slide:
        yield OpenSlideFile(slide, path.name)


class OpenSlideFile:
    """A slide that OpenSlide reads; see ``slide_file.Slide``."""

    channels = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, slide: Any, name: str) -> None:
        self._slide = slide
        self.name = name
        properties = slide.properties
        self.vendor = str(properties.get("openslide.vendor", "unknown"))
        self.levels = tuple(
            Level(int(width), int(height), float(downsample))
            for (width, height), downsample in zip(
                slide.level_dimensions, slide.level_downsamples, strict=True
            )
        )
        self.objective_power = positive(properties.get("openslide.objective-power"))
        y, x = (positive(properties.get(f"openslide.mpp-{axis}")) for axis in "yx")
        self.mm_per_pixel = (y * MM_PER_MICRON, x * MM_PER_MICRON) if y and x else None
        background = properties.get("openslide.background-color", WHITE)
        self._background = np.array([int(background[at : at + 2], 16) for at in (0, 2, 4)], np.float32)

    def read_region(self, level: int, x: int, y: int, width: int, height: int) -> Array:
        """Return a region; where the scanner saw nothing, the background's colour."""
        factor = self.levels[level].downsample
        picture = self._slide.read_region((round(x * factor), round(y * factor)), level, (width, height))
        pixels = np.asarray(picture)
        colors, alpha = pixels[..., :3], pixels[..., 3]
        if (alpha == 255).all():
            return np.ascontiguousarray(colors)
        share = (alpha / np.float32(255))[..., np.newaxis]
        return np.asarray(np.rint(colors * share + self._background * (1 - share)), dtype=np.uint8)
