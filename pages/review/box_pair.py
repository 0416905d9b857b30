"""One case as two readers of boxes saw it, and a gallery of the worst cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from core.readings.reading import Boxes
from pages.shared.blind import sees_reading
from pages.shared.box_view import agreement_picture, with_objects
from pages.shared.messages import escape, show_errors
from pages.shared.pickers import pick_slice
from pages.shared.render import (
    AGREED,
    ONLY_FIRST,
    ONLY_REFERENCE,
    OTHER_LABEL,
    every_box,
    plane_display,
    plane_of_reading,
    start_window,
    to_png,
)
from pages.shared.still import color_legend, has_window, label_legend, show_plane, window_controls

if TYPE_CHECKING:
    from core.jobs.payloads import EvaluatePayload
    from core.workspace.records import Case, Project, ReadingVersion
    from core.workspace.workspace import Workspace

GALLERY = 6
Versions = tuple["ReadingVersion", "ReadingVersion"]


def sides_of(workspace: Workspace, versions: Versions, threshold: float | None) -> tuple[Boxes, Boxes]:
    """Return what counts of both readers' boxes."""
    return every_box(workspace, versions[0]).decided(threshold), every_box(workspace, versions[1]).decided()


def worst_box_plane(sides: tuple[Boxes, Boxes], slices: int) -> int:
    """Return the plane where the numbers of boxes differ most; the first with boxes when none does."""
    counts = [np.bincount(side.planes, minlength=slices) for side in sides]
    difference = np.abs(counts[0] - counts[1])
    return int((difference if difference.any() else counts[0] + counts[1]).argmax())


def boxes_pair(
    workspace: Workspace, project: Project, case: Case, versions: Versions, payload: EvaluatePayload
) -> None:
    """Show both readers' boxes side by side, and where they differ."""
    sides = sides_of(workspace, versions, payload.threshold)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        start = worst_box_plane(sides, case.info.slices)
        index = pick_slice(case.info, f"pair_slice_{case.id}_{versions[0].id}_{versions[1].id}", start)
        window = start_window(workspace, case)
        if has_window(case.info):
            with st.popover("Window"):
                window = window_controls(workspace, case, "pair")
    plain = plane_display(workspace, case, index, window)
    columns = st.columns(3)
    for column, version, side in zip(columns, versions, sides, strict=False):
        with column:
            here = plane_of_reading(side, index)
            st.markdown(f"**{escape(version.reader_name)}** · {len(side)} boxes")
            if isinstance(here, Boxes):
                shown = with_objects(plain, here, project.labels, case.info, small=True)
                show_plane(shown, case.info, f"Boxes of {version.reader_name}", small=True)
            label_legend(project.labels)
    with columns[2]:
        _differences(plain, sides, case, (index, versions))


def _differences(plain: Any, sides: tuple[Boxes, Boxes], case: Case, at: tuple[int, Versions]) -> None:
    index, versions = at
    st.markdown("**Where they differ**")
    picture, counts = agreement_picture(plain, sides, case.info, case.info.is_volume, index)
    alt = "Found in green, false in orange, missed in blue, other label in purple"
    show_plane(picture, case.info, alt, small=True)
    found, false, missed, mixed = counts
    first, other = versions[0].reader_name, versions[1].reader_name
    color_legend(
        (AGREED, f"both ({found})"),
        (ONLY_FIRST, f"only {first}: false ({false - mixed})"),
        (ONLY_REFERENCE, f"only {other}: missed ({missed - mixed})"),
        (OTHER_LABEL, f"another label ({mixed})"),
    )


@st.fragment
def worst_gallery(
    workspace: Workspace, rows: list[dict[str, Any]], versions: dict[int, Versions], threshold: float | None
) -> None:
    """Show the cases with most errors as small pictures in the colours of agreement."""
    panel = st.expander("Gallery of the worst cases", key="compare_gallery", on_change="rerun")
    if not panel.open:
        return
    with panel, show_errors():
        known = (row for row in rows if row.get("case_id") in versions)
        shown = [row for row in known if all(map(sees_reading, versions[row["case_id"]]))][:GALLERY]
        for start in range(0, len(shown), 3):
            for column, row in zip(st.columns(3), shown[start : start + 3], strict=False):
                with column:
                    _small(workspace, row, versions[row["case_id"]], threshold)


def _small(workspace: Workspace, row: dict[str, Any], versions: Versions, threshold: float | None) -> None:
    case = workspace.get_case(int(row["case_id"]))
    sides = sides_of(workspace, versions, threshold)
    index = worst_box_plane(sides, case.info.slices)
    plain = plane_display(workspace, case, index)
    picture, (_, false, missed, _) = agreement_picture(
        plain, sides, case.info, case.info.is_volume, index
    )  # fmt: skip
    st.image(
        to_png(picture), output_format="PNG", width="stretch",
        caption=escape(f"{case.name}: {missed} missed, {false} false"),
    )  # fmt: skip
