"""TIFF to images: single pages, stacks, several series, OME and ImageJ files."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import FileRefused
from core.imaging.computed import how_from_text, mark_computed
from core.imaging.found import Found
from core.imaging.limits import check_declared_size, check_ratio, declared_bytes
from core.imaging.pixel_size import PixelSize, tag_value, tiff_pixel_size
from core.imaging.volume_file import MAX_PARTS
from core.settings import Settings
from core.types import Array, Image, ImageInfo, Layout

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
UNCOMPRESSED = 1
# The densest LZW turns 1 byte into 1340 (12-bit codes for strings of up to 3838 bytes); deflate 1032.
MAX_RATIO = 1400
LAYOUT_OF_AXES: dict[str, Layout] = {
    "YX": "yx", "YXC": "yxc", "ZYX": "zyx", "ZYXC": "zyxc", "TYX": "tyx", "TYXC": "tyxc",
}  # fmt: skip
JPEG_LOSS = "Stored with JPEG loss: fine values were changed by the compression."
SHADES = {1: 255, 2: 85, 4: 17}  # few shades of grey spread over a byte, as Pillow does for PNG
# What scanners call the pictures that they add to a slide; a label may show a name.
BESIDE = ("label", "macro", "map", "overview", "thumbnail")
LOSSY = ("JPEG", "OJPEG", "WEBP")
BROKEN = ("invalid page offset", "missing data", "corrupt", "incomplete", "missing pages")


@dataclass(frozen=True)
class Pages:
    """One series of a file as stored: its values, what their axes are, its first page, the pixel size."""

    array: Array
    axes: str
    page: TiffPage
    size: PixelSize


class _Complaints(logging.Handler):
    """Collects what tifffile only logs: a chain of pages that breaks off is no exception to it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.messages.append(record.getMessage())


def is_tiff(path: Path) -> bool:
    """Tell by its first four bytes whether a file is TIFF or BigTIFF."""
    with open(path, "rb") as file:
        return file.read(4) in MAGIC


@dataclass(frozen=True)
class OpenTiff:
    """An open TIFF file and what tifffile complained about while reading it."""

    file: TiffFile
    path: Path
    complaints: list[str]

    def read_series(self, number: int, settings: Settings) -> Pages:
        """Check a series against the limits, then decode it.

        Raises:
            FileRefused: over the limits, or the chain of pages breaks off.
        """
        series = self.file.series[number].levels[0]
        check_series(series, self.path, settings)
        page = series.keyframe
        array = np.asarray(series.asarray()).reshape(series.shape)
        self.refuse_if_broken()
        return Pages(array, series.axes, page, tiff_pixel_size(self.file, page, number))

    def refuse_if_broken(self) -> None:
        """Refuse a file whose pages are not all there.

        Raises:
            FileRefused: when tifffile said so.
        """
        if any(word in message.lower() for message in self.complaints for word in BROKEN):
            raise FileRefused(
                f"{self.path.name} is damaged or cut off: not all of its pages are there; get a whole copy."
            )


@contextmanager
def opened_tiff(path: Path) -> Iterator[OpenTiff]:
    """Open a TIFF file; other files that it names are never opened."""
    import tifffile

    complaints = _Complaints()
    logger = logging.getLogger("tifffile")
    logger.addHandler(complaints)
    passed_on, logger.propagate = logger.propagate, False
    try:
        with tifffile.TiffFile(path, _multifile=False, is_mmstack=False, is_ndtiff=False) as file:
            yield OpenTiff(file, path, complaints.messages)
    finally:
        logger.removeHandler(complaints)
        logger.propagate = passed_on


def iter_tiff(path: Path, settings: Settings) -> Iterator[Found]:
    """Yield the images of a TIFF file: one a series; of stacks over time, one a point in time (up to 40).

    A stack is time (``tyx``) unless the file speaks of z or of a slice distance. Thumbnails are left out.

    Raises:
        FileRefused: when it is damaged, too large, or holds more axes than an image can have.
    """
    with opened_tiff(path) as tiff:
        wanted = images_in(tiff.file)
        if not wanted:
            raise FileRefused(f"{path.name} holds no image.")
        for position, number in enumerate(wanted, start=1):
            part = f"image {position}" if len(wanted) > 1 else ""
            yield from _images(tiff.read_series(number, settings), path, part)


def images_in(file: TiffFile) -> list[int]:
    """Return the numbers of the series that are no smaller copy, label or overview of another one."""
    every = range(len(file.series))
    real = [number for number in every if not _is_beside(file.series[number])]
    return real or list(every[:1])


def _is_beside(series: TiffPageSeries) -> bool:
    return bool(series.keyframe.is_reduced) or series.name.lower().removesuffix(" image") in BESIDE


def read_pages(path: Path, settings: Settings) -> tuple[Array, str, TiffPage, PixelSize]:
    """Check the header, then decode the first series as stored: (array, axes, first page, pixel size).

    Raises:
        FileRefused: over the limits, or the chain of pages breaks off.
    """
    with opened_tiff(path) as tiff:
        if not tiff.file.series:
            raise FileRefused(f"{path.name} holds no image.")
        pages = tiff.read_series(0, settings)
    return pages.array, pages.axes, pages.page, pages.size


def oriented(array: Array, orientation: int) -> Array:
    """Turn an array ``yx...`` the way the EXIF/TIFF orientation tag (1 to 8) says.

    Source: EXIF 2.32, tag 0x0112; TIFF 6.0, Orientation.
    """
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def check_series(series: TiffPageSeries, path: Path, settings: Settings) -> None:
    """Refuse a series past the limits, or past what the file can hold, before anything is decoded."""
    shape, axes, dtype = tuple(series.shape), series.axes, np.dtype(series.dtype)
    if "Y" not in axes or "X" not in axes:
        raise FileRefused(f"{path.name} has axes {axes}; an image needs rows and columns (Y and X).")
    if dtype.kind not in "buif":
        raise FileRefused(
            f"{path.name} holds {dtype.name} numbers; save it as 8 or 16-bit whole numbers or float32."
        )
    height, width = shape[axes.index("Y")], shape[axes.index("X")]
    rest = int(np.prod([n for n, axis in zip(shape, axes, strict=True) if axis not in "YX"], dtype=object))
    check_declared_size((rest, height, width), max(1, dtype.itemsize), path.name, settings)
    page = series.keyframe
    declared = declared_bytes((rest, height, width), page.bitspersample) // 8
    # Colour differences of uncompressed YCbCr may be stored for every fourth pixel only.
    ratio = MAX_RATIO if page.compression != UNCOMPRESSED else 2 if photometric_name(page) == "YCBCR" else 1
    check_ratio(declared, path.stat().st_size, ratio, path.name)


def _images(pages: Pages, path: Path, part: str) -> Iterator[Found]:
    """Yield the images of one series."""
    array, axes = _without_single_axes(pages, path.name)
    if not ("T" in axes and "Z" in axes):
        yield _found(pages, array, axes, path, part)
        return
    times = np.moveaxis(array, axes.index("T"), 0)
    axes = axes.replace("T", "")
    count = len(times) if len(times) <= MAX_PARTS else 1
    for index in range(count):
        name = f"{part} time {index + 1:0{len(str(count))}}".strip() if count > 1 else part
        said = (
            () if count > 1 else (f"The file holds {len(times)} points in time and only the first came in.",)
        )
        yield _found(pages, times[index], axes, path, name, said)


def _found(pages: Pages, array: Array, axes: str, path: Path, part: str, said: tuple[str, ...] = ()) -> Found:
    layout, array = _arrange(array, axes, path.name)
    array = _to_plain_values(array, pages.page, layout, path.name)
    array, layout = _drop_extra_channels(array, layout, pages.page)
    size = pages.size
    orientation = int(tag_value(pages.page, "Orientation", 1))
    if layout[0] == "y" and orientation not in (0, 1):
        array = oriented(array, orientation)
        size = size.turned() if orientation in (5, 6, 7, 8) else size
    info = ImageInfo(
        layout=layout,
        shape=array.shape,
        dtype=array.dtype.name,
        spacing_mm=_spacing(layout, size),
        inverted=photometric_name(pages.page) == "MINISWHITE" and layout[-1] != "c",
        metadata={"file_format": "TIFF"},
        warnings=_warnings(array, layout, size) + _losses(pages.page) + said,
    )
    how = how_from_text(str(tag_value(pages.page, "ImageDescription", "")))
    info = mark_computed(info, how) if how else info
    name = f"{stem_of(path)} {part}".strip()
    return Found(Image(array, info), name, path.name, part=part)


def stem_of(path: Path) -> str:
    """Return the file name without its ending, of OME files without both."""
    return path.stem[:-4] if path.stem.lower().endswith(".ome") and len(path.stem) > 4 else path.stem


def _without_single_axes(pages: Pages, name: str) -> tuple[Array, str]:
    """Drop axes of length one and call the others Y, X, C, Z, T."""
    array, axes, size = pages.array, pages.axes, pages.size
    keep = [i for i, (n, axis) in enumerate(zip(array.shape, axes, strict=True)) if n > 1 or axis in "YX"]
    array = array.reshape([array.shape[i] for i in keep])
    axes = "".join(axes[i] for i in keep)
    axes = axes.replace("S", "C") if "C" not in axes else axes
    unnamed = [axis for axis in axes if axis not in "YXCZT"]
    if len(unnamed) == 1:  # pages of no stated meaning
        axes = axes.replace(unnamed[0], "Z" if size.z is not None and "Z" not in axes else "T")
    elif "T" in axes and "Z" not in axes and size.z is not None:
        axes = axes.replace("T", "Z")  # ImageJ's old stacks: a distance between slices, but called time
    if len(set(axes)) != len(axes) or set(axes) - set("YXCZT"):
        raise FileRefused(
            f"{name} has the axes {axes}; save one time point or one stack of it as its own file."
        )
    return array, axes


def _arrange(array: Array, axes: str, name: str) -> tuple[Layout, Array]:
    """Put axes in our order."""
    order = "".join(axis for axis in "ZTYXC" if axis in axes)
    return LAYOUT_OF_AXES[order], np.transpose(array, [axes.index(axis) for axis in order])


def _to_plain_values(array: Array, page: TiffPage, layout: Layout, name: str) -> Array:
    photometric = photometric_name(page)
    if photometric in ("SEPARATED", "CIELAB", "ICCLAB"):
        raise FileRefused(f"{name} is stored in print colours ({photometric}); save it as RGB or grey.")
    if photometric == "PALETTE" and layout[-1] != "c" and page.colormap is not None:
        colors = (np.asarray(page.colormap) >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.moveaxis(colors[:, array], 0, -1))
    if page.bitspersample in SHADES and photometric != "PALETTE":
        return array.astype(np.uint8) * np.uint8(SHADES[page.bitspersample])
    if array.dtype in (np.float64, np.float16):
        return array.astype(np.float32)
    if array.dtype.itemsize == 8:
        return array.astype(np.int32) if np.abs(array).max(initial=0) < 2**31 else array.astype(np.float32)
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


def _drop_extra_channels(array: Array, layout: Layout, page: TiffPage) -> tuple[Array, Layout]:
    """Give palette images their channel axis and drop transparency; measured channels all stay."""
    if array.ndim == len(layout) + 1:
        return array, layout + "c"  # type: ignore[return-value]
    if layout[-1] != "c":
        return array, layout
    colors = 3 if photometric_name(page) in ("RGB", "YCBCR") else 1
    extra = len(page.extrasamples or ())
    if extra and array.shape[-1] == colors + extra and page.samplesperpixel == colors + extra:
        alpha = any(int(kind) in (1, 2) for kind in page.extrasamples)
        if alpha or colors == 3:
            array = array[..., :colors]
    if array.shape[-1] == 1:
        return np.ascontiguousarray(array[..., 0]), layout[:-1]  # type: ignore[return-value]
    return np.ascontiguousarray(array), layout


def _spacing(layout: Layout, size: PixelSize) -> tuple[float, ...] | None:
    if size.yx is None:
        return None
    if layout[0] != "z":
        return size.yx
    return None if size.z is None else (size.z, *size.yx)


def _warnings(array: Array, layout: Layout, size: PixelSize) -> tuple[str, ...]:
    found = []
    if layout[0] == "z" and size.yx is not None and size.z is None:
        found.append("The file gives no distance between slices, so its pixel size was not used.")
    if layout[0] == "t":
        found.append("The pages were taken for frames in time: the file names no distance between slices.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        found.append("The image holds values that are no numbers (NaN or infinite).")
    return tuple(found)


def _losses(page: TiffPage) -> tuple[str, ...]:
    return (JPEG_LOSS,) if getattr(page.compression, "name", "") in LOSSY else ()


def photometric_name(page: TiffPage) -> str:
    """Return what the values of a page stand for, such as "RGB" or "MINISWHITE"."""
    return getattr(page.photometric, "name", str(page.photometric))
