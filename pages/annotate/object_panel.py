"""The list of objects beside the canvas: choose one, give it another label or exact corners, delete it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from core.readings.picture import draw_frames, frames_of
from core.readings.reading import Boxes
from core.types import Array, Label
from pages.annotate import desk as work
from pages.annotate.desk import Place
from pages.annotate.objects import relabel, remove, replace_box, titles
from pages.annotate.session import session_desk
from pages.shared.canvas import drawn
from pages.shared.messages import escape, show_errors
from pages.shared.state import workspace

if TYPE_CHECKING:
    from core.workspace.records import Case

CORNER_NAMES = ("Left", "Top", "Right", "Bottom")


def boxes_picture(boxes: Boxes, place: Place, labels: tuple[Label, ...], chosen: int | None) -> Array:
    """Draw the boxes of a view on a clear picture of its size on screen; the one in hand is bold."""
    view, here = place.view, np.flatnonzero(boxes.planes == place.index)
    offset = np.array([view.left, view.top] * 2, np.float32)
    shown = replace(boxes.only(here), box_xyxy=boxes.box_xyxy[here] - offset, crops=None)
    picked = int(np.flatnonzero(here == chosen)[0]) if chosen is not None and chosen in here else None
    clear = np.zeros((view.height, view.width, 4), np.uint8)
    return draw_frames(clear, frames_of(shown, labels, view.scale, chosen=picked))


def objects_panel(boxes: Boxes, place: Place, case: Case, labels: tuple[Label, ...]) -> None:
    """List the objects; the chosen one can get another label, exact corners, or be deleted."""
    desk, key = session_desk(), (place.case_id, place.reader)
    lines = titles(boxes, labels, case.info)
    widget = f"annotate_object_{place.case_id}"
    chosen = desk.chosen.get(key)
    st.session_state[widget] = chosen if chosen is not None and chosen < len(lines) else None
    st.selectbox(
        f"Objects ({len(lines)})",
        [None, *range(len(lines))],
        key=widget,
        format_func=lambda number: "none chosen" if number is None else lines[number],
        on_change=_choose_object,
        args=(widget, place),
    )
    number = st.session_state[widget]
    if number is None:
        return
    with st.container(horizontal=True, gap="small"):
        for label in labels:
            if label.value != int(boxes.labels[number]):
                st.button(
                    f"Make it {escape(label.name)}", key=f"annotate_relabel_{label.value}",
                    on_click=_edit_object, args=(place, "label", label.value),
                )  # fmt: skip
        st.button(
            "Delete it", key="annotate_delete", icon=":material/delete:", shortcut="D",
            on_click=_edit_object, args=(place, "delete", 0),
        )  # fmt: skip
    with st.expander("Exact corners (image pixels)"):
        corners = boxes.box_xyxy[number].tolist()
        fields = [
            column.number_input(
                name, value=float(value), step=1.0, format="%.1f", key=f"corner_{name}_{number}_{value}"
            )
            for column, name, value in zip(st.columns(4), CORNER_NAMES, corners, strict=True)
        ]
        if fields != corners:
            st.button("Set them", key="annotate_corners", on_click=_set_corners, args=(place, fields))


def _choose_object(widget: str, place: Place) -> None:
    session_desk().chosen[place.case_id, place.reader] = st.session_state[widget]


def _edit_object(place: Place, action: str, label: int) -> None:
    desk, store = session_desk(), workspace()
    work.merge(desk, store, drawn())
    with show_errors():
        if action == "delete":
            work.edit_object(desk, store, place, remove)
        else:
            work.edit_object(desk, store, place, lambda boxes, number: relabel(boxes, number, label))


def _set_corners(place: Place, corners: list[float]) -> None:
    desk, store = session_desk(), workspace()
    with show_errors():
        if not (corners[0] < corners[2] and corners[1] < corners[3]):
            raise ValueError("Left must be less than right, and top less than bottom.")
        given = np.array(corners)
        work.edit_object(
            desk, store, place, lambda boxes, number: replace_box(boxes, number, given, "resized")
        )
