"""How large a pixel is, from what microscopes and editors write into TIFF and other picture files.

Resolution tags are mostly the printing or screen default of a program. They count only where no printer comes in
question; what is left unknown stays unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MM_PER_UNIT = {
    "nm": 1e-6, "µm": 1e-3, "um": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3,
    "mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "\\u00b5m": 1e-3, "pm": 1e-9,
}  # fmt: skip
FINEST_PRINT_MM = 0.02  # larger pixels are printing and screen defaults (72 to 1200 dpi)
FINEST_MM = 1e-8  # a hundredth of a nanometre: no microscope is finer
SEM_KEYS = ("ap_image_pixel_size", "ap_pixel_size")


@dataclass(frozen=True)
class PixelSize:
    """Millimetres per step; None where the file says nothing that can be trusted."""

    yx: tuple[float, float] | None = None
    z: float | None = None

    def turned(self) -> PixelSize:
        """Return it for an image whose rows became columns."""
        return self if self.yx is None else PixelSize((self.yx[1], self.yx[0]), self.z)


UNKNOWN_SIZE = PixelSize()


def from_resolution(per_unit_yx: Sequence[float] | None, unit_mm: float | None) -> PixelSize:
    """Return the size that a resolution says, where it is too fine to be a printer's.

    Args:
        per_unit_yx: pixels per unit along y and x, None when not given.
        unit_mm: millimetres per unit, None when not given.
    """
    if per_unit_yx is None or unit_mm is None or min(per_unit_yx) <= 0:
        return UNKNOWN_SIZE
    found = (unit_mm / per_unit_yx[0], unit_mm / per_unit_yx[1])
    return PixelSize(found) if min(found) > FINEST_MM and max(found) < FINEST_PRINT_MM else UNKNOWN_SIZE


def tiff_pixel_size(file: TiffFile, page: TiffPage, series: int = 0) -> PixelSize:
    """Return the pixel size of a TIFF file's image: by OME, ImageJ, a microscope's own tags, or its resolution.

    Args:
        file: the open file.
        page: the image's first page.
        series: number of the image in the file.
    """
    if file.is_ome and file.ome_metadata:
        return _from_ome(file.ome_metadata, series)
    resolution = _pixels_per_unit(page)
    if file.is_imagej and file.imagej_metadata:
        return _from_imagej(file.imagej_metadata, resolution)
    if file.is_lsm and file.lsm_metadata:
        sizes = [_positive(file.lsm_metadata.get(f"VoxelSize{axis}"), 1000.0) for axis in "YXZ"]
        return _both(sizes[0], sizes[1], sizes[2])
    if file.is_fei and file.fei_metadata:
        scan = file.fei_metadata.get("Scan", {})
        return _both(_positive(scan.get("PixelHeight"), 1000.0), _positive(scan.get("PixelWidth"), 1000.0))
    if file.is_sem and file.sem_metadata:
        return _from_sem(file.sem_metadata)
    unit_mm = {2: 25.4, 3: 10.0}.get(int(tag_value(page, "ResolutionUnit", 1)))
    return from_resolution(resolution, unit_mm)


def tag_value(page: TiffPage, name: str, default: Any) -> Any:
    """Return the value of a page's tag."""
    tag = page.tags.get(name)
    return default if tag is None else tag.value


def _from_ome(xml: str, series: int) -> PixelSize:
    if "<!ENTITY" in xml or "<!DOCTYPE" in xml:  # no OME writer does; entity bombs do
        return UNKNOWN_SIZE
    root = ElementTree.fromstring(xml)  # noqa: S314 - entities were refused above
    images = [node for node in root.iter() if node.tag.rsplit("}", 1)[-1] == "Pixels"]
    if not images:
        return UNKNOWN_SIZE
    pixels = images[min(series, len(images) - 1)]

    def length(axis: str) -> float | None:
        unit = MM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm").lower())
        value = pixels.get(f"PhysicalSize{axis}")
        return None if value is None or unit is None else _positive(float(value), unit)

    return _both(length("Y"), length("X"), length("Z"))


def _from_imagej(metadata: dict[str, Any], resolution: tuple[float, float] | None) -> PixelSize:
    unit = MM_PER_UNIT.get(str(metadata.get("unit", "")).strip().lower())
    if unit is None:
        return UNKNOWN_SIZE
    z = _positive(metadata.get("spacing"), unit)
    return PixelSize((unit / resolution[0], unit / resolution[1]) if resolution else None, z)


def _from_sem(metadata: dict[str, Any]) -> PixelSize:
    """Read Zeiss's table, whose entries are (name, number, unit)."""
    for key in SEM_KEYS:
        entry = metadata.get(key)
        if isinstance(entry, tuple) and len(entry) == 3:
            size = _positive(entry[1], MM_PER_UNIT.get(str(entry[2]).lower(), 0.0))
            return _both(size, size)
    return UNKNOWN_SIZE


def _pixels_per_unit(page: TiffPage) -> tuple[float, float] | None:
    """Return (y, x) pixels per unit from the resolution tags."""
    found = []
    for name in ("YResolution", "XResolution"):
        value = tag_value(page, name, None)
        if not isinstance(value, tuple) or len(value) != 2 or not value[1] or not value[0]:
            return None
        found.append(value[0] / value[1])
    return found[0], found[1]


def _both(y: float | None, x: float | None, z: float | None = None) -> PixelSize:
    return PixelSize((y, x) if y and x else None, z)


def _positive(value: Any, unit_mm: float) -> float | None:
    """Return a length in mm; None for what is no length."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    length = float(value) * unit_mm
    return length if 0 < length < 1e6 else None
