"""Infer: a model reads cases; its reading is seen over the image, corrected, exported."""

from __future__ import annotations

import csv
import io
from typing import Any

import streamlit as st

from core.jobs.payloads import PredictPayload
from core.jobs.submit import submit
from core.readings.export import CSV_COLUMNS, ExportItem, measure, safe_cell
from core.readings.reading import Mask
from core.tasks import TASKS
from core.types import SPLITS, Label
from core.workspace.records import Case, Model, Project, ReadingVersion
from pages.models.infer_boxes import boxes_view, counts_part
from pages.shared.close_look import close_look
from pages.shared.jobs_panel import ACTIVE, job_panel
from pages.shared.menu import ANNOTATE, IMPORT, PROJECTS, TRAIN
from pages.shared.messages import empty_state, escape, show_errors
from pages.shared.models import headline_of
from pages.shared.progress import count_words
from pages.shared.render import label_map, to_png, whole_reading
from pages.shared.restored_view import restored_view
from pages.shared.state import current_project, queue, recall_id, remember, workspace
from pages.shared.viewer import Layer, Scene, View, viewer

store = workspace()
UNREAD, ALL, SOME = "not read yet", "all", "chosen"


def pick_model(project: Project, models: dict[int, Model]) -> Model:
    """Choose one of the project's models, or another of the same task."""
    number = st.selectbox(
        "Model",
        list(models),
        key=f"infer_model_{project.id}",
        format_func=lambda one: _model_title(models[one], project),
    )
    return models[number]


def _model_title(model: Model, project: Project) -> str:
    headline = headline_of(model)
    words = [model.name]
    if headline is not None:
        words.append(f"validation {headline[0]} {headline[1]:.3f}")
    if model.project_id != project.id:
        words.append("from another project")
    return "  ·  ".join(words)


def pick_cases(project: Project, model: Model) -> list[Case]:
    """Choose the cases to run on."""
    read = set(store.readings_of(project.id, model.name))
    how = st.segmented_control(
        "Cases", [UNREAD, ALL, *SPLITS, SOME], default=UNREAD, key="infer_cases", required=True
    )
    cases = store.list_cases(project.id)
    if how == UNREAD:
        return [case for case in cases if case.id not in read]
    if how in SPLITS:
        return [case for case in cases if case.split == how]
    if how == SOME:
        by_id = {case.id: case for case in cases}
        chosen = st.multiselect(
            "Which", list(by_id), key="infer_some", format_func=lambda one: by_id[one].name
        )
        return [by_id[one] for one in chosen]
    return cases


def run_model(project: Project, model: Model) -> None:
    """Start a prediction and show the one in hand."""
    cases = pick_cases(project, model)
    flips = st.toggle(
        "Average over mirrored copies",
        True,
        key="infer_flips",
        help="Four looks instead of one: slower, steadier.",
    )
    blend = _blend(model)
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"Run on {count_words(len(cases), 'case', 'cases')}"
        if st.button(label, type="primary", key="infer_run", disabled=not cases):
            payload = PredictPayload(
                model=model.id,
                project=project.id,
                case_ids=[case.id for case in cases],
                flips=flips,
                blend=blend,
            )
            remember("job", submit(queue(), payload, f"Run {model.name}").id)
            st.rerun()
        st.page_link(IMPORT.path, label="Import new images", icon=IMPORT.icon)
    jobs = [job for job in queue().list(project_id=project.id, limit=20) if job.kind == "predict"]
    wanted = recall_id("job")
    job = next((job for job in jobs if job.id == wanted or job.state in ACTIVE), None)
    if job is not None:
        job_panel(job.id)
        for row in ((job.result or {}).get("skipped") or [])[:20]:
            st.warning(f"{escape(row['path'])}: {escape(row['reason'])}")


def _blend(model: Model) -> float | None:
    """Ask for the share of the second stage, where the model has one."""
    truth = TASKS[model.task].image_truth
    if truth is None or not model.card.get("inference", {}).get("blendable"):
        return None
    return float(
        st.select_slider(
            f"Blend: 0 {truth.stages[0]}, 1 {truth.stages[1]}",
            truth.blends,
            key=f"infer_blend_{model.id}",
            help="Mixes the weights of the model's two stages; look closely below to choose.",
        )
    )


def results(project: Project, model: Model) -> None:
    """Show the model's readings over their images."""
    if TASKS[project.task].image_truth is not None:
        look_part(project, model)
    versions = store.readings_of(project.id, model.name)
    if not versions:
        st.caption("This model has not read a case of this project yet.")
        return
    st.subheader("Readings of this model")
    cases = {case.id: case for case in store.list_cases(project.id) if case.id in versions}
    kept = recall_id("case")
    key = f"infer_case_{model.id}"
    if kept in cases and st.session_state.get(key) != kept:
        st.session_state[key] = kept
    elif st.session_state.get(key) not in cases:
        st.session_state.pop(key, None)
    number = st.selectbox(
        "Case",
        list(cases),
        key=key,
        format_func=lambda one: cases[one].name,
        on_change=_case_chosen,
        args=(key,),
    )
    reading_view(project, model, cases[number], versions[number])
    if TASKS[project.task].reading_kind == "boxes":
        counts_part(store, project, versions)


@st.fragment
def look_part(project: Project, model: Model) -> None:
    """Try the model on a part of a case at once; only this part reruns while sliding."""
    st.subheader("A close look")
    cases = {case.id: case for case in store.list_cases(project.id)}
    number = st.selectbox(
        "Case to look at", list(cases), key="infer_look_case", format_func=lambda one: cases[one].name
    )
    with show_errors():
        close_look(store, model, cases[number], "infer_close")


def _case_chosen(key: str) -> None:
    remember("case", st.session_state[key])


@st.fragment
def reading_view(project: Project, model: Model, case: Case, version: ReadingVersion) -> None:
    """Show one reading with what belongs to its kind; only this part reruns while sliding."""
    with show_errors():
        if TASKS[project.task].reading_kind == "boxes":
            boxes_view(store, project, model, case, version)
            _correct(case)
        elif TASKS[project.task].reading_kind == "restored":
            restored_view(store, case, version, "infer")
        else:
            mask_view(project, model, case, version)


def mask_view(project: Project, model: Model, case: Case, version: ReadingVersion) -> None:
    """Show a mask in the viewer, with its sizes."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        own = version.has_probabilities and st.toggle(
            "Own threshold", key="infer_own", help="Otherwise the model's own rule counts."
        )
        heat = _pick_heat(project) if version.has_probabilities else None
    layer = Layer("threshold" if own else "reading", version.id)
    views = [View(f"{case.name} read by {model.name}", (layer,))]
    if heat is not None:
        views.append(View(f"probability of {heat.name}", (Layer("heat", version.id, label=heat.value),)))
    seen = viewer(store, Scene(case, project.labels, tuple(views)), f"infer_viewer_{own}")
    threshold = (0.5 if seen.threshold is None else seen.threshold) if own else None
    whole = whole_reading(store, version, threshold)
    if isinstance(whole, Mask):
        item = ExportItem(case.name, case.info, whole, model.name)
        rows = [dict(zip(CSV_COLUMNS, row, strict=True)) for row in measure(item, project.labels)]
        if threshold is not None:
            st.caption(f"Sizes at a probability of {threshold:.2f} and above.")
        _sizes(rows)
        _actions(case, version, model, (threshold, rows))


def _pick_heat(project: Project) -> Label | None:
    """Choose a label whose probability is shown beside the reading, as a heat map."""
    by_value = {label.value: label for label in project.labels}
    chosen = st.selectbox(
        "Heat map of",
        [None, *by_value],
        key=f"infer_heat_{project.id}",
        format_func=lambda value: "none" if value is None else by_value[value].name,
        width=220,
    )
    return None if chosen is None else by_value.get(chosen)


def _sizes(rows: list[dict[str, Any]]) -> None:
    """Show area or volume of each label; pixels where the spacing is unknown."""
    table: dict[str, list[str]] = {"label": [], "size": []}
    for row in rows:
        table["label"].append(str(row["label"]))
        if row["volume_mm3"] != "":
            table["size"].append(f"{float(row['volume_mm3']) / 1000:.2f} ml")
        elif row["area_mm2"] != "":
            table["size"].append(f"{float(row['area_mm2']):.1f} mm²")
        else:
            table["size"].append(f"{row['pixels']:,} px")
    st.dataframe(table, hide_index=True, alt="Size of each label")


def _actions(
    case: Case, version: ReadingVersion, model: Model, view: tuple[float | None, list[dict[str, Any]]]
) -> None:
    threshold, rows = view
    name = f"case{case.id}-{version.version}"
    _correct(case)
    if threshold is not None and st.button("Keep this threshold as a new version", key="infer_keep"):
        with show_errors():
            stored = store.load_reading(version)
            probabilities = stored.probabilities if isinstance(stored, Mask) else None
            store.save_reading(
                case.id,
                model.name,
                Mask(label_map(store, version, threshold), probabilities),
                kind="model",
                note=f"threshold {threshold:.2f}",
                based_on=version.version,
                model_id=model.id,
            )
            st.rerun()
    with st.container(horizontal=True):
        if case.info.slices == 1:
            st.download_button(
                "Mask (PNG)",
                lambda: to_png(label_map(store, version, threshold)),
                f"{name}.png",
                "image/png",
                key="infer_png",
                on_click="ignore",
            )
        st.download_button(
            "Sizes (CSV)", lambda: _csv(rows), f"{name}.csv", "text/csv", key="infer_csv", on_click="ignore"
        )


def _correct(case: Case) -> None:
    if st.button(
        "Correct in Annotate", key="infer_correct", help="Opens the case; start from this reading there."
    ):
        remember("case", case.id)
        st.switch_page(ANNOTATE.path)


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        writer.writerow([safe_cell(row[column]) for column in CSV_COLUMNS])
    return text.getvalue().encode()


def main() -> None:
    """Show the page."""
    st.title("Infer")
    project = current_project()
    if project is None:
        empty_state("There is no project yet.", PROJECTS, "Create a project")
        return
    models = {model.id: model for model in store.list_models(task=project.task)}
    models = dict(sorted(models.items(), key=lambda pair: (pair[1].project_id != project.id, -pair[0])))
    if not models:
        empty_state("There is no model yet.", TRAIN, "Train one")
        return
    if store.count_cases(project.id) == 0:
        empty_state("This project has no cases to read.", IMPORT, "Import images")
        return
    with show_errors():
        model = pick_model(project, models)
        run_model(project, model)
        results(project, model)


main()
