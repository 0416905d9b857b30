"""Which reader opens which kind of file. Libraries are imported only for the kinds that come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.imaging.formats import Kind
from core.imaging.found import Found, Skipped
from core.settings import Settings


def read_images(path: Path, kind: Kind, settings: Settings) -> Iterator[Found | Skipped]:
    """Yield the images of one file of any kind but DICOM, whose files belong together as series.

    Args:
        path: the file.
        kind: what ``recognise`` says it is.
        settings: limits.

    Raises:
        FileRefused: when the file is damaged, past the limits, or holds no image.
    """
    if kind == "raster":
        from core.imaging.raster import iter_raster

        yield from iter_raster(path, settings)
    elif kind == "slide":
        from core.imaging.slides import read_slide

        yield read_slide(path, settings)
    elif kind == "arrays":
        from core.imaging.arrays import iter_arrays

        yield from iter_arrays(path, settings)
    elif kind == "dicom":
        raise ValueError("DICOM files are read as series, by core.imaging.dicom.")
    else:
        from core.imaging.volumes import read_volumes

        yield from read_volumes(path, kind, settings)


def count_images(path: Path, kind: Kind) -> int:
    """Return about how many images ``read_images`` will yield, for a progress bar; reads headers only."""
    if kind != "arrays":
        return 1
    from core.imaging import arrays

    return arrays.count_images(path)
