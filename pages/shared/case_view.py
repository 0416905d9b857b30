"""One case on the page: picture with overlay, window and slice, versions of readings, facts, downloads."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from core.readings.export import ExportItem
from core.readings.exporters import BOX_EXPORTERS
from core.readings.reading import Boxes
from core.tasks import TASKS
from pages.shared.box_view import object_table
from pages.shared.messages import escape, show_errors
from pages.shared.pickers import pick_slice
from pages.shared.render import (
    Look,
    label_plane,
    plane_display,
    plane_reading,
    start_plane,
    to_png,
    whole_reading,
    with_reading,
)
from pages.shared.restored_view import restored_view
from pages.shared.viewer import label_legend, look_controls, show_plane, window_controls

if TYPE_CHECKING:
    from core.workspace.records import Case, Project, ReadingVersion
    from core.workspace.workspace import Workspace

NOBODY = "nobody"


@st.fragment
def case_viewer(workspace: Workspace, project: Project, case: Case, key: str) -> None:
    """Show one case; only this part reruns while somebody scrolls or changes the window.

    Args:
        workspace: the open workspace.
        project: the case's project.
        case: what to look at.
        key: prefix of the widgets' keys, one per page.
    """
    with show_errors():
        version = None
        if TASKS[project.task].reading_kind == "restored":
            version = _pick_version(workspace, project, case, key)
            if version is not None:
                restored_view(workspace, case, version, key)
                facts(case)
                return
        picture, controls = st.columns([2, 1], gap="medium")
        with controls:
            if TASKS[project.task].reading_kind != "restored":
                version = _pick_version(workspace, project, case, key)
            start = start_plane(workspace, version, case.info)
            index = pick_slice(case.info, f"{key}_slice_{case.id}", start)
            window = window_controls(workspace, case, key)
            look = Look()
            if version is not None:
                look = look_controls(key)
                label_legend(project.labels)
                _downloads(workspace, case, version, index, key)
        with picture:
            shown = plane_display(workspace, case, index, window)
            reading = None if version is None else plane_reading(workspace, version, index)
            shown = with_reading(shown, reading, project.labels, case.info, look)
            show_plane(shown, case.info, f"Slice {index + 1} of {case.info.slices}")
        facts(case)


def _pick_version(workspace: Workspace, project: Project, case: Case, key: str) -> ReadingVersion | None:
    known = workspace.list_versions(case.id)
    names = sorted({version.reader_name for version in known})
    if not names:
        st.caption("Nobody has read this case yet.")
        return None
    reader_key = f"{key}_reader_{project.id}"
    if st.session_state.get(reader_key) not in [*names, NOBODY]:
        preferred = project.reference_reader
        st.session_state[reader_key] = preferred if preferred in names else names[0]
    chosen = st.selectbox("Reading of", [*names, NOBODY], key=reader_key)
    if chosen == NOBODY:
        return None
    versions = {version.version: version for version in known if version.reader_name == chosen}
    if len(versions) < 2:
        return next(iter(versions.values()), None)
    newest = max(versions)
    number = st.selectbox(
        "Version",
        sorted(versions, reverse=True),
        key=f"{key}_version_{case.id}_{chosen}_{newest}",
        format_func=lambda number: _version_title(versions[number], number == newest),
    )
    return versions[number]


def _version_title(version: ReadingVersion, newest: bool) -> str:
    when = version.created_at.strftime("%Y-%m-%d %H:%M UTC")
    words = [str(version.version), when, version.note, "newest" if newest else ""]
    return " · ".join(word for word in words if word)


def _downloads(workspace: Workspace, case: Case, version: ReadingVersion, index: int, key: str) -> None:
    reading = whole_reading(workspace, version)
    name = f"case{case.id}_v{version.version}"
    if isinstance(reading, Boxes):
        _box_table(workspace, case, reading, name, key)
    if reading.kind != "mask":
        return

    def _png() -> bytes:
        return to_png(label_plane(workspace, version, index))

    def _nifti() -> bytes:
        # Loaded when somebody asks for it: pages themselves know no file libraries.
        masks = import_module("core.readings.masks")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mask.nii.gz"
            masks.write_mask_nifti(workspace.load_reading(version, with_probabilities=False), case.info, path)
            return path.read_bytes()

    with st.container(horizontal=True):
        st.download_button(
            "Mask as PNG" if case.info.slices == 1 else "This slice as PNG",
            _png,
            file_name=f"{name}_{index + 1}.png" if case.info.slices > 1 else f"{name}.png",
            mime="image/png",
            key=f"{key}_png_{case.id}",
            on_click="ignore",
        )
        if case.info.is_volume:
            st.download_button(
                "Mask as NIfTI",
                _nifti,
                file_name=f"{name}.nii.gz",
                mime="application/gzip",
                key=f"{key}_nifti_{case.id}",
                on_click="ignore",
            )


def _box_table(workspace: Workspace, case: Case, boxes: Boxes, name: str, key: str) -> None:
    """Show the objects of a reading and hand them out as a table."""
    labels = workspace.get_project(case.project_id).labels
    st.dataframe(
        object_table(boxes, case.info, labels), hide_index=True, height=min(260, 38 + 35 * max(len(boxes), 1)),
        alt="Objects of this reading",
    )  # fmt: skip

    def _csv() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            item = ExportItem(case.name, case.info, boxes, "", case.source)
            return BOX_EXPORTERS["csv"]([item], labels, Path(folder))[0].read_bytes()

    st.download_button(
        "Boxes as CSV", _csv, f"{name}.csv", "text/csv", key=f"{key}_boxes_{case.id}", on_click="ignore"
    )  # fmt: skip


def facts(case: Case) -> None:
    """List what is known about a case; nothing in it names a person."""
    with st.expander("Facts"):
        info = case.info
        spacing = "unknown"
        if info.spacing_mm is not None:
            spacing = " × ".join(f"{value:.4g}" for value in reversed(info.spacing_mm)) + " mm"
        known = {
            "Modality": info.modality,
            "Size": " × ".join(str(n) for n in reversed(info.spatial_shape)),
            "Channels": str(info.channels),
            "Values": info.dtype,
            "Spacing (x, y, z)" if info.is_volume else "Spacing (x, y)": spacing,
            "Came from": case.source or "",
            "Patient key": case.patient_key,
            **info.metadata,
            **case.metadata,
        }
        st.dataframe(
            {"fact": list(known), "value": [str(value) for value in known.values()]},
            hide_index=True,
            alt="Facts about this case",
        )
        for warning in info.warnings:
            st.caption(escape(warning))
