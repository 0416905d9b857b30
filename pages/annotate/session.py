"""The desk of this browser session."""

from __future__ import annotations

import streamlit as st

from pages.annotate.desk import Desk
from pages.shared.messages import escape


def session_desk() -> Desk:
    """Return the desk of this session; made once."""
    if "annotate_desk" not in st.session_state:
        st.session_state["annotate_desk"] = Desk()
    desk: Desk = st.session_state["annotate_desk"]
    return desk


def show_message(desk: Desk) -> None:
    """Say what is to be said once."""
    if desk.message is None:
        return
    kind, sentence = desk.message
    desk.message = None
    (st.error if kind == "error" else st.info)(escape(sentence))
