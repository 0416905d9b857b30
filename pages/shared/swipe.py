"""Before and after in one picture, with a bar between them that is dragged: a small component of our own."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import streamlit as st

ASSETS = Path(__file__).resolve().parent.parent.parent / "assets" / "swipe"
PARTS = (
    '<div class="swipe"><img class="before"><img class="after"><div class="line"></div>'
    '<span class="before-name"></span><span class="after-name"></span><span class="mark"></span>'
    '<input class="bar" type="range" min="0" max="100" step="0.5" value="50"></div>'
)


@dataclass(frozen=True)
class Side:
    """One of the two pictures: its name and its PNG."""

    name: str
    png: bytes


@lru_cache(maxsize=1)
def _sources() -> tuple[str, str]:
    return (ASSETS / "swipe.js").read_text("utf-8"), (ASSETS / "swipe.css").read_text("utf-8")


def swipe(before: Side, after: Side, size: tuple[int, int], mark: str, key: str, most: int = 900) -> None:
    """Show two pictures of one size over each other.

    Args:
        before: seen left of the bar.
        after: seen right of it.
        size: (rows, columns) of both.
        mark: written into the corner, such as that one of them was computed; "" writes nothing.
        key: of the component.
        most: screen pixels that it is wide at most.
    """
    script, style = _sources()
    component = st.components.v2.component("sightline_swipe", html=PARTS, css=style, js=script)
    component(
        data={
            "before": _data_url(before.png), "before_name": before.name, "after": _data_url(after.png),
            "after_name": after.name, "width": size[1], "height": size[0], "mark": mark, "most": most,
        },
        key=key,
        height="content",
    )  # fmt: skip


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
