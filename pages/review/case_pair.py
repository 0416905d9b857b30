"""One case as two readers saw it: side by side, linked, and laid over each other with agreement in colours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import streamlit as st

from core.jobs.evaluating import REFERENCE
from core.tasks import TASKS
from pages.review.box_pair import boxes_pair
from pages.shared.blind import BLIND, sees_reading
from pages.shared.messages import escape, show_errors
from pages.shared.models import headline_title
from pages.shared.render import label_map, whole_reading
from pages.shared.restored_view import restored_view
from pages.shared.viewer import Layer, Scene, View, viewer

if TYPE_CHECKING:
    from core.jobs.payloads import EvaluatePayload
    from core.types import Array
    from core.workspace.records import Case, Project, ReadingVersion
    from core.workspace.workspace import Workspace


def find_case(workspace: Workspace, project: Project, row: dict[str, Any]) -> Case | None:
    """Return the case a row of the table is about."""
    if row.get("case_id") is not None:
        return workspace.get_case(int(row["case_id"]))
    named = workspace.list_cases(project.id, search=row["case"])
    fitting = (case for case in named if case.name == row["case"] and case.patient_key == row["patient"])
    return next(fitting, None)


def worst_plane(first: Array, other: Array) -> int:
    """Return the index of the plane where two label maps differ in most pixels."""
    if first.ndim == 2:
        return 0
    return int(np.count_nonzero(first != other, axis=(1, 2)).argmax())


@st.fragment
def case_pair(workspace: Workspace, project: Project, row: dict[str, Any], payload: EvaluatePayload) -> None:
    """Show both readings of a case and where they differ; only this part reruns on scrolling.

    Args:
        workspace: the open workspace.
        project: the project compared in.
        row: the table's row: case, patient, scores.
        payload: who is compared with whom, at which threshold.
    """
    with show_errors():
        case = find_case(workspace, project, row)
        if case is None:
            st.caption("This case is no longer in the project.")
            return
        other_name = (project.reference_reader or "") if payload.against == REFERENCE else payload.against
        first = workspace.latest_reading(case.id, payload.reader)
        other = workspace.latest_reading(case.id, other_name)
        if payload.against == REFERENCE:
            other = workspace.reference_of(project.id).get(case.id)
        if first is None or other is None:
            st.caption("One of the two readings is gone; compare again.")
            return
        if not (sees_reading(first) and sees_reading(other)):
            st.caption(BLIND)
            return
        value = row["scores"].get(TASKS[project.task].headline_metric)
        words = "" if value is None else f" · {headline_title(project.task)} {value:.3f}"
        st.subheader(f"{escape(case.name)}{words}")
        if TASKS[project.task].reading_kind == "boxes":
            boxes_pair(workspace, project, case, (first, other), payload)
            return
        if TASKS[project.task].reading_kind == "restored":
            for version in (first, other):
                restored_view(workspace, case, version, f"pair_{version.id}")
            return
        names = payload.reader, other.reader_name
        views, start = pair_views(workspace, first, other, names, payload.threshold)
        if st.toggle(
            "Lay the readings over each other",
            key="pair_over",
            help="One picture instead of two: drag the line between them (Shift+S), or flicker with X.",
        ):
            views = (replace(views[0], second=views[1]), *views[2:])
        scene = Scene(case, project.labels, views, start, threshold=payload.threshold or 0.5, names=names)
        viewer(workspace, scene, "pair_viewer")


def pair_views(
    workspace: Workspace,
    first: ReadingVersion,
    other: ReadingVersion,
    names: tuple[str, str],
    threshold: float | None,
) -> tuple[tuple[View, ...], int | None]:
    """Return both readings side by side, where they differ (of masks), and the plane where they do most."""
    at_threshold = threshold is not None and first.has_probabilities
    left: Literal["reading", "threshold"] = "threshold" if at_threshold else "reading"
    views = [
        View(names[0], (Layer(left, first.id),)),
        View(names[1], (Layer("reading", other.id),)),
    ]
    if whole_reading(workspace, other).kind != "mask":
        return tuple(views), None
    difference = Layer("difference", first.id, other.id, threshold=at_threshold)
    views.append(View("where they differ", (difference,)))
    whole = label_map(workspace, first, threshold if at_threshold else None), label_map(workspace, other)
    return tuple(views), worst_plane(*whole) if whole[0].ndim == 3 else None
