"""One case on the page: picture with overlay, window and slice, versions of readings, facts, downloads."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from core.readings.dicom_seg_export import can_be_dicom_seg
from core.readings.export import Exporter, ExportItem
from core.readings.exporters import BOX_EXPORTERS, MASK_EXPORTERS
from core.readings.reading import Boxes
from core.tasks import TASKS
from pages.shared.blind import BLIND, sees_others
from pages.shared.box_view import object_table
from pages.shared.messages import escape, show_errors
from pages.shared.pickers import CASE_LIMIT
from pages.shared.render import every_box, label_plane, to_png, whole_reading
from pages.shared.restored_view import restored_view
from pages.shared.viewer import Layer, Scene, View, viewer

if TYPE_CHECKING:
    from core.types import Label
    from core.workspace.records import Case, Project, ReadingVersion
    from core.workspace.workspace import Workspace

NOBODY = "nobody"


BESIDE = 3


@st.fragment
def case_viewer(workspace: Workspace, project: Project, case: Case, key: str) -> None:
    """Show one case; only this part reruns when another reading is chosen.

    Args:
        workspace: the open workspace.
        project: the case's project.
        case: what to look at.
        key: prefix of the widgets' keys, one per page.
    """
    with show_errors():
        with st.container(horizontal=True, vertical_alignment="bottom"):
            version = _pick_version(workspace, project, case, key)
            beside = _pick_beside(workspace, project, case, key)
        if version is not None and TASKS[project.task].reading_kind == "restored":
            restored_view(workspace, case, version, key)
            facts(case)
            return
        own = View(case.name, () if version is None else (Layer("reading", version.id),))
        views = (own, *(_beside_view(workspace, other, version) for other in beside))
        if len(views) == 2 and st.toggle(
            "Lay it over this one",
            key=f"{key}_over",
            help="One picture instead of two: drag the line between them (Shift+S), or flicker with X.",
        ):
            views = (replace(own, second=views[1]),)
        scored = _scored_boxes(workspace, version)
        threshold = 0.5 if scored is None else scored.threshold or 0.01
        scene = Scene(case, project.labels, views, threshold=threshold, scores=scored is not None)
        viewer(workspace, scene, f"{key}_viewer")
        if version is not None:
            _downloads(workspace, case, version, key)
        facts(case)


def _scored_boxes(workspace: Workspace, version: ReadingVersion | None) -> Boxes | None:
    """Return a model's boxes, which a threshold chooses from; None for everything else."""
    if version is None or not version.has_probabilities:
        return None
    return every_box(workspace, version) if whole_reading(workspace, version).kind == "boxes" else None


def _pick_beside(workspace: Workspace, project: Project, case: Case, key: str) -> list[Case]:
    """Choose other cases to look at side by side, such as an earlier examination."""
    others = {
        other.id: other for other in workspace.list_cases(project.id, limit=CASE_LIMIT) if other.id != case.id
    }
    if not others:
        return []
    chosen = st.multiselect(
        "Beside it",
        list(others),
        key=f"{key}_beside_{case.id}",
        max_selections=BESIDE,
        placeholder="other cases, linked",
        format_func=lambda number: others[number].name if number in others else "(deleted)",
    )
    return [others[number] for number in chosen if number in others]


def _beside_view(workspace: Workspace, case: Case, like: ReadingVersion | None) -> View:
    """Show another case with the reading of the same reader, where there is one."""
    found = None if like is None else workspace.latest_reading(case.id, like.reader_name)
    return View(case.name, () if found is None else (Layer("reading", found.id),), case)


def _pick_version(workspace: Workspace, project: Project, case: Case, key: str) -> ReadingVersion | None:
    known = workspace.list_versions(case.id)
    if not sees_others(project, case.id):
        known = [version for version in known if version.kind == "model"]
        st.caption(BLIND)
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


def _downloads(workspace: Workspace, case: Case, version: ReadingVersion, key: str) -> None:
    reading = whole_reading(workspace, version)
    name = f"case{case.id}_v{version.version}"
    if isinstance(reading, Boxes):
        _box_table(workspace, case, reading, name, key)
    if reading.kind != "mask":
        return

    def _png() -> bytes:
        return to_png(label_plane(workspace, version, 0))

    def _tiff() -> bytes:
        masks = import_module("core.readings.masks")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mask.tif"
            masks.write_mask_tiff(workspace.load_reading(version, with_probabilities=False), path)
            return path.read_bytes()

    def _nifti() -> bytes:
        # Loaded when somebody asks for it: pages themselves know no file libraries.
        masks = import_module("core.readings.masks")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mask.nii.gz"
            masks.write_mask_nifti(workspace.load_reading(version, with_probabilities=False), case.info, path)
            return path.read_bytes()

    if case.info.slices == 1:
        title, content, ending, mime = "Mask as PNG", _png, "png", "image/png"
    elif case.info.is_volume:
        title, content, ending, mime = "Mask as NIfTI", _nifti, "nii.gz", "application/gzip"
    else:
        title, content, ending, mime = "Mask as TIFF", _tiff, "tif", "image/tiff"
    st.download_button(
        title, content, f"{name}.{ending}", mime, key=f"{key}_mask_{case.id}", on_click="ignore"
    )
    if can_be_dicom_seg(case.info, case.headers_sha256 is not None):
        item = ExportItem(
            name,
            case.info,
            reading,
            version.reader_name,
            by_model=version.kind == "model",
            load_headers=partial(workspace.load_headers, case),
        )
        labels = workspace.get_project(case.project_id).labels
        st.download_button(
            "Mask as DICOM segmentation", partial(_first_file, MASK_EXPORTERS["dicom-seg"], item, labels),
            f"{name}.dcm", "application/dicom", key=f"{key}_seg_{case.id}", on_click="ignore",
        )  # fmt: skip


def _first_file(export: Exporter, item: ExportItem, labels: tuple[Label, ...]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return export([item], labels, Path(folder))[0].read_bytes()


def _box_table(workspace: Workspace, case: Case, boxes: Boxes, name: str, key: str) -> None:
    """Show the objects of a reading and hand them out as a table."""
    labels = workspace.get_project(case.project_id).labels
    st.dataframe(
        object_table(boxes, case.info, labels), hide_index=True, height=min(260, 38 + 35 * max(len(boxes), 1)),
        alt="Objects of this reading",
    )  # fmt: skip

    item = ExportItem(case.name, case.info, boxes, "", case.source)
    st.download_button(
        "Boxes as CSV", partial(_first_file, BOX_EXPORTERS["csv"], item, labels), f"{name}.csv", "text/csv",
        key=f"{key}_boxes_{case.id}", on_click="ignore",
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
