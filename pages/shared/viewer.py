"""Looking at one case: window and level, marks for sides and scale, the overlay's legend."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from core.imaging.geometry import side_marks
from core.imaging.windows import CT_PRESETS
from core.types import Array, ImageInfo, Label, Window
from pages.shared.render import (
    AGREED,
    ONLY_FIRST,
    ONLY_REFERENCE,
    OTHER_LABEL,
    Agreement,
    Look,
    start_window,
    to_png,
    value_range,
)

if TYPE_CHECKING:
    from core.workspace.records import Case
    from core.workspace.workspace import Workspace

BAR_SHARE = 0.2  # the scale bar takes about a fifth of the width
FROM_FILE = "default"
MAX_HEIGHT = 680  # screen pixels


def has_window(info: ImageInfo) -> bool:
    """Return False for colour pictures, which are shown as they are."""
    return info.channels < 3 or info.dtype not in ("uint8", "uint16")


def window_controls(workspace: Workspace, case: Case, key: str) -> Window:
    """Show level and width sliders (and presets for CT); returns the chosen window. Colour needs none."""
    begin = start_window(workspace, case)
    if not has_window(case.info):
        return begin
    presets = {FROM_FILE: begin, **(CT_PRESETS if case.info.modality == "CT" else {})}
    lowest, highest = value_range(workspace, case)
    low = min(lowest, *(window.center for window in presets.values()))
    high = max(highest, *(window.center for window in presets.values()))
    step = 1.0 if high - low > 20 else (high - low) / 200
    widest = max((high - low) * 1.5, *(window.width for window in presets.values()), 2 * step)
    level_key, width_key = f"{key}_level_{case.id}", f"{key}_width_{case.id}"
    st.session_state.setdefault(level_key, float(begin.center))
    st.session_state.setdefault(width_key, float(max(begin.width, step)))

    def _apply() -> None:
        chosen = presets.get(st.session_state.get(f"{key}_preset_{case.id}") or "")
        if chosen is not None:
            st.session_state[level_key] = float(chosen.center)
            st.session_state[width_key] = float(max(chosen.width, step))

    preset_key = f"{key}_preset_{case.id}"
    st.session_state.setdefault(preset_key, FROM_FILE)
    if len(presets) > 1:
        st.selectbox("Window", list(presets), key=preset_key, on_change=_apply)
    unit = " (HU)" if case.info.modality == "CT" else ""
    digits = "%.0f" if step >= 1 else "%.3g"
    level = st.slider(f"Level{unit}", float(low), float(high), step=step, key=level_key, format=digits)
    width = st.slider(f"Width{unit}", step, float(widest), step=step, key=width_key, format=digits)
    return Window(float(level), max(float(width), 1e-6))


def look_controls(key: str) -> Look:
    """Ask how the reading is laid over the picture."""
    opacity = st.slider("Opacity of the overlay", 0.0, 1.0, 0.45, 0.05, key=f"{key}_opacity")
    return Look(opacity, st.toggle("Outline only", key=f"{key}_contour"))


def scale_bar(info: ImageInfo, columns_on_screen: int) -> tuple[float, int] | None:
    """Return (length in mm, length in screen pixels) of a round scale bar; None when spacing is unknown."""
    spacing = info.in_plane_spacing_mm
    if spacing is None:
        return None
    width_mm = info.spatial_shape[-1] * spacing[1]
    wanted = width_mm * BAR_SHARE
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(factor * power for factor in (1, 2, 5) if factor * power <= wanted * (1 + 1e-9))
    return float(length), max(1, round(length / width_mm * columns_on_screen))


def draw_marks(picture: Array, info: ImageInfo, lines: int = 42) -> Array:
    """Write side letters and a scale bar (or "spacing unknown") on a picture made for the screen.

    Args:
        picture: (y, x, 3) uint8.
        info: geometry of the image.
        lines: how many lines of text the longer side would hold; fewer means larger letters.
    """
    image = PilImage.fromarray(np.ascontiguousarray(picture))
    draw = ImageDraw.Draw(image)
    rows, columns = picture.shape[:2]
    size = max(13, round(max(rows, columns) / lines))
    font = ImageFont.load_default(size)
    look = {
        "font": font,
        "fill": (255, 255, 255),
        "stroke_width": max(1, size // 9),
        "stroke_fill": (0, 0, 0),
    }
    sides = side_marks(info)
    if sides is not None:
        gap = size // 2
        places = (
            ((gap, rows // 2), "lm"), ((columns - gap, rows // 2), "rm"),
            ((columns // 2, gap), "mt"), ((columns // 2, rows - gap), "mb"),
        )  # fmt: skip
        for letter, (place, anchor) in zip(sides, places, strict=True):
            draw.text(place, letter, anchor=anchor, **look)
    bar = scale_bar(info, columns)
    x, y = size, rows - size
    if bar is None:
        draw.text((x, y), "spacing unknown", anchor="ls", **look)
        return np.asarray(image)
    length, pixels = bar
    draw.line((x, y, x + pixels, y), fill=(0, 0, 0), width=max(4, size // 3))
    draw.line((x, y, x + pixels, y), fill=(255, 255, 255), width=max(2, size // 6))
    draw.text((x, y - size // 2), f"{length:g} mm", anchor="ls", **look)
    return np.asarray(image)


def show_plane(picture: Array, info: ImageInfo, alt: str, small: bool = False) -> None:
    """Show a picture with side letters and scale bar, as PNG, no higher than a screen.

    Args:
        picture: (y, x, 3) uint8, made for the screen (``render.with_reading``).
        info: geometry of the image.
        alt: what a screen reader says.
        small: True in a narrow column; letters are drawn larger, because the picture is shrunk.
    """
    marked = draw_marks(picture, info, 24 if small else 42)
    rows, columns = marked.shape[:2]
    st.image(to_png(marked), output_format="PNG", width=max(1, round(MAX_HEIGHT * columns / rows)), alt=alt)


def _swatch(color: str, text: str) -> str:
    box = (
        f'<span style="display:inline-block;width:0.8em;height:0.8em;background:{color};margin-right:0.4em">'
    )
    return f'<span style="margin-right:1.4em;white-space:nowrap">{box}</span>{html.escape(text)}</span>'


def label_legend(labels: tuple[Label, ...]) -> None:
    """Show the labels with their colours."""
    st.html("<div>" + "".join(_swatch(label.color, label.name) for label in labels) + "</div>")


def agreement_legend(counts: Agreement, first: str, other: str) -> None:
    """Explain the colours of the agreement map, with the pixels of this plane."""
    parts: tuple[tuple[tuple[int, int, int], str], ...] = (
        (AGREED, f"both ({counts.both:,} px)"),
        (ONLY_FIRST, f"only {first}: false positive ({counts.only_first:,} px)"),
        (ONLY_REFERENCE, f"only {other}: false negative ({counts.only_reference:,} px)"),
    )
    if counts.other_label:
        parts += ((OTHER_LABEL, f"another label ({counts.other_label:,} px)"),)
    color_legend(*parts)


def color_legend(*parts: tuple[tuple[int, int, int], str]) -> None:
    """Explain colours (red, green, blue) in words."""
    st.html(
        "<div>" + "".join(_swatch("#{:02x}{:02x}{:02x}".format(*c), text) for c, text in parts) + "</div>"
    )
