"""One case as two readers saw it: side by side, and laid over each other with agreement in colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from core.jobs.evaluating import REFERENCE
from core.readings.reading import Mask
from core.tasks import TASKS
from pages.review.box_pair import boxes_pair
from pages.shared.messages import escape, show_errors
from pages.shared.models import headline_title
from pages.shared.pickers import pick_slice
from pages.shared.render import (
    Look,
    error_map_rgb,
    fit_to_pixels,
    label_map,
    label_plane,
    plane_display,
    start_window,
    with_reading,
)
from pages.shared.restored_view import restored_view
from pages.shared.viewer import agreement_legend, has_window, label_legend, show_plane, window_controls

if TYPE_CHECKING:
    from core.jobs.payloads import EvaluatePayload
    from core.types import Array
    from core.workspace.records import Case, Project
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
        value = row["scores"].get(TASKS[project.task].headline_metric)
        words = "" if value is None else f" · {headline_title(project.task)} {value:.3f}"
        st.header(f"{escape(case.name)}{words}")
        if TASKS[project.task].reading_kind == "boxes":
            boxes_pair(workspace, project, case, (first, other), payload)
            return
        if TASKS[project.task].reading_kind == "restored":
            for version in (first, other):
                restored_view(workspace, case, version, f"pair_{version.id}")
            return
        start = 0
        if case.info.slices > 1:
            whole = label_map(workspace, first, payload.threshold), label_map(workspace, other)
            start = worst_plane(*whole)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            index = pick_slice(case.info, f"pair_slice_{case.id}_{first.id}_{other.id}", start)
            opacity = st.slider("Opacity", 0.0, 1.0, 0.5, 0.05, key="pair_opacity", width=260)
            contour = st.toggle("Outline only", key="pair_contour")
            if has_window(case.info):
                with st.popover("Window"):
                    window = window_controls(workspace, case, "pair")
            else:
                window = start_window(workspace, case)
        shown = plane_display(workspace, case, index, window)
        planes = (
            label_plane(workspace, first, index, payload.threshold),
            label_plane(workspace, other, index),
        )
        errors, counts = error_map_rgb(shown, *planes, opacity)
        left, middle, right = st.columns(3)
        for column, name, plane in (
            (left, payload.reader, planes[0]),
            (middle, other.reader_name, planes[1]),
        ):
            with column:
                st.markdown(f"**{escape(name)}**")
                look = Look(opacity, contour)
                picture = with_reading(shown, Mask(plane), project.labels, case.info, look)
                show_plane(picture, case.info, f"Reading of {name}", small=True)
                label_legend(project.labels)
        with right:
            st.markdown("**Where they differ**")
            alt = "Agreement in green, false positive in orange, false negative in blue"
            show_plane(fit_to_pixels(errors, case.info.in_plane_spacing_mm), case.info, alt, small=True)
            agreement_legend(counts, payload.reader, other.reader_name)
