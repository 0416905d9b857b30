"""Sentences for people: errors without a trace, empty states with the next step, names as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from core.errors import SightlineError
from pages.shared.menu import Entry

_ADDRESS = re.compile(r":/|www\.|@", re.IGNORECASE)
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")


def escape(text: object) -> str:
    """Return text that markdown shows exactly as it is: no link, image, formula, colour or icon."""
    flat = " ".join(str(text).split())
    # Addresses become links whatever is escaped; an invisible word joiner in them keeps them text.
    plain = _ADDRESS.sub(lambda found: found[0][:-1] + "\u2060" + found[0][-1], flat)
    return _SPECIAL.sub(r"\\\1", plain)


@contextmanager
def show_errors() -> Iterator[None]:
    """Show a problem the user can fix as one sentence and let the rest of the page go on."""
    try:
        yield
    except (SightlineError, ValueError) as error:
        st.error(escape(error))


def empty_state(sentence: str, entry: Entry | None = None, label: str | None = None) -> None:
    """Say in one sentence why nothing is here and link to the step that changes it."""
    with st.container(border=True, horizontal_alignment="left"):
        st.markdown(escape(sentence))
        if entry is not None:
            st.page_link(entry.path, label=label or f"Go to {entry.title}", icon=entry.icon)
