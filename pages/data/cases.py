"""Cases: a table to search, and one case to look at with its readings, facts and split."""

from __future__ import annotations

import contextlib
from typing import Any

import streamlit as st

from core.errors import NotFound
from core.types import SPLITS
from core.workspace.records import Case, Project
from pages.shared.case_view import case_viewer
from pages.shared.menu import ANNOTATE, IMPORT, PROJECTS
from pages.shared.messages import empty_state, escape, show_errors
from pages.shared.progress import count_words, short_patient
from pages.shared.state import current_project, recall_id, remember, workspace

PAGE_SIZE = 50
store = workspace()


def filters() -> tuple[str, str | None]:
    """Ask for a search text and a split."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        search = st.text_input("Search by name", key="cases_search", width=320, placeholder="part of a name")
        split = st.segmented_control("Split", ["all", *SPLITS, "none"], default="all", key="cases_split")
    return search.strip(), split if split in (*SPLITS, "none") else None


def pick_page(total: int) -> int:
    """Choose a page of the table when there are more cases than fit; returns the offset."""
    pages = -(-total // PAGE_SIZE)
    if pages <= 1:
        return 0
    kept = st.session_state.get("cases_page")
    if not isinstance(kept, int) or not 1 <= kept <= pages:
        st.session_state["cases_page"] = 1
    number = st.number_input(f"Page (of {pages})", 1, pages, key="cases_page", width=160)
    return (int(number) - 1) * PAGE_SIZE


def size_text(case: Case) -> str:
    """Say the size as people do: columns x rows (x slices)."""
    rows, columns = case.info.spatial_shape[-2:]
    return f"{columns} × {rows}"


def spacing_text(case: Case) -> str:
    """Say the spacing in mm, or that it is unknown."""
    spacing = case.info.spacing_mm
    return "unknown" if spacing is None else " × ".join(f"{value:.3g}" for value in reversed(spacing))


def table_of(project: Project, cases: list[Case]) -> dict[str, list[Any]]:
    """Return the columns of the table for one page of cases."""
    readers = [reader.name for reader in store.list_readers(project.id)]
    by_reader = [store.readings_of(project.id, name) for name in readers]
    reference = store.reference_of(project.id)
    return {
        "name": [case.name for case in cases],
        "modality": [case.info.modality for case in cases],
        "size": [size_text(case) for case in cases],
        "slices": [case.info.slices for case in cases],
        "spacing (mm)": [spacing_text(case) for case in cases],
        "patient": [short_patient(case.patient_key) for case in cases],
        "split": [case.split or "" for case in cases],
        "readings": [sum(case.id in readings for readings in by_reader) for case in cases],
        "reference": [case.id in reference for case in cases],
    }


def case_table(project: Project, cases: list[Case], page: str) -> None:
    """Show the cases; a click on a row opens that case below."""
    key = f"cases_table_{project.id}_{page}"

    def _selected() -> None:
        rows = st.session_state[key].selection.rows
        if rows and rows[0] < len(cases):
            remember("case", cases[rows[0]].id)

    st.dataframe(
        table_of(project, cases),
        hide_index=True,
        key=key,
        on_select=_selected,
        selection_mode="single-row",
        height=min(420, 38 + 35 * len(cases)),
        alt="Cases of this project",
        column_config={"reference": st.column_config.CheckboxColumn()},
    )


def chosen_case(project: Project, cases: list[Case]) -> Case:
    """Return the case that was opened (also from another page), else the first of the table."""
    chosen = recall_id("case")
    case = next((case for case in cases if case.id == chosen), None)
    if case is None and chosen is not None:
        with contextlib.suppress(NotFound):
            case = store.get_case(chosen)
    if case is None or case.project_id != project.id:
        case = cases[0]
    remember("case", case.id)
    return case


def split_part(case: Case) -> None:
    """Change the split of the whole patient."""
    same = [other for other in store.list_cases(case.project_id) if other.patient_key == case.patient_key]
    key = f"case_split_{case.id}"
    st.session_state[key] = case.split or "none"

    def _changed() -> None:
        chosen = st.session_state[key]
        with show_errors():
            store.set_split({other.id: (chosen if chosen in SPLITS else None) for other in same})

    st.segmented_control("Split", ["none", *SPLITS], key=key, on_change=_changed)
    if len(same) > 1:
        st.caption(f"Applies to all {len(same)} cases of this patient.")


def delete_part(case: Case) -> None:
    """Delete a case after a second click."""
    with st.popover("Delete this case"):
        st.markdown(f"Deletes **{escape(case.name)}** with all its readings. This cannot be undone.")

        def _delete() -> None:
            with show_errors():
                store.delete_cases([case.id])
                remember("case", None)

        st.button("Delete for good", key=f"delete_case_{case.id}", type="primary", on_click=_delete)


def details(project: Project, case: Case) -> None:
    """Show one case large, then what can be done with it."""
    st.subheader(escape(case.name))
    case_viewer(store, project, case, "cases")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        split_part(case)
        st.page_link(ANNOTATE.path, label="Annotate this case", icon=ANNOTATE.icon)
        delete_part(case)


st.title("Cases")
project = current_project()
if project is None:
    empty_state("There is no project yet.", PROJECTS, "Create a project")
elif store.count_cases(project.id) == 0:
    empty_state("This project has no cases yet.", IMPORT, "Import images")
else:
    with show_errors():
        search, split = filters()
        total = store.count_cases(project.id, split=split, search=search or None)
        offset = pick_page(total)
        cases = store.list_cases(project.id, split, search or None, limit=PAGE_SIZE, offset=offset)
        if not cases:
            empty_state("No case fits this search; change the text or the split.")
        else:
            st.caption(
                f"{count_words(total, 'case', 'cases')}. Click the box before a row to open that case."
            )
            case_table(project, cases, f"{split}_{search}_{offset}")
            details(project, chosen_case(project, cases))
