"""What the browser must know about an image to show it; plain JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.imaging.frames import wire_type
from core.imaging.pyramid import is_tiled, level_shapes
from core.imaging.windows import CT_PRESETS
from core.types import ImageInfo, Window

if TYPE_CHECKING:
    from core.workspace.records import Case
    from core.workspace.workspace import Workspace

FROM_FILE, FITTED, FULL = "from file", "fitted", "full range"
AIR_HU, BONE_HU = -800, 250
CT_ORDER = ("soft tissue", "lung", "bone", "brain", "mediastinum", "liver")


def has_window(info: ImageInfo) -> bool:
    """Return False for colour pictures, which are shown as they are."""
    return info.channels < 3 or info.dtype not in ("uint8", "uint16")


def image_facts(workspace: Workspace, case: Case) -> dict[str, Any]:
    """Return size, geometry, values and windows of a case's image."""
    # The routes are known before Streamlit runs; its caches may only be made afterwards.
    from pages.shared.render import start_window, value_range

    info = case.info
    rows, columns = info.spatial_shape[-2:]
    limits = value_range(workspace, case)
    begin = start_window(workspace, case)
    if info.window is None and looks_like_ct(info, limits):
        begin = CT_PRESETS["soft tissue"]
    tiled = is_tiled((rows, columns))
    return {
        "id": case.image_id,
        "sha256": case.image_sha256,
        "rows": rows,
        "columns": columns,
        "slices": info.slices,
        "channels": info.channels,
        "color": info.layout[-1] == "c",
        "volume": info.is_volume,
        "stored": info.dtype,
        "wire": wire_type(info.dtype),
        "spacing": None if info.spacing_mm is None else list(info.spacing_mm),
        "affine": None if info.affine_lps is None else [list(row) for row in info.affine_lps],
        "modality": info.modality,
        "unit": "HU" if info.modality == "CT" else "",
        "inverted": info.inverted,
        "windowed": has_window(info),
        "range": list(limits),
        "windows": window_list(info, begin, limits),
        "levels": [list(shape) for shape in level_shapes(rows, columns)] if tiled else [],
    }


def looks_like_ct(info: ImageInfo, limits: tuple[float, float]) -> bool:
    """Return True for values that reach from air to bone in HU where the file does not say what it is (NIfTI)."""
    low, high = limits
    return info.modality in ("", "OT") and info.is_volume and -5000 <= low <= AIR_HU and high >= BONE_HU


def window_list(info: ImageInfo, begin: Window, limits: tuple[float, float]) -> list[dict[str, Any]]:
    """Return the windows by name, the one to begin with first; keys 1, 2, 3 ... choose them."""
    low, high = limits
    whole = info.dtype.startswith(("int", "uint"))
    full = Window((low + high + 1) / 2, high - low + 1) if whole else Window((low + high) / 2, high - low)
    named = [(FITTED if info.window is None else FROM_FILE, begin), (FULL, full)]
    if info.modality == "CT" or looks_like_ct(info, limits):
        named += [(name, CT_PRESETS[name]) for name in CT_ORDER]
    return [{"name": name, "center": window.center, "width": window.width} for name, window in named]
