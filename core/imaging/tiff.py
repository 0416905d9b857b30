"""TIFF to an Image: single pages, stacks, OME and ImageJ files, with pixel sizes where they can be trusted."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from core.errors import FileRefused
from core.imaging.computed import how_from_text, mark_computed
from core.imaging.limits import check_declared_size
from core.settings import Settings
from core.types import Array, Image, ImageInfo, Layout

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MM_PER_UNIT = {
    "nm": 1e-6, "µm": 1e-3, "um": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3,
    "mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "\\u00b5m": 1e-3,
}  # fmt: skip
FINEST_PRINT_MM = (
    0.02  # resolution tags above this pixel size are printing and screen defaults (72 to 1200 dpi)
)
SPATIAL_FROM_AXES: dict[str, Layout] = {
    "YX": "yx", "YXC": "yxc", "ZYX": "zyx", "ZYXC": "zyxc", "TYX": "tyx", "TYXC": "tyxc",
}  # fmt: skip


@dataclass(frozen=True)
class PixelSize:
    """Millimetres per step; None where the file says nothing that can be trusted."""

    yx: tuple[float, float] | None = None
    z: float | None = None


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


def read_tiff(path: Path, settings: Settings) -> Image:
    """Read a TIFF file; a stack is time (``tyx``) unless the file speaks of z or of a slice distance.

    Raises:
        FileRefused: when it is damaged, too large, or holds more axes than an image can have.
    """
    array, axes, page, size = read_pages(path, settings)
    layout, array = _arrange(array, axes, size, path.name)
    array = _to_plain_values(array, page, layout, path.name)
    array, layout = _drop_extra_channels(array, layout, page)
    orientation = _tag(page, "Orientation", 1)
    if layout[0] == "y" and orientation not in (0, 1):
        array = oriented(array, int(orientation))
        if orientation in (5, 6, 7, 8) and size.yx:
            size = PixelSize((size.yx[1], size.yx[0]), size.z)
    info = ImageInfo(
        layout=layout,
        shape=array.shape,
        dtype=array.dtype.name,
        spacing_mm=_spacing(layout, size),
        inverted=_photometric(page) == "MINISWHITE" and layout[-1] != "c",
        metadata={"file_format": "TIFF"},
        warnings=_warnings(array, layout, size),
    )
    how = how_from_text(str(_tag(page, "ImageDescription", "")))
    return Image(array, mark_computed(info, how) if how else info)


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


def read_pages(path: Path, settings: Settings) -> tuple[Array, str, TiffPage, PixelSize]:
    """Check the header, then decode the first series as stored: (array, axes, first page, pixel size).

    Raises:
        FileRefused: over the limits, or the chain of pages breaks off.
    """
    import tifffile

    complaints = _Complaints()
    logger = logging.getLogger("tifffile")
    logger.addHandler(complaints)
    passed_on, logger.propagate = logger.propagate, False
    try:
        with tifffile.TiffFile(path) as file:
            if not file.series:
                raise FileRefused(f"{path.name} holds no image.")
            series = file.series[0].levels[0]
            _check_size(tuple(series.shape), series.axes, np.dtype(series.dtype), path.name, settings)
            page = series.keyframe
            array = series.asarray()
            size = _pixel_size(file, page)
            _refuse_when_broken(complaints.messages, path.name)
            return np.asarray(array).reshape(series.shape), series.axes, page, size
    finally:
        logger.removeHandler(complaints)
        logger.propagate = passed_on


def _refuse_when_broken(messages: list[str], name: str) -> None:
    words = ("invalid page offset", "missing data", "corrupt", "incomplete", "missing pages")
    if any(word in message.lower() for message in messages for word in words):
        raise FileRefused(f"{name} is damaged or cut off: not all of its pages are there; get a whole copy.")


def _check_size(
    shape: tuple[int, ...], axes: str, dtype: np.dtype[Any], name: str, settings: Settings
) -> None:
    if "Y" not in axes or "X" not in axes:
        raise FileRefused(f"{name} has axes {axes}; an image needs rows and columns (Y and X).")
    if dtype.kind not in "buif":
        raise FileRefused(
            f"{name} holds {dtype.name} numbers; save it as 8 or 16-bit whole numbers or float32."
        )
    height, width = shape[axes.index("Y")], shape[axes.index("X")]
    rest = int(np.prod([n for n, axis in zip(shape, axes, strict=True) if axis not in "YX"], dtype=object))
    check_declared_size((rest, height, width), max(1, dtype.itemsize), name, settings)


def _arrange(array: Array, axes: str, size: PixelSize, name: str) -> tuple[Layout, Array]:
    """Drop axes of length one and put the others in our order."""
    keep = [i for i, (n, axis) in enumerate(zip(array.shape, axes, strict=True)) if n > 1 or axis in "YX"]
    array = array.reshape([array.shape[i] for i in keep])
    axes = "".join(axes[i] for i in keep)
    axes = axes.replace("S", "C") if "C" not in axes else axes
    pages = [axis for axis in axes if axis not in "YXCZT"]
    if len(pages) == 1:  # pages of no stated meaning
        axes = axes.replace(pages[0], "Z" if size.z is not None and "Z" not in axes else "T")
    elif "T" in axes and "Z" not in axes and size.z is not None:
        axes = axes.replace("T", "Z")  # ImageJ's old stacks: a distance between slices, but called time
    order = "".join(axis for axis in "ZTYXC" if axis in axes)
    if order not in SPATIAL_FROM_AXES or len(order) != len(axes):
        raise FileRefused(
            f"{name} has the axes {axes}; save one time point or one stack of it as its own file."
        )
    return SPATIAL_FROM_AXES[order], np.transpose(array, [axes.index(axis) for axis in order])


def _to_plain_values(array: Array, page: TiffPage, layout: Layout, name: str) -> Array:
    photometric = _photometric(page)
    if photometric in ("SEPARATED", "CIELAB", "ICCLAB"):
        raise FileRefused(f"{name} is stored in print colours ({photometric}); save it as RGB or grey.")
    if photometric == "PALETTE" and layout[-1] != "c" and page.colormap is not None:
        colors = (np.asarray(page.colormap) >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.moveaxis(colors[:, array], 0, -1))
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
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
    colors = 3 if _photometric(page) in ("RGB", "YCBCR") else 1
    extra = len(page.extrasamples or ())
    if extra and array.shape[-1] == colors + extra and page.samplesperpixel == colors + extra:
        alpha = any(int(kind) in (1, 2) for kind in page.extrasamples)
        if alpha or colors == 3:
            array = array[..., :colors]
    if array.shape[-1] == 1:
        return np.ascontiguousarray(array[..., 0]), layout[:-1]  # type: ignore[return-value]
    return np.ascontiguousarray(array), layout


def _pixel_size(file: TiffFile, page: TiffPage) -> PixelSize:
    if file.is_ome and file.ome_metadata:
        return _ome_pixel_size(file.ome_metadata)
    resolution = _pixels_per_unit(page)
    if file.is_imagej and file.imagej_metadata:
        unit = MM_PER_UNIT.get(str(file.imagej_metadata.get("unit", "")).strip().lower())
        if unit is None:
            return PixelSize()
        depth = file.imagej_metadata.get("spacing")
        z = _positive(float(depth) * unit) if isinstance(depth, int | float) else None
        return PixelSize((unit / resolution[0], unit / resolution[1]) if resolution else None, z)
    unit_mm = {2: 25.4, 3: 10.0}.get(int(_tag(page, "ResolutionUnit", 1)))
    if resolution is None or unit_mm is None:
        return PixelSize()
    found = (unit_mm / resolution[0], unit_mm / resolution[1])
    return PixelSize(found) if max(found) < FINEST_PRINT_MM else PixelSize()


def _ome_pixel_size(xml: str) -> PixelSize:
    if "<!ENTITY" in xml or "<!DOCTYPE" in xml:  # no OME writer does; entity bombs do
        return PixelSize()
    root = ElementTree.fromstring(xml)  # noqa: S314 - entities were refused above
    pixels = next((node for node in root.iter() if node.tag.rsplit("}", 1)[-1] == "Pixels"), None)
    if pixels is None:
        return PixelSize()

    def length(axis: str) -> float | None:
        unit = MM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm").lower())
        value = pixels.get(f"PhysicalSize{axis}")
        return None if value is None or unit is None else _positive(float(value) * unit)

    y, x = length("Y"), length("X")
    return PixelSize((y, x) if y and x else None, length("Z"))


def _pixels_per_unit(page: TiffPage) -> tuple[float, float] | None:
    """Return (y, x) pixels per unit from the resolution tags."""
    found = []
    for name in ("YResolution", "XResolution"):
        value = _tag(page, name, None)
        if not isinstance(value, tuple) or len(value) != 2 or not value[1] or not value[0]:
            return None
        found.append(value[0] / value[1])
    return found[0], found[1]


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


def _photometric(page: TiffPage) -> str:
    return getattr(page.photometric, "name", str(page.photometric))


def _tag(page: TiffPage, name: str, default: Any) -> Any:
    tag = page.tags.get(name)
    return default if tag is None else tag.value


def _positive(value: float) -> float | None:
    return value if 0 < value < 1e6 else None
