"""The nouns everything else is made of: an image with its geometry, a label, a region in mm."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

WindowFunction = Literal["linear", "linear_exact", "sigmoid"]
Layout = Literal["yx", "yxc", "zyx", "zyxc", "tyx", "tyxc"]
Split = Literal["train", "val", "test"]
LAYOUTS: tuple[Layout, ...] = ("yx", "yxc", "zyx", "zyxc", "tyx", "tyxc")
SPLITS: tuple[Split, ...] = ("train", "val", "test")

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Window:
    """A display window in the image's own units (HU for CT).

    Attributes:
        center, width: the range that is spread over the shades of grey.
        function: how values become shades, see ``core.imaging.windows.to_display``.
        name: what the window is for, such as "bone"; empty when the file does not say.
    """

    center: float
    width: float
    function: WindowFunction = "linear"
    name: str = ""

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ValueError(f"window width must be positive, got {self.width}.")

    @property
    def low(self) -> float:
        """The value shown as black."""
        return self.center - self.width / 2

    @property
    def high(self) -> float:
        """The value shown as white."""
        return self.center + self.width / 2


@dataclass(frozen=True)
class ShadeTable:
    """A display curve given point by point (a VOI LUT), in place of a window.

    Attributes:
        first: the value, in the image's own units, that the first entry is for; each next entry is for one
            more. Values below and above take the first and the last shade.
        shades: one byte per entry (0 black, 255 white), deflated (a curve of 16 bits takes a few hundred bytes),
            as base64 text.
        name: what the curve is for; empty when the file does not say.
    """

    first: float
    shades: str = field(repr=False)
    name: str = ""

    @classmethod
    def of(cls, first: float, shades: Array, name: str = "") -> ShadeTable:
        """Make a table from its entries, uint8."""
        packed = zlib.compress(shades.astype(np.uint8).tobytes(), 9)
        return cls(first, base64.b64encode(packed).decode("ascii"), name)

    @property
    def array(self) -> Array:
        """The entries, uint8."""
        return np.frombuffer(zlib.decompress(base64.b64decode(self.shades)), np.uint8)


@dataclass(frozen=True)
class Label:
    """One entry of a project's label set. ``value`` is its number in a label map; 0 is background."""

    value: int
    name: str
    color: str  # "#rrggbb"


LABEL_COLORS = (
    "#e6550d", "#2ca6a4", "#8c6bb1", "#d4b106", "#3182bd", "#e377c2", "#74c476", "#a1662f",
    "#f768a1", "#6baed6", "#bcbd22", "#9e9ac8",
)  # fmt: skip


def make_labels(names: list[str]) -> tuple[Label, ...]:
    """Number labels from 1 in the order given and give each a colour.

    Raises:
        ValueError: when a name is empty or stands twice.
    """
    cleaned = [name.strip() for name in names]
    if not all(cleaned):
        raise ValueError("Every label needs a name.")
    if len(set(cleaned)) != len(cleaned):
        raise ValueError(f"Label names must differ, got {', '.join(cleaned)}.")
    return tuple(
        Label(number, name, LABEL_COLORS[(number - 1) % len(LABEL_COLORS)])
        for number, name in enumerate(cleaned, start=1)
    )


@dataclass(frozen=True)
class ImageInfo:
    """All of an image but its pixels. JSON-ready through ``dataclasses.asdict``.

    Attributes:
        layout: names of the array's axes.
        shape: shape of the array, in the order of ``layout``.
        dtype: NumPy name of the array's type, such as "int16".
        spacing_mm: millimetres per step along the spatial axes, (y, x) or (z, y, x); None when unknown.
        affine_lps: 4x4 rows, voxel index (x, y, z, 1) to LPS millimetres; None when unknown.
        modality: DICOM modality code ("CT", "MR", "US", "DX", ...), "OT" when unknown.
        window: the display window to begin with, from the file, or None. Where the file gives only a curve, the
            linear window that comes nearest to it.
        inverted: True when low values are shown bright (MONOCHROME1).
        metadata: facts that name nobody (manufacturer, body part, series description, kVp ...).
        warnings: sentences about what was assumed or looks wrong.
        windows: all display windows of the file, the first one included.
        shade_table: display curve from the file, or None.
    """

    layout: Layout
    shape: tuple[int, ...]
    dtype: str
    spacing_mm: tuple[float, ...] | None = None
    affine_lps: tuple[tuple[float, ...], ...] | None = None
    modality: str = "OT"
    window: Window | None = None
    inverted: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    shade_table: ShadeTable | None = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {self.layout!r}.")
        if len(self.shape) != len(self.layout):
            raise ValueError(f"shape {self.shape} does not fit layout {self.layout!r}.")
        if min(self.shape) < 1:
            raise ValueError(f"every axis needs at least one element, got shape {self.shape}.")
        if self.spacing_mm is not None:
            spatial = 3 if self.layout[0] == "z" else 2
            if len(self.spacing_mm) != spatial or not all(0 < s < 1e6 for s in self.spacing_mm):
                raise ValueError(f"spacing_mm must be {spatial} positive numbers, got {self.spacing_mm}.")

    @property
    def channels(self) -> int:
        """Number of channels; 1 for grey images."""
        return self.shape[-1] if self.layout[-1] == "c" else 1

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape without the channel axis; what a mask of this image must have."""
        return self.shape[:-1] if self.layout[-1] == "c" else self.shape

    @property
    def slices(self) -> int:
        """Number of planes one can scroll through; 1 for a single image."""
        return 1 if self.layout[0] == "y" else self.shape[0]

    @property
    def is_volume(self) -> bool:
        """True when the first axis is space (z), not time."""
        return self.layout[0] == "z"

    @property
    def in_plane_spacing_mm(self) -> tuple[float, float] | None:
        """(y, x) spacing, or None when unknown."""
        return None if self.spacing_mm is None else (self.spacing_mm[-2], self.spacing_mm[-1])


def info_to_json(info: ImageInfo) -> dict[str, Any]:
    """Turn an ImageInfo into plain JSON values."""
    from dataclasses import asdict

    return asdict(info)


def info_from_json(data: dict[str, Any]) -> ImageInfo:
    """Rebuild an ImageInfo from ``info_to_json``'s values."""
    affine = data.get("affine_lps")
    spacing = data.get("spacing_mm")
    window, table = data.get("window"), data.get("shade_table")
    return ImageInfo(
        layout=data["layout"],
        shape=tuple(data["shape"]),
        dtype=data["dtype"],
        spacing_mm=None if spacing is None else tuple(spacing),
        affine_lps=None if affine is None else tuple(tuple(row) for row in affine),
        modality=data.get("modality", "OT"),
        window=None if window is None else Window(**window),
        inverted=data.get("inverted", False),
        metadata=dict(data.get("metadata", {})),
        warnings=tuple(data.get("warnings", ())),
        windows=tuple(Window(**item) for item in data.get("windows", ())),
        shade_table=None if table is None else ShadeTable(**table),
    )


@dataclass(frozen=True)
class Image:
    """Pixels with geometry. Values are physical (HU, or the modality's own), read-only, channels last."""

    array: Array
    info: ImageInfo

    def __post_init__(self) -> None:
        if tuple(self.array.shape) != self.info.shape:
            raise ValueError(f"array has shape {self.array.shape}, its info says {self.info.shape}.")

    def plane(self, index: int) -> Array:
        """Return one plane, ``yx`` or ``yxc``; index 0 of a single image is the image."""
        return self.array if self.info.layout[0] == "y" else self.array[index]
