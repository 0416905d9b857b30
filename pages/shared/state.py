"""What a page knows: the open workspace, the current project, who is looking. Ids only, never arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.settings import load_settings
from core.workspace.workspace import Workspace

if TYPE_CHECKING:
    from core.jobs.queue import JobQueue
    from core.workspace.records import Project

DEFAULT_READER = "annotator"


@st.cache_resource(show_spinner=False)
def _open_workspace(home: str) -> Workspace:
    from pathlib import Path

    return Workspace.open(Path(home))


def workspace() -> Workspace:
    """Return the workspace of this process; opened once and shared by all sessions."""
    return _open_workspace(str(load_settings().home_path))


@st.cache_resource(show_spinner=False)
def _open_queue(home: str) -> JobQueue:
    from core.jobs.queue import JobQueue

    return JobQueue(_open_workspace(home))


def queue() -> JobQueue:
    """Return the job queue of this process's workspace."""
    return _open_queue(str(load_settings().home_path))


def remember(key: str, value: int | str | None) -> None:
    """Keep an id for this session and in the page's address, so that a reload or a copied link finds it."""
    if value is None:
        st.session_state.pop(f"kept_{key}", None)
        if key in st.query_params:
            del st.query_params[key]
        return
    st.session_state[f"kept_{key}"] = str(value)
    if st.query_params.get(key) != str(value):
        st.query_params[key] = str(value)


def recall(key: str) -> str | None:
    """Return what ``remember`` kept; the page's address wins over the session."""
    value = st.query_params.get(key) or st.session_state.get(f"kept_{key}")
    if value is None:
        return None
    return str(value)


def recall_id(key: str) -> int | None:
    """Return a kept id as a number; None when nothing (or nonsense) was kept."""
    value = recall(key)
    return int(value) if value is not None and value.isdecimal() and len(value) < 12 else None


def current_project() -> Project | None:
    """Return the chosen project, else the newest one, else None."""
    projects = workspace().list_projects()
    if not projects:
        remember("project", None)
        return None
    wanted = recall_id("project")
    chosen = next((project for project in projects if project.id == wanted), projects[-1])
    remember("project", chosen.id)
    return chosen


def user_name() -> str:
    """Return the name under which this person's readings are stored."""
    name = str(st.session_state.get("kept_user_name") or "").strip()
    return name or DEFAULT_READER


def set_user_name(name: str) -> None:
    """Set the name under which this person's readings are stored from now on."""
    st.session_state["kept_user_name"] = name.strip()[:80]
