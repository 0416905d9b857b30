"""Choosers that several pages share: project, case, reader, slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.types import ImageInfo, Split
from pages.shared.state import current_project, recall_id, remember, workspace

if TYPE_CHECKING:
    from core.workspace.records import Case, Project, Reader

CASE_LIMIT = 500


def pick_project() -> Project | None:
    """Choose the current project in the sidebar; returns it, or None when there is none."""
    chosen = current_project()
    if chosen is None:
        return None
    projects = {project.id: project for project in workspace().list_projects()}
    key = "sidebar_project"
    if st.session_state.get(key) != chosen.id:
        st.session_state[key] = chosen.id
    st.sidebar.selectbox(
        "Project",
        list(projects),
        key=key,
        format_func=lambda number: projects[number].name if number in projects else "(deleted)",
        on_change=_project_changed,
    )
    return chosen


def _project_changed() -> None:
    remember("project", st.session_state["sidebar_project"])
    for key in ("case", "run", "job"):
        remember(key, None)


def pick_case(
    project: Project, key: str, split: Split | None = None, search: str | None = None, label: str = "Case"
) -> Case | None:
    """Choose one case of a project; the choice is kept in the page's address (``?case=``)."""
    cases = {
        case.id: case
        for case in workspace().list_cases(project.id, split=split, search=search or None, limit=CASE_LIMIT)
    }
    if not cases:
        return None
    kept = recall_id("case")
    if kept in cases and st.session_state.get(key) != kept:
        st.session_state[key] = kept
    elif st.session_state.get(key) not in cases:
        st.session_state.pop(key, None)

    def _changed() -> None:
        remember("case", st.session_state[key])

    chosen = st.selectbox(
        label,
        list(cases),
        key=key,
        format_func=lambda number: cases[number].name if number in cases else "(deleted)",
        on_change=_changed,
    )
    if chosen is None:
        return None
    remember("case", chosen)
    return cases[chosen]


def reader_title(reader: Reader) -> str:
    """Name, kind and number of cases of a reader, as one line of plain text."""
    kind = "model" if reader.kind == "model" else "person"
    cases = "1 case" if reader.n_cases == 1 else f"{reader.n_cases} cases"
    return f"{reader.name}  ({kind}, {cases})"


def pick_reader(
    project: Project,
    key: str,
    kinds: tuple[str, ...] = ("person", "model"),
    label: str = "Reader",
    start: str | None = None,
) -> Reader | None:
    """Choose one reader of a project; ``start`` names the one shown first; None when there is none."""
    readers = {reader.name: reader for reader in workspace().list_readers(project.id) if reader.kind in kinds}
    if not readers:
        return None
    if st.session_state.get(key) not in readers:
        st.session_state[key] = start if start in readers else next(iter(readers))
    name = st.selectbox(
        label,
        list(readers),
        key=key,
        format_func=lambda name: reader_title(readers[name]) if name in readers else name,
    )
    return readers.get(name)


def pick_slice(info: ImageInfo, key: str, start: int = 0) -> int:
    """Choose a slice with a slider (numbered from 1); returns its index from 0. No slider for one plane."""
    if info.slices == 1:
        return 0
    number = st.session_state.get(key)
    if not isinstance(number, int) or not 1 <= number <= info.slices:
        st.session_state[key] = min(max(start, 0), info.slices - 1) + 1
    what = "Slice" if info.is_volume else "Frame"
    return int(st.slider(f"{what} (of {info.slices})", 1, info.slices, key=key)) - 1
