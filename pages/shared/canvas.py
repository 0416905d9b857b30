"""The drawing canvas: strokes, polygons and boxes over a picture, handed out once each and in order.

Wraps streamlit-drawable-canvas 0.13. The library draws; ``assets/canvas/gate.js`` stands between it and Streamlit,
because the library empties itself when it is given a new drawing and would lose a stroke made meanwhile.

Coordinates: display pixels count from the top left corner of the canvas. A :class:`View` maps them to the
image's own grid, where the pixel in column i covers [i, i + 1) and its centre lies at i + 0.5.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st

from core.types import Array

Tool = Literal["brush", "eraser", "polygon", "box", "zoom", "move"]
MODES: dict[Tool, str] = {
    "brush": "freedraw", "eraser": "freedraw", "polygon": "polygon", "box": "rect", "zoom": "rect",
    "move": "freedraw",
}  # fmt: skip

ASSETS = Path(__file__).resolve().parent.parent.parent / "assets" / "canvas"
LIBRARY = "streamlit-drawable-canvas.streamlit_drawable_canvas"
MAX_POINTS = 20_000
MIN_BOX = 3.0  # display pixels; a smaller box is a click
_STROKE = re.compile(r"rgba\((\d+), ?(\d+), ?(\d+), ?0\.(\d{8})\)")


@dataclass(frozen=True)
class View:
    """The part of a plane that the canvas shows, and how large.

    Attributes:
        left, top: first column and row shown.
        columns, rows: number of image pixels shown.
        width, height: size on screen in display pixels.
    """

    left: int
    top: int
    columns: int
    rows: int
    width: int
    height: int

    @property
    def scale(self) -> tuple[float, float]:
        """Display pixels per image pixel, (x, y)."""
        return self.width / self.columns, self.height / self.rows

    def to_image(self, points: Array) -> Array:
        """Turn display points (n, 2) as (x, y) into continuous image coordinates."""
        return np.asarray(points, float) / self.scale + (self.left, self.top)

    @property
    def region(self) -> tuple[slice, slice]:
        """Rows and columns shown, as slices of a plane."""
        return slice(self.top, self.top + self.rows), slice(self.left, self.left + self.columns)


@dataclass(frozen=True)
class Mark:
    """One finished object: what was drawn, with which tool, in display pixels.

    Attributes:
        tool: the tool it was drawn with.
        label: value written into the mask; 0 removes.
        points: (n, 2) display coordinates as (x, y): the line of a stroke, the corners of an area.
        width: width of a stroke in display pixels; 0 for areas.
    """

    tool: Tool
    label: int
    points: Array
    width: float = 0.0


@dataclass(frozen=True)
class Batch:
    """What is on the canvas for one view: the marks from number ``first`` on."""

    context: str
    first: int
    raw: tuple[dict[str, Any], ...]

    @property
    def end(self) -> int:
        """Number of marks made so far in this view."""
        return self.first + len(self.raw)


@dataclass(frozen=True)
class Pictures:
    """What lies under the drawing: PNG bytes of the picture and of the marks, both stretched to the canvas."""

    picture: bytes
    marks: bytes
    opacity: float = 0.5
    pixelated: bool = False


@dataclass(frozen=True)
class Pen:
    """The tool in hand: what it draws, in which colour ("#rrggbb"), how wide in display pixels.

    ``filled`` is False where an area stands for an object that is only framed.
    """

    tool: Tool
    label: int
    color: str
    width: float = 1.0
    filled: bool = True


# --- from the browser ------------------------------------------------------------------------------------


def stroke_color(tool: Tool, label: int, color: str) -> str:
    """Write tool and label into the colour an object is drawn with, so that each object says what it is.

    The alpha is 0.5 and some: digits 2-6 carry the label, digits 7 and 8 the tool.
    """
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.5{label:05d}{list(MODES).index(tool):02d})"


def read_batches(value: Any) -> list[Batch]:
    """Read what the gate sent; anything that is not a batch is dropped (it comes from the browser)."""
    batches = []
    for entry in value if isinstance(value, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("objects"), list):
            continue
        first = entry.get("base")
        if isinstance(first, (int, float)) and first >= 0:
            raw = tuple(item for item in entry["objects"] if isinstance(item, dict))
            batches.append(Batch(str(entry.get("context")), int(first), raw))
    return batches


def read_mark(raw: dict[str, Any]) -> Mark | None:
    """Read one drawn object; None when it is none of ours, empty or too large."""
    found = _STROKE.fullmatch(str(raw.get("stroke")))
    if found is None:
        return None
    digits = found.group(4)
    tools = list(MODES)
    if int(digits[6:]) >= len(tools):
        return None
    tool, label = tools[int(digits[6:])], int(digits[1:6])
    try:
        if MODES[tool] == "freedraw":
            width = float(raw.get("strokeWidth") or 0)
            points = flatten_path(raw.get("path") or [])
            ok = 0 < width < 1e4
        else:
            width = 0.0
            points = _corners(raw)
            ok = len(points) >= 3
    except (TypeError, ValueError, IndexError, KeyError):
        return None
    if not ok or not 0 < len(points) <= MAX_POINTS or not np.isfinite(points).all():
        return None
    return Mark(tool, label, points, width)


def _corners(raw: dict[str, Any]) -> Array:
    if raw.get("type") == "Polygon":
        return np.array([(float(p["x"]), float(p["y"])) for p in raw["points"]]).reshape(-1, 2)
    left, top, width, height = (float(raw[key]) for key in ("left", "top", "width", "height"))
    if max(width, height) < MIN_BOX:
        return np.zeros((0, 2))
    right, bottom = left + width, top + height
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def flatten_path(path: Sequence[Sequence[Any]]) -> Array:
    """Turn the library's stroke (M, L and quadratic Q commands) into points, about two display pixels apart."""
    points: list[tuple[float, float]] = []
    for command in path[:MAX_POINTS]:
        name, numbers = str(command[0]).upper(), [float(number) for number in command[1:]]
        if name in ("M", "L"):
            points.append((numbers[0], numbers[1]))
        elif name == "Q" and points:
            (x0, y0), (x1, y1, x2, y2) = points[-1], numbers
            length = float(np.hypot(x1 - x0, y1 - y0) + np.hypot(x2 - x1, y2 - y1))
            steps = int(min(64, max(1, np.ceil(length / 2))))
            for t in np.linspace(0, 1, steps + 1)[1:]:
                a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t**2
                points.append((a * x0 + b * x1 + c * x2, a * y0 + b * y1 + c * y2))
    return np.array(points, float).reshape(-1, 2)


# --- to the browser --------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _library() -> tuple[str, str]:
    """Return (address of the library's script on this server, its style sheet)."""
    spec = find_spec("streamlit_drawable_canvas")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("streamlit-drawable-canvas is not installed; run make setup.")
    build = Path(spec.submodule_search_locations[0]) / "frontend" / "build"
    script = next(iter(sorted(build.glob("index-*.js"))))
    style = next(iter(sorted(build.glob("index-*.css"))))
    return f"/_stcore/bidi-components/{LIBRARY}/{script.name}", style.read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _sources() -> tuple[str, str]:
    style = (ASSETS / "canvas.css").read_text(encoding="utf-8")
    return (ASSETS / "gate.js").read_text(encoding="utf-8"), f"{_library()[1]}\n{style}"


def _pointer(pen: Pen) -> str:
    """Return a CSS cursor: a ring of the brush's size where browsers allow it (up to 128 pixels)."""
    size = round(pen.width) + 4
    if MODES[pen.tool] != "freedraw" or not 9 <= size <= 120:
        return "crosshair"
    half = size / 2
    ring = "".join(
        f"<circle cx='{half}' cy='{half}' r='{half - inset}' fill='none' stroke='{color}'/>"
        for inset, color in ((1.0, "black"), (2.0, "white"))
    )
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='{size}' height='{size}'>{ring}</svg>"
    encoded = base64.b64encode(svg.encode()).decode()
    return f'url("data:image/svg+xml;base64,{encoded}") {round(half)} {round(half)}, crosshair'


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def drawing_canvas(
    context: str, view: View, pen: Pen, pictures: Pictures, done: dict[str, int], on_marks: Callable[[], None]
) -> list[Batch]:
    """Show the canvas and return what was drawn and is not merged yet (merged marks may still be among it).

    Args:
        context: name of this view; another name empties the canvas (after what is on it was sent).
        view: what is shown, and how large.
        pen: the tool in hand.
        pictures: what lies under the drawing.
        done: view name to number of marks already merged; they are taken off the canvas.
        on_marks: called when something new was drawn, before the page reruns.
    """
    script, style = _sources()
    component = st.components.v2.component(
        "sightline_canvas", html='<div class="canvas-root"></div>', css=style, js=script
    )
    color = stroke_color(pen.tool, pen.label, pen.color)
    freehand = MODES[pen.tool] == "freedraw"
    data = {
        "library": _library()[0],
        "context": context,
        "done": done,
        "picture": _data_url(pictures.picture),
        "marks": _data_url(pictures.marks),
        "opacity": pictures.opacity,
        "pixelated": pictures.pixelated,
        "pointer": _pointer(pen),
        "tool": {
            "drawingMode": MODES[pen.tool],
            "canvasWidth": view.width,
            "canvasHeight": view.height,
            "strokeColor": color,
            "strokeWidth": pen.width if freehand or not pen.filled else 1,
            "fillColor": "rgba(0, 0, 0, 0)" if pen.tool == "zoom" or not pen.filled else color,
        },
    }
    result = component(
        data=data,
        key=CANVAS_KEY,
        default={"marks": []},
        on_marks_change=on_marks,
        width="content",
        height="content",
    )
    return read_batches(result.get("marks"))


CANVAS_KEY = "annotate_canvas"


def drawn() -> list[Batch]:
    """Return what the browser sent last; for use in ``on_marks``."""
    state = st.session_state.get(CANVAS_KEY)
    return read_batches(state.get("marks")) if state is not None else []
