"""The workbench: marking in the viewer. Every stroke is saved by the browser itself; the page only sets the scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.assist.promptables import list_promptables
from core.tasks import TASKS
from pages.shared.blind import sees_others
from pages.shared.messages import escape, show_errors
from pages.shared.state import user_name, workspace
from pages.shared.viewer import Marking, Other, Scene, View, forked_of, viewer

if TYPE_CHECKING:
    from core.workspace.records import Case, Project, ReadingVersion

KEY = "workbench"
OWN_VERSIONS = 20


def _reader_key(case_id: int) -> str:
    return f"annotate_reader_{case_id}_{user_name()}"


def _on_forked(case_id: int) -> None:
    """The browser goes on under another name: remember it, so that the page speaks of the same reading."""
    name = forked_of(st.session_state.get(KEY))
    if name is not None:
        st.session_state[_reader_key(case_id)] = name


def own_readings(case_id: int, name: str) -> list[str]:
    """Return the names under which a person has read a case: their own, and those of copies "name (2)" ..."""
    found = {
        version.reader_name for version in workspace().list_versions(case_id) if version.kind == "person"
    }
    copies = sorted(other for other in found if other.startswith(f"{name} (") and other.endswith(")"))
    return [name, *copies]


def _pick_reading(case: Case) -> str:
    names = own_readings(case.id, user_name())
    key = _reader_key(case.id)
    if st.session_state.get(key) not in names:
        st.session_state[key] = names[0]
    if len(names) == 1:
        return names[0]
    return str(
        st.segmented_control(
            "My readings of this case",
            names,
            key=key,
            required=True,
            help="There are several because the case was marked in two places at once.",
        )
    )


def _others(project: Project, case_id: int, reader: str) -> tuple[Other, ...]:
    """Return what one may start from: the newest readings of others, as far as one may see them, and one's own."""
    newest: dict[str, ReadingVersion] = {}
    own: list[ReadingVersion] = []
    for version in workspace().list_versions(case_id):
        if version.reader_name == reader:
            own.append(version)
        else:
            newest.setdefault(version.reader_name, version)
    if not sees_others(project, case_id):
        newest = {name: one for name, one in newest.items() if one.kind == "model"}
    found = [Other(one.id, f"{name} ({one.kind}), version {one.version}") for name, one in newest.items()]
    found += [Other(one.id, f"my version {one.version}: {one.note}"[:80]) for one in own[:OWN_VERSIONS]]
    return tuple(found)


def _models(project: Project) -> tuple[Other, ...]:
    """Return the models that may propose a reading: of the same task and labels, the project's own first."""
    names = [label.name for label in project.labels]
    fitting = [
        model
        for model in workspace().list_models(task=project.task)
        if (theirs := [str(row["name"]) for row in model.card["labels"]]) == names[: len(theirs)]
    ]
    fitting.sort(key=lambda model: model.project_id != project.id)
    return tuple(Other(model.id, model.name) for model in fitting)


@st.fragment
def workbench(project: Project, case: Case) -> None:
    """Show a case to be marked; only this part runs again when the browser asks for a new token."""
    with show_errors():
        reader = _pick_reading(case)
        kind = TASKS[project.task].reading_kind
        networks = tuple(card.name for card in list_promptables(workspace().home))
        others = _others(project, case.id, reader)
        marking = Marking(reader, kind, others, _models(project), networks)
        scene = Scene(case, project.labels, (View(case.name),), marking=marking)
        viewer(workspace(), scene, KEY, on_forked=lambda: _on_forked(case.id))
        if case.info.warnings:
            with st.expander("About this image"):
                for warning in case.info.warnings:
                    st.caption(escape(warning))
