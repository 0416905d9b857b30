"""Import: files go to disk at once, a job reads them, and everything refused is named."""

from __future__ import annotations

import csv
from contextlib import suppress
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.errors import NotFound
from core.imaging.profiles import DEFAULT_PROFILE, PROFILES, Profile
from core.jobs.import_request import ImportRequest, remove_old, write_request
from core.jobs.payloads import ImportPayload
from core.jobs.submit import submit
from core.readings.label_formats import LABEL_FORMATS, TITLES
from core.settings import load_settings
from core.types import SPLITS
from core.workspace.records import Project
from pages.data.import_sources import ServerFolders, pick_folders, show_match
from pages.shared.jobs_panel import job_panel
from pages.shared.menu import ANNOTATE, CASES, PROJECTS
from pages.shared.messages import empty_state, escape, show_errors
from pages.shared.progress import count_words
from pages.shared.render import THUMBNAIL_SIDE, thumbnail_png
from pages.shared.staging import Kind, Staging, Upload, own_name, parse_label_map
from pages.shared.state import (
    current_project,
    queue,
    recall,
    recall_id,
    remember,
    user_name,
    workspace,
)

IMAGE_HELP = (
    "DICOM, NIfTI, NRRD, MetaImage, MGH, MINC, PAR/REC, PNG, JPEG, TIFF, BMP, WebP, whole slides, NPY/NPZ, and zip or "
    "tar of them. Several at once. DICOM files of one series become one volume."
)
MASK_HELP = (
    "Labels named like their images (a common ending such as _mask is fine): masks as PNG, TIFF, NIfTI; COCO JSON, "
    "Pascal VOC XML, YOLO text, a CSV table of boxes or of classes; or a zip of them. DICOM segmentations come in with "
    "the images."
)
TABLE_HELP = (
    "One row an image: a column with the file name, and one with the patient, so that patients stay together."
)
PROFILE_NAMES: dict[Profile, str] = {
    "basic": "Remove",
    "basic_dates": "Remove, move dates",
    "keep": "Keep",
}
HIDE_HELP = (
    "PNG, JPEG, TIFF and NIfTI files keep their names, by which you find your images again, and lose everything "
    "else they say about a person. Tick this when the names of these files name patients, too."
)
SHOWN = 8
SHOWN_REMARKS = 5
MAX_CAPTION = 28


def staging() -> Staging:
    """Return the import in preparation of this session (its number stands in the page's address)."""
    kept = Staging(load_settings().home_path, recall("staging"))
    remember("staging", kept.id)
    return kept


def take_uploads(kept: Staging) -> None:
    """Show the three upload fields; what arrives is written to disk and the field is emptied at once."""
    turn = st.session_state.setdefault("import_turn", 0)
    left, right = st.columns(2)
    with left:
        images = st.file_uploader("Images", accept_multiple_files=True, key=f"images_{turn}")
    with right:
        masks = st.file_uploader("Labels (optional)", accept_multiple_files=True, key=f"masks_{turn}")
    st.caption(f"{IMAGE_HELP} {MASK_HELP}")
    with st.expander("Patients and further facts from a table (CSV)", expanded=bool(kept.files("table"))):
        table = st.file_uploader("Table (optional)", type=["csv"], key=f"table_{turn}", help=TABLE_HELP)
    arrived: list[tuple[Kind, list[Any]]] = [
        ("images", images or []),
        ("masks", masks or []),
        ("table", [table] if table else []),
    ]
    if not any(files for _, files in arrived):
        return
    with show_errors():
        remove_old(load_settings().home_path)
        for kind, files in arrived:
            kept.add(kind, (Upload(file.name, file) for file in files))
            forget_uploads(files)
        st.session_state["import_turn"] = turn + 1
        st.rerun()


def forget_uploads(files: list[Any]) -> None:
    """Free the server's memory of uploads that lie on disk now; else they stay until the session ends."""
    context = get_script_run_ctx()
    if context is None or not hasattr(context.uploaded_file_mgr, "remove_file"):
        return
    for file in files:
        context.uploaded_file_mgr.remove_file(session_id=context.session_id, file_id=file.file_id)


def list_staged(kept: Staging) -> None:
    """Say what lies ready."""
    for kind, title in (("images", "Images"), ("masks", "Labels"), ("table", "Table")):
        files = kept.files(kind)  # type: ignore[arg-type]
        if not files:
            continue
        size = sum(file.n_bytes for file in files) / 1e6
        names = ", ".join(file.display for file in files[:SHOWN])
        more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
        count = count_words(len(files), "file", "files")
        st.markdown(f"**{title}**: {count}, {size:,.1f} MB · {escape(names)}{more}")


def table_columns(kept: Staging) -> dict[str, str] | None:
    """Ask which column of the table says what."""
    tables = kept.files("table")
    if not tables:
        return None
    with open(kept.path_of(tables[-1]), newline="", encoding="utf-8-sig", errors="replace") as file:
        header = [name for name in next(csv.reader(file), []) if name.strip()]
    if not header:
        raise ValueError("The table needs a first row with the names of its columns.")
    lowered = [name.lower() for name in header]
    columns: dict[str, str] = {}
    asked = (
        ("file", "File name", ("file", "filename", "image", "name")),
        ("patient", "Patient", ("patient", "patient_id", "patientid", "subject")),
        ("split", "Split", ("split", "set", "fold")),
    )
    with st.container(horizontal=True):
        for key, title, guesses in asked:
            guess = next((lowered.index(name) for name in guesses if name in lowered), None)
            chosen = st.selectbox(
                f"Column: {title}",
                header,
                index=guess,
                key=f"column_{key}_{kept.id}",
                placeholder="none",
                width=220,
            )
            if chosen is not None:
                columns[key] = chosen
    return columns


def options(kept: Staging, project: Project, has_labels: bool) -> tuple[str, str, str, str | None]:
    """Ask how labels are read and where the cases go; returns (reader, format, label map text, split)."""
    reader, label_map, label_format = user_name(), "", "auto"
    if has_labels:
        with st.container(horizontal=True):
            reader = st.text_input(
                "Whose labels are these?", value=reader, key=f"reader_{kept.id}", max_chars=80, width=280
            )
            label_format = st.selectbox(
                "Their format", LABEL_FORMATS, key=f"format_{kept.id}", format_func=lambda one: TITLES[one],
                width=280,
            )  # fmt: skip
            example = ", ".join(f"{label.value}={label.name}" for label in project.labels[:3])
            label_map = st.text_input(
                "What do the values mean?",
                key=f"map_{kept.id}",
                placeholder=f"{example}   or   any={project.labels[0].name}",
                help="Numbers of a mask, or of classes in COCO and YOLO. Empty: masks hold the labels' own numbers "
                "(or 0 and 255 when there is one label), other files name their classes.",
                width=420,
            )
    split = st.segmented_control(
        "Split",
        ["decide later", *SPLITS],
        default="decide later",
        key=f"split_{kept.id}",
        help="train: the network learns from these; val: steers training; test: for the final comparison.",
    )
    return reader.strip() or user_name(), label_format, label_map, split if split in SPLITS else None


def identity(kept: Staging) -> tuple[Profile, bool]:
    """Ask what is kept of patients' identity; returns (profile for DICOM, hide the names of other files)."""
    profile = st.segmented_control(
        "Patient identity in DICOM files",
        list(PROFILES),
        default=DEFAULT_PROFILE,
        required=True,
        format_func=PROFILE_NAMES.__getitem__,
        key=f"identity_{kept.id}",
    )
    chosen: Profile = profile or DEFAULT_PROFILE
    st.caption(f"{PROFILES[chosen]} PNG, JPEG, TIFF and NIfTI files keep their names unless you hide them:")
    hide = st.checkbox("Hide the names of other files as well", key=f"hide_{kept.id}", help=HIDE_HELP)
    return chosen, hide


def start(kept: Staging, project: Project, folders: ServerFolders) -> None:
    """Ask for the options and queue the import."""
    with show_errors():
        columns = table_columns(kept)
        has_images = bool(kept.files("images") or folders.images)
        has_masks = bool(kept.files("masks") or folders.masks)
        reader, label_format, label_map, split = options(kept, project, has_masks)
        show_match(kept, folders)
        profile, hide = identity(kept)
        with st.container(horizontal=True):
            go = st.button(
                "Import",
                type="primary",
                disabled=not (has_images or has_masks),
                key=f"import_{kept.id}",
            )
            st.button("Clear", key=f"clear_{kept.id}", on_click=kept.discard)
        if not has_images:
            st.caption("Labels alone go to the images of this project that are named like them.")
        if go:
            images = kept.files("images")
            labels, tables = kept.labels_path() or folders.masks, kept.files("table")
            own = [str(folders.images)] if folders.images else []
            kept.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            request = ImportRequest(
                paths=[*(str(kept.path_of(file)) for file in images), *own],
                labels=str(labels) if labels else None,
                table=str(kept.path_of(tables[-1])) if tables else None,
                display_names=kept.display_names(),
            )
            payload = ImportPayload(
                project=project.id,
                format=label_format,
                label_map=parse_label_map(label_map),
                columns=columns,
                reader=reader,
                split=split,  # type: ignore[arg-type]
                staging=str(kept.folder),
                request=write_request(kept.folder, request),
                deidentify=profile,
                hide_names=hide,
            )
            count = len(images) or len(kept.files("masks"))
            what = count_words(count, "file", "files") if count else "a folder"
            job = submit(queue(), payload, f"Import of {what}")
            st.session_state["import_names"] = {job.id: [*(file.display for file in images), *own]}
            remember("job", job.id)
            remember("staging", None)
            st.rerun()


def show_first(case_ids: list[int]) -> None:
    """Show small pictures of the first cases that came in."""
    with st.container(horizontal=True):
        for case_id in case_ids[:SHOWN]:
            with suppress(NotFound):  # it was deleted since
                case = workspace().get_case(case_id)
                with st.container(width=THUMBNAIL_SIDE + 16):
                    picture = thumbnail_png(workspace(), case)
                    st.image(picture, output_format="PNG", caption=escape(_short(case.name)), alt=case.name)


def _short(name: str) -> str:
    return name if len(name) <= MAX_CAPTION else f"{name[: MAX_CAPTION - 1]}…"


def show_result(result: dict[str, Any], names: list[str]) -> None:
    """Say what came in and name what did not.

    Args:
        result: what the job says.
        names: the files this session uploaded for it, in their order; empty for another session's import.
    """
    cases, readings = int(result.get("cases", 0)), int(result.get("readings", 0))
    words = (
        f"{count_words(cases, 'case', 'cases')} and {count_words(readings, 'reading', 'readings')} came in."
    )
    known = int(result.get("already_there", 0))
    if known:
        words += f" {known} of them were here already."
    (st.success if cases else st.warning)(words)
    show_first(result.get("first_cases") or [])
    skipped = result.get("skipped") or []
    if skipped:
        total = int(result.get("skipped_count", len(skipped)))
        st.markdown(f"**{count_words(total, 'file', 'files')} did not come in:**")
        st.dataframe(
            {
                "file": [own_name(row["path"], names) for row in skipped],
                "why": [row["reason"] for row in skipped],
            },
            hide_index=True,
            alt="Files that were not imported, and why",
            column_config={"file": st.column_config.TextColumn(width="medium")},
        )
    warnings = result.get("warnings") or []
    for warning in warnings[:SHOWN_REMARKS]:
        st.warning(escape(warning))
    if len(warnings) > SHOWN_REMARKS:
        with st.expander(f"{count_words(len(warnings), 'remark', 'remarks')} on what came in"):
            st.dataframe({"remark": warnings}, hide_index=True, alt="Remarks on imported files")
    if cases:
        with st.container(horizontal=True):
            st.page_link(CASES.path, label="Look at the cases", icon=CASES.icon)
            st.page_link(ANNOTATE.path, label="Annotate", icon=ANNOTATE.icon)


st.title("Import")
project = current_project()
if project is None:
    empty_state("Images belong to a project, and there is none yet.", PROJECTS, "Create a project")
else:
    with show_errors():
        st.caption(f"Images come into the project {escape(project.name)}. Files stay on this machine.")
        kept = staging()
        take_uploads(kept)
        folders = pick_folders(kept)
        if kept.files() or folders != ServerFolders():
            list_staged(kept)
            start(kept, project, folders)
        job_id = recall_id("job")
        if job_id is not None:
            job = queue().get(job_id)
            if job.kind == "import":
                remember("job", job_id)
                st.subheader("Last import")
                done = job_panel(job_id)
                if done is not None and done.state == "done" and done.result:
                    show_result(done.result, st.session_state.get("import_names", {}).get(job_id, []))
