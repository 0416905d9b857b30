"""Quick marking: strokes, polygons and boxes on a plain canvas, saved as versions at once."""

from __future__ import annotations

import io
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import streamlit as st
from PIL import Image as PilImage

from core.readings.picture import edges, label_rgb
from core.readings.reading import Boxes, Mask, Reading, ReadingKind
from core.types import Array, Label, Window
from pages.annotate import desk as work
from pages.annotate.desk import Place
from pages.annotate.object_panel import boxes_picture, objects_panel
from pages.annotate.painting import CANVAS_SIZES, make_view, plane_shape, whole, zoomed
from pages.annotate.session import session_desk, show_message
from pages.shared.blind import sees_others
from pages.shared.canvas import MODES, Pen, Pictures, Tool, View, drawing_canvas, drawn
from pages.shared.messages import escape, show_errors
from pages.shared.pickers import pick_slice
from pages.shared.render import plane_display, to_png
from pages.shared.state import user_name, workspace
from pages.shared.still import window_controls

if TYPE_CHECKING:
    from core.workspace.records import Case, Project, ReadingVersion

TOOLS: dict[Tool, tuple[str, str, str, str]] = {
    "brush": ("Brush", ":material/brush:", "B", "Paint with the chosen label."),
    "eraser": ("Eraser", ":material/ink_eraser:", "E", "Remove marks of any label."),
    "polygon": ("Polygon", ":material/polyline:", "P", "Click corners; click the first one again to close and fill."),
    "box": ("Box", ":material/rectangle:", "X", "Drag a box; it is filled with the chosen label."),
    "zoom": ("Zoom", ":material/zoom_in:", "Z", "Drag a box around what you want to see larger."),
}  # fmt: skip
BOX_TOOLS: dict[Tool, tuple[str, str, str, str]] = {
    "box": ("Box", ":material/rectangle:", "X", "Drag a box around an object; it gets the chosen label."),
    "move": ("Move", ":material/open_with:", "V", "Drag an object to move it, an edge to resize it; click to choose."),
    "zoom": TOOLS["zoom"],
}  # fmt: skip
TOOLS_OF: dict[ReadingKind, dict[Tool, tuple[str, str, str, str]]] = {"mask": TOOLS, "boxes": BOX_TOOLS}
ERASER_COLOR = "#e0e0e0"
ZOOM_COLOR = "#ffffff"
SHORTCUTS = (
    "**1 … 9** label · **B** brush · **E** eraser · **P** polygon · **X** box · **Z** zoom · **U** undo · "
    "**+ / −** zoom buttons · **Page up / Page down** slice · **Shift+N / Shift+P** next / previous case · "
    "hold **Shift** while painting for a straight line"
)
BOX_SHORTCUTS = (
    "**1 … 9** label · **X** box · **V** move, resize, choose · **D** delete the chosen object · **Z** zoom · "
    "**U** undo · **Page up / Page down** slice · **Shift+N / Shift+P** next / previous case"
)
VERSIONS_SHOWN = 30
SIZE_KEY = "annotate_canvas_size"


# --- state: names and numbers only -------------------------------------------------------------------------


def _on_marks() -> None:
    """Merge at once, before the script runs: a rerun or a page switch that follows cannot lose the stroke."""
    desk, store, batches = session_desk(), workspace(), drawn()
    work.merge(desk, store, batches)


def _size_name() -> str:
    name = str(st.session_state.setdefault(SIZE_KEY, "small"))
    return name if name in CANVAS_SIZES else "small"


def _choose(key: str, value: object) -> None:
    st.session_state[key] = value


def _act(action: str, place: Place, argument: int | None = None) -> None:
    """Do one thing to the reading that is shown; a problem becomes a sentence."""
    desk, store, batches = session_desk(), workspace(), drawn()
    work.merge(desk, store, batches)
    with show_errors():
        if action == "undo":
            if work.undo(desk, store, place) is None:
                desk.message = ("info", "There is nothing to undo.")
        elif action == "clear":
            work.clear_plane(desk, store, place)
        elif action == "copy" and argument is not None:
            work.copy_plane(desk, store, place, argument)
        elif action in ("restore", "started from", "accepted") and argument is not None:
            known = {found.id: found for found in store.list_versions(place.case_id)}
            chosen = known.get(argument)
            if chosen is None:
                desk.message = ("error", "That version is not there any more.")
            elif action == "restore":
                work.restore(desk, store, place, chosen)
            else:
                work.take_over(desk, store, place, chosen, action)


# --- controls ----------------------------------------------------------------------------------------------


def _label_buttons(labels: tuple[Label, ...]) -> Label:
    values = [label.value for label in labels]
    if st.session_state.get("annotate_label") not in values:
        st.session_state["annotate_label"] = values[0]
    chosen = st.session_state["annotate_label"]
    rules = "".join(
        f".st-key-annotate_label_{label.value} button{{border-left:0.9rem solid {label.color} !important}}"
        for label in labels
    )
    st.html(f"<style>{rules}</style>")
    with st.container(horizontal=True, gap="small"):
        for number, label in enumerate(labels, start=1):
            st.button(
                escape(label.name),
                key=f"annotate_label_{label.value}",
                type="primary" if label.value == chosen else "secondary",
                on_click=_choose,
                args=("annotate_label", label.value),
                shortcut=str(number) if number <= 9 else None,
            )
    return next(label for label in labels if label.value == chosen)


def _tool_buttons(tools: dict[Tool, tuple[str, str, str, str]]) -> Tool:
    if st.session_state.get("annotate_tool") not in tools:
        st.session_state["annotate_tool"] = next(iter(tools))
    chosen: Tool = st.session_state["annotate_tool"]
    with st.container(horizontal=True, gap="small"):
        for tool, (title, icon, shortcut, hint) in tools.items():
            st.button(
                title,
                key=f"annotate_tool_{tool}",
                icon=icon,
                help=hint,
                type="primary" if tool == chosen else "secondary",
                on_click=_choose,
                args=("annotate_tool", tool),
                shortcut=shortcut,
            )
    return chosen


def _pen(tool: Tool, label: Label, view: View, case: Case, framed: bool) -> Pen:
    if tool == "move":
        return Pen(tool, 0, ZOOM_COLOR, 2.0)
    if tool == "box" and framed:
        return Pen(tool, label.value, label.color, 2.0, filled=False)
    if MODES[tool] != "freedraw":
        return Pen(tool, 0 if tool == "zoom" else label.value, ZOOM_COLOR if tool == "zoom" else label.color)
    longest = max(plane_shape(case.info))
    key = f"annotate_size_{'s' if longest <= 256 else 'm' if longest <= 1024 else 'l'}"
    most, start = {"s": (40, 5), "m": (100, 10), "l": (300, 40)}[key[-1]]
    st.session_state.setdefault(key, start)
    size = st.slider("Brush (image pixels across)", 1, most, key=key, persist_state="session")
    width = size * view.scale[0]
    return Pen(
        tool, 0 if tool == "eraser" else label.value, ERASER_COLOR if tool == "eraser" else label.color, width
    )


def _move(case_id: int, step: str) -> None:
    """Zoom in or out around the middle, move by a third, or show the whole plane."""
    desk = session_desk()
    case = workspace().get_case(case_id)
    left, top, columns, rows = desk.region(case)
    center, wanted = (left + columns / 2, top + rows / 2), float(columns)
    if step == "whole":
        desk.regions.pop(case_id, None)
        return
    if step in ("in", "out"):
        wanted *= 0.5 if step == "in" else 2.0
    else:
        dx, dy = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[step]
        center = (center[0] + dx * columns / 3, center[1] + dy * rows / 3)
    desk.regions[case_id] = zoomed(case.info, center, wanted)


def _zoom_bar(case: Case, view: View) -> None:
    full = (view.left, view.top, view.columns, view.rows) == whole(case.info)
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        for step, icon, hint, shortcut in (
            ("in", ":material/zoom_in:", "Twice as large", None),
            ("out", ":material/zoom_out:", "Half as large", None),
            ("whole", ":material/fit_screen:", "Whole image", "0"),
            ("left", ":material/arrow_back:", "Move left", "Left"),
            ("right", ":material/arrow_forward:", "Move right", "Right"),
            ("up", ":material/arrow_upward:", "Move up", "Up"),
            ("down", ":material/arrow_downward:", "Move down", "Down"),
        ):
            st.button(
                "​",
                key=f"annotate_zoom_{step}",
                icon=icon,
                help=hint,
                on_click=_move,
                args=(case.id, step),
                shortcut=shortcut,
                disabled=full and step != "in",
            )
        factor = plane_shape(case.info)[1] / view.columns
        st.caption(f"{factor:.3g}× · {view.scale[0]:.3g} screen pixels a pixel")


# --- the reading -------------------------------------------------------------------------------------------


def clock(moment: datetime) -> str:
    """Return a time of day in the browser's time zone."""
    try:
        zone = ZoneInfo(str(st.context.timezone)) if st.context.timezone else None
    except (ZoneInfoNotFoundError, ValueError):
        zone = None
    return moment.astimezone(zone).strftime("%H:%M:%S") if zone else moment.strftime("%H:%M:%S UTC")


def _saved_mark(version: ReadingVersion | None, reader: str) -> None:
    if version is None:
        st.caption(
            f"Reading as **{escape(reader)}** · nothing saved yet; it saves itself with the first mark."
        )
        return
    st.markdown(
        f":green[:material/check_circle: saved · version {version.version} · {clock(version.created_at)}] · "
        f"{escape(reader)}"
    )


def _edit_buttons(place: Place, case: Case, version: ReadingVersion | None) -> None:
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Undo", key="annotate_undo", icon=":material/undo:", shortcut="U", on_click=_act,
            args=("undo", place), disabled=version is None,
        )  # fmt: skip
        volume = case.info.slices > 1
        word = "slice" if case.info.is_volume else "frame"
        st.button(
            f"Clear {word}" if volume else "Clear", key="annotate_clear", on_click=_act, args=("clear", place),
            disabled=version is None, help="Remove all marks shown here; undo brings them back.",
        )  # fmt: skip
        if volume:
            st.button(
                f"Copy from previous {word}", key="annotate_copy", on_click=_act,
                args=("copy", place, place.index - 1), disabled=place.index == 0 or version is None,
                help=f"Replace the marks of this {word} by those of the one before.",
            )  # fmt: skip


def _other_readings(project: Project, place: Place) -> None:
    newest: dict[str, ReadingVersion] = {}
    open_reading = sees_others(project, place.case_id)
    for found in workspace().list_versions(place.case_id):
        if found.reader_name != place.reader and (open_reading or found.kind == "model"):
            newest.setdefault(found.reader_name, found)
    if not newest:
        return
    with st.expander("Start from another reading"):
        st.caption("A model's or a colleague's reading becomes yours to correct; theirs stays as it is.")
        names = list(newest)
        name = st.selectbox(
            "Reading of",
            names,
            key=f"annotate_other_{project.id}",
            format_func=lambda name: f"{name}  ({newest[name].kind}, version {newest[name].version})"
            if name in newest else name,
        )  # fmt: skip
        chosen = newest.get(name)
        if chosen is not None:
            with st.container(horizontal=True):
                for word, label, hint in (
                    ("started from", "Start from it", "Copy it into my reading, to correct it."),
                    ("accepted", "Accept as it is", "I have looked at it and agree: make it my reading."),
                ):
                    st.button(
                        label, key=f"annotate_take_{word[:3]}", help=hint, on_click=_act,
                        args=(word, place, chosen.id),
                    )  # fmt: skip


def _versions(place: Place, version: ReadingVersion | None) -> None:
    if version is None:
        return
    panel = st.expander("Versions", key="annotate_versions", on_change="rerun")
    if not panel.open:
        return
    with panel:
        known = {
            found.id: found
            for found in workspace().list_versions(place.case_id, place.reader)[:VERSIONS_SHOWN]
        }
        chosen = st.selectbox(
            "Version",
            list(known),
            key=f"annotate_version_{place.case_id}_{version.id}",
            format_func=lambda number: (
                f"{known[number].version} · {clock(known[number].created_at)} · "
                f"{known[number].note or 'no note'}"
            ),
        )
        st.button(
            "Restore this version", key="annotate_restore", on_click=_act, args=("restore", place, chosen),
            disabled=chosen == version.id, help="It becomes the newest version; nothing is deleted.",
        )  # fmt: skip


# --- pictures ----------------------------------------------------------------------------------------------


def _picture(case: Case, index: int, window: Window, view: View) -> bytes:
    rgb = plane_display(workspace(), case, index, window)[view.region]
    # More pixels than the canvas shows only cost time on the way.
    if rgb.shape[1] > 1.5 * view.width or rgb.shape[0] > 1.5 * view.height:
        shown = PilImage.fromarray(np.ascontiguousarray(rgb))
        rgb = np.asarray(shown.resize((view.width, view.height), PilImage.Resampling.LANCZOS))
    grey = bool((rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all())
    return to_png(rgb[..., 0] if grey else rgb)


def marks_png(plane: Array, labels: tuple[Label, ...], outline: bool) -> bytes:
    """Return a label map as a PNG with a palette: background transparent, labels opaque in their colours."""
    shown = np.zeros(plane.shape, dtype=np.uint8)
    palette, clear = [0, 0, 0], [0]
    for number, label in enumerate(labels, start=1):
        marked = plane == label.value
        shown[edges(marked) if outline else marked] = number
        palette.extend(label_rgb(label.color))
        clear.append(255)
    image = PilImage.fromarray(shown, mode=None)
    image = image.convert("P") if image.mode != "P" else image
    image.putdata(shown.ravel())
    image.putpalette(palette)
    target = io.BytesIO()
    image.save(target, "PNG", transparency=bytes(clear), compress_level=1)
    return target.getvalue()


# --- the page ----------------------------------------------------------------------------------------------


@st.fragment
def quick_marking(project: Project, case: Case) -> None:
    with show_errors():
        desk, store, reader = session_desk(), workspace(), user_name()
        work.merge(desk, store, drawn())
        version = store.latest_reading(case.id, reader)
        if version is not None:
            desk.seen.setdefault((case.id, reader), version.version)
        reading = work.content_of(store, version, case)
        canvas, controls = st.columns([2, 1], gap="medium")
        with controls:
            label = _label_buttons(project.labels)
            tool = _tool_buttons(TOOLS_OF[reading.kind])
            index = _slice_controls(case, reading)
            view = make_view(case.info, desk.region(case), CANVAS_SIZES[_size_name()])
            place = Place(case.id, reader, index, view)
            pen = _pen(tool, label, view, case, isinstance(reading, Boxes))
            opacity, outline = _look(reading.kind)
            with st.expander("Window, size, pixels"):
                window = window_controls(store, case, "annotate")
                st.segmented_control(
                    "Size of the picture",
                    list(CANVAS_SIZES),
                    key=SIZE_KEY,
                    required=True,
                    persist_state="session",
                )
                sharp = st.toggle("Show pixels as squares", key="annotate_sharp", persist_state="session")
        with canvas:
            _saved_mark(version, reader)
            show_message(desk)
            drawing_canvas(
                desk.name_place(place),
                view,
                pen,
                Pictures(
                    _picture(case, index, window, view),
                    _marks(reading, place, project.labels, (outline, desk.chosen.get((case.id, reader)))),
                    1.0 if outline and opacity > 0 else opacity,
                    sharp,
                ),
                desk.done,
                _on_marks,
            )
            _zoom_bar(case, view)
        with controls:
            if isinstance(reading, Boxes):
                objects_panel(reading, place, case, project.labels)
            _edit_buttons(place, case, version)
            _other_readings(project, place)
            _versions(place, version)
            with st.expander("Keyboard"):
                st.markdown(BOX_SHORTCUTS if reading.kind == "boxes" else SHORTCUTS)


def _look(kind: ReadingKind) -> tuple[float, bool]:
    """Ask how marks are shown; returns (opacity, outline only). Boxes are lines: shown or not."""
    if kind == "boxes":
        return float(st.toggle("Show the boxes", True, key="annotate_boxes_shown")), True
    opacity = st.slider("Opacity of the marks", 0.0, 1.0, key="annotate_opacity", persist_state="session")
    return opacity, st.toggle("Outline only", key="annotate_outline", persist_state="session")


def _marks(reading: Reading, place: Place, labels: tuple[Label, ...], look: tuple[bool, int | None]) -> bytes:
    """Return the marks of the shown part as PNG; ``look`` is (outline only, object in hand)."""
    outline, chosen = look
    if isinstance(reading, Boxes):
        return to_png(boxes_picture(reading, place, labels, chosen))
    if isinstance(reading, Mask):
        return marks_png(work.plane_in(reading.array, place.index)[place.view.region], labels, outline)
    raise ValueError(f"A reading of kind {reading.kind} cannot be marked here.")


def _step_slice(key: str, step: int, slices: int) -> None:
    number = st.session_state.get(key)
    if isinstance(number, int):
        st.session_state[key] = min(max(number + step, 1), slices)


def _slice_controls(case: Case, reading: Reading) -> int:
    if case.info.slices == 1:
        return 0
    key = f"annotate_slice_{case.id}"
    kept = st.session_state.get(f"kept_{key}")
    if key not in st.session_state:
        st.session_state[key] = kept if isinstance(kept, int) else work.busiest_plane(reading, case.info) + 1
    index = pick_slice(case.info, key)
    st.session_state[f"kept_{key}"] = index + 1
    with st.container(horizontal=True, gap="small"):
        for title, step, shortcut in (("Slice down", -1, "PageDown"), ("Slice up", 1, "PageUp")):
            st.button(
                title, key=f"annotate_step_{step}", on_click=_step_slice, args=(key, step, case.info.slices),
                shortcut=shortcut,
            )  # fmt: skip
    return index
