"""Annotate: mark what you see, label by label: in the viewer, or on a plain canvas. Everything is saved at once."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import streamlit as st

from core.jobs.warm import Message, warm_process
from core.tasks import TASKS
from pages.annotate import desk as work
from pages.annotate.quick_marking import quick_marking
from pages.annotate.session import session_desk, show_message
from pages.annotate.workbench import workbench
from pages.shared.menu import CASES, IMPORT, PROJECTS, TRAIN
from pages.shared.messages import empty_state, escape, show_errors
from pages.shared.pickers import pick_case
from pages.shared.state import current_project, remember, user_name, workspace

if TYPE_CHECKING:
    from core.workspace.records import Case, Project

QUICK_KEY = "annotate_quick"
ORDER_KEY = "annotate_order"
REASON_KEY = "annotate_reason"
ORDERS = ("what teaches most", "by chance", "in order")
SUGGEST_SECONDS = 60.0


def _go_on(project_id: int, current: int) -> None:
    """Go to the next case without a reading of one's own, in the order chosen; the reason is kept to be shown."""
    order = st.session_state.get(ORDER_KEY, ORDERS[0])
    if order == ORDERS[2]:
        _go(project_id, current, 1, unread=True)
        return
    store = workspace()
    st.session_state.pop(REASON_KEY, None)
    with show_errors():
        if order == ORDERS[1]:
            read = set(store.readings_of(project_id, user_name()))
            unread = [case.id for case in store.list_cases(project_id) if case.id not in read | {current}]
            found, reason = (random.choice(unread), "chosen by chance") if unread else (None, "")
        else:
            blind = store.get_project(project_id).blind
            values = {"project": project_id, "reader": user_name(), "current": current, "blind": blind}
            answer = warm_process(store.home).call("suggest", Message(values), SUGGEST_SECONDS)
            rows = answer.values["suggestions"]
            found, reason = (rows[0]["case"], rows[0]["reason"]) if rows else (None, "")
        if found is None:
            session_desk().message = ("info", "You have read all other cases.")
            return
        remember("case", found)
        st.session_state[REASON_KEY] = (found, reason)


def _go(project_id: int, current: int, step: int, unread: bool) -> None:
    store = workspace()
    st.session_state.pop(REASON_KEY, None)
    ids = [case.id for case in store.list_cases(project_id)]
    without = set(store.readings_of(project_id, user_name())) if unread else None
    found = work.next_case(ids, current, step, without)
    if found is None:
        session_desk().message = (
            "info",
            "You have read all other cases." if unread else "There is no other case.",
        )
    else:
        remember("case", found)


def _case_bar(project: Project) -> Case | None:
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    with left:
        case = pick_case(project, "annotate_case")
    if case is None:
        return None
    with right, st.container(horizontal=True, vertical_alignment="bottom"):
        for label, key, step, unread, shortcut in (
            ("Previous", "previous", -1, False, "Shift+P"),
            ("Next", "next", 1, False, "Shift+N"),
        ):
            st.button(
                label,
                key=f"annotate_{key}",
                on_click=_go,
                args=(project.id, case.id, step, unread),
                shortcut=shortcut,
            )
        st.button(
            "Next case to read",
            key="annotate_unread",
            type="primary",
            on_click=_go_on,
            args=(project.id, case.id),
            shortcut="Shift+X",
            help="The next case without a reading of yours.",
        )
        st.selectbox(
            "Order", ORDERS, key=ORDER_KEY, label_visibility="collapsed", persist_state="session", width=190
        )
        st.toggle(
            "Quick marking",
            key=QUICK_KEY,
            persist_state="session",
            help="A plain canvas for strokes, polygons and boxes on single pictures, in place of the viewer.",
        )
    if not st.session_state.get(QUICK_KEY):
        show_message(session_desk())
    chosen_for = st.session_state.get(REASON_KEY)
    if chosen_for is not None and chosen_for[0] == case.id:
        st.caption(f"Why this case: {escape(chosen_for[1])}.")
    return case


def main() -> None:
    """Show the page."""
    st.title("Annotate")
    project = current_project()
    if project is None:
        empty_state("There is no project yet.", PROJECTS)
        return
    if TASKS[project.task].image_truth is not None:
        empty_state(
            "There is nothing to mark here: the images are the truth themselves.", TRAIN, "Train a model"
        )
        return
    if not project.labels:
        empty_state("This project has no label to draw with.", PROJECTS)
        return
    if workspace().count_cases(project.id) == 0:
        empty_state("This project has no images yet.", IMPORT)
        return
    st.session_state.setdefault("annotate_opacity", 0.45)
    case = _case_bar(project)
    if case is None:
        empty_state("No case is chosen.", CASES)
        return
    if st.session_state.get(QUICK_KEY):
        quick_marking(project, case)
    else:
        workbench(project, case)


with show_errors():
    main()
