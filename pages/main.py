"""The frame around every page: title, menu, project, name, work that was cut off."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.shared.banner import interrupted_banner
from pages.shared.menu import MENU
from pages.shared.messages import show_errors
from pages.shared.pickers import pick_project
from pages.shared.state import set_user_name, user_name

ASSETS = Path(__file__).resolve().parent.parent / "assets"
ABOUT = "**Sightline**: annotate, train, compare. For research and teaching, not for diagnosis."


def _name_changed() -> None:
    set_user_name(st.session_state["sidebar_name"])


st.set_page_config(
    page_title="Sightline",
    page_icon=str(ASSETS / "icon.png"),
    layout="wide",
    menu_items={"About": ABOUT},
)
st.html(ASSETS / "page.css")
st.logo(str(ASSETS / "logo.png"), icon_image=str(ASSETS / "icon.png"), size="large")

page = st.navigation(
    {
        section: [
            st.Page(
                entry.path,
                title=entry.title,
                icon=entry.icon,
                url_path=entry.url,
                help=entry.help,
                default=not section,
            )
            for entry in entries
        ]
        for section, entries in MENU.items()
    },
    expanded=True,
)

with show_errors():
    pick_project()
    with st.sidebar:
        st.session_state.setdefault("sidebar_name", user_name())
        st.text_input(
            "Your name",
            key="sidebar_name",
            max_chars=80,
            on_change=_name_changed,
            help="Your readings are stored under this name.",
        )
        st.caption("For research and teaching, not for diagnosis.")
    interrupted_banner()

page.run()
