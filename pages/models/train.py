"""Train: choose a recipe, see what it trains on, watch it learn, stop and resume it."""

from __future__ import annotations

import uuid
from typing import Any

import streamlit as st
from pydantic import ValidationError

from core.errors import TrainingError
from core.jobs.payloads import PreviewPayload, TrainPayload
from core.jobs.submit import submit
from core.settings import load_settings
from core.tasks import TASKS
from core.tasks.task import Task
from core.workspace.records import Case, Project
from pages.models.promptable_shelf import promptable_shelf
from pages.models.shelf import model_shelf
from pages.shared.curves import show_curves
from pages.shared.jobs_panel import ACTIVE, job_panel
from pages.shared.menu import ANNOTATE, IMPORT, PROJECTS
from pages.shared.messages import empty_state, escape, show_errors
from pages.shared.models import headline_title
from pages.shared.settings_form import groups_of, setting
from pages.shared.state import current_project, queue, recall_id, remember, workspace

store = workspace()

CURVE_SECONDS = 2.0
SEEDS = 10_000


def data_summary(project: Project) -> list[Case]:
    """Say what there is to train on and offer to deal it into train and val; returns the usable cases."""
    images_are_truth = TASKS[project.task].image_truth is not None
    cases = store.list_cases(project.id)
    if not images_are_truth:
        reference = store.reference_of(project.id)
        cases = [case for case in cases if case.id in reference]
    counts = {split: sum(case.split == split for case in cases) for split in ("train", "val", "test")}
    unsplit = len(cases) - sum(counts.values())
    columns = st.columns(5)
    numbers = {
        "Images" if images_are_truth else "Cases with a reference": len(cases),
        "Patients": len({case.patient_key for case in cases}),
        "Train": counts["train"],
        "Validation": counts["val"],
        "Test": counts["test"],
    }
    for column, (title, number) in zip(columns, numbers.items(), strict=True):
        column.metric(title, number)
    needs = unsplit > 0 or not counts["val"] or not counts["train"]
    with st.expander("Split by patient", expanded=needs):
        if needs:
            st.caption(
                f"{unsplit} cases have no split yet. Training needs cases to learn from and others to validate on."
            )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            val = st.number_input("Validation share", 0.05, 0.5, 0.2, 0.05, key="train_val_share", width=160)
            test = st.number_input("Test share", 0.0, 0.5, 0.0, 0.05, key="train_test_share", width=160)
            if st.button("Split all cases", key="train_split"):
                store.assign_splits(project.id, val=val, test=test, seed=0, only_missing=False)
                st.rerun()
        st.caption("All images of one patient stay together.")
    return cases


def recipe(task: Task) -> dict[str, Any]:
    """Show the settings, a preset's values first, and return what was chosen."""
    preset = st.segmented_control(
        "Preset", list(task.presets), default="fast", key="train_preset", help="Values to start from."
    )
    preset = preset or "fast"
    minutes = task.presets[preset].get("minutes")
    if minutes:
        st.caption(f"A training of about {minutes:g} minutes.")
    start = task.settings_type.model_construct(**task.presets[preset])
    chosen: dict[str, Any] = {}

    def show(names: list[str], columns: int) -> None:
        places = st.columns(columns)
        for number, name in enumerate(names):
            with places[number % columns]:
                first = getattr(start, name)
                chosen[name] = setting(task.settings_type, name, first, f"train_{preset}_{name}")

    basic = task.basic_settings
    show(list(basic), 3)
    for group, names in groups_of(task.settings_type).items():
        rest = [name for name in names if name not in basic]
        if rest:
            with st.expander(group):
                show(rest, 3)
    return chosen


def initial_weights(project: Project, source: str) -> dict[str, Any]:
    """Ask for the weights to start from, where the source needs a choice."""
    if source == "hub":
        st.caption("The encoder's ImageNet weights are downloaded once; this needs a network.")
    if source == "model":
        models = {model.id: model for model in store.list_models(task=project.task)}
        if not models:
            raise TrainingError("There is no earlier model to start from; choose weights from scratch.")
        number = st.selectbox(
            "Start from", list(models), key="train_initial", format_func=lambda one: models[one].name
        )
        return {"initial_model": number}
    if source == "file":
        upload = st.file_uploader(
            "Weights file (.safetensors, .pt, .pth)", ["safetensors", "pt", "pth"], key="train_file"
        )
        if upload is None:
            raise TrainingError("Choose the weights file to start from.")
        return {"initial_file": _keep_file(upload)}
    return {}


def _keep_file(upload: Any) -> str:
    """Write an uploaded file under a generated name, once, and return its path."""
    kept = st.session_state.setdefault("train_files", {})
    if upload.file_id not in kept:
        folder = load_settings().home_path / "weights"
        folder.mkdir(parents=True, exist_ok=True)
        ending = "safetensors" if upload.name.lower().endswith(".safetensors") else "pt"
        path = folder / f"{uuid.uuid4().hex}.{ending}"
        path.write_bytes(upload.getbuffer())
        kept[upload.file_id] = str(path)
    return str(kept[upload.file_id])


def validated(task: Task, chosen: dict[str, Any]) -> dict[str, Any]:
    """Check the settings and return them as JSON values.

    Raises:
        TrainingError: with the first problem, in one sentence.
    """
    try:
        return task.settings_type.model_validate(chosen).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"]).replace("_", " ")
        text = str(first["msg"]).removeprefix("Value error, ")
        raise TrainingError(f"{where}: {text}" if where else text) from error


def augmentation_preview(project: Project, cases: list[Case], settings: dict[str, Any]) -> None:
    """Show what the network will see: augmented samples, drawn by a small job."""
    with st.expander("Preview of the augmentation"):
        numbers = {case.id: case for case in cases}
        case_id = st.selectbox(
            "Case", list(numbers), key="train_preview_case", format_func=lambda one: numbers[one].name
        )
        if st.button("Draw six samples", key="train_preview"):
            seed = int(st.session_state.get("train_preview_seed", 0)) + 1
            st.session_state["train_preview_seed"] = seed
            payload = PreviewPayload(
                project=project.id, settings=settings, case_id=case_id, seed=seed % SEEDS
            )
            st.session_state["train_preview_job"] = submit(queue(), payload, "Preview the augmentation").id
        job_id = st.session_state.get("train_preview_job")
        if job_id is None:
            return
        job = queue().get(job_id)
        if job.state != "done":
            job_panel(job_id)
            return
        columns = st.columns(6)
        for column, file in zip(columns, (job.result or {}).get("files", []), strict=False):
            column.image(file, output_format="PNG")


def start_training(project: Project, settings: dict[str, Any], start: dict[str, Any]) -> None:
    """Ask for a name and start."""
    default = store.free_model_name(f"{project.name} {settings['architecture']}")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Name of the model", default, max_chars=80, key=f"train_name_{default}", width=420
        )
        if st.button("Start training", type="primary", key="train_start"):
            payload = TrainPayload(
                project=project.id,
                settings=settings,
                name=store.free_model_name(name.strip() or default),
                **start,
            )
            remember("job", submit(queue(), payload, f"Train {payload.name}").id)
            st.rerun()


def watch(project: Project) -> None:
    """Show the training in hand: progress, curves, result."""
    jobs = [job for job in queue().list(project_id=project.id, limit=50) if job.kind == "train"]
    wanted = recall_id("job")
    job = next((job for job in jobs if job.id == wanted), None) or next(
        (job for job in jobs if job.state in ACTIVE), None
    )
    if job is None:
        return
    st.subheader("Training")
    shown = job_panel(job.id)
    if shown is None:
        return
    if shown.state in ACTIVE:
        _live_curves(job.id, project.id)
    else:
        show_curves(job.id, TASKS[project.task].curves, project.labels)
    if shown.state == "done" and shown.result:
        value = shown.result["metrics"].get(TASKS[project.task].headline_metric)
        words = f" with validation {headline_title(project.task)} {value:.3f}" if value is not None else ""
        st.success(f"The model {escape(shown.result['model'])} is ready{words}. Run it on the page Infer.")


@st.fragment(run_every=CURVE_SECONDS)
def _live_curves(job_id: int, project_id: int) -> None:
    project = store.get_project(project_id)
    show_curves(job_id, TASKS[project.task].curves, project.labels)


def main() -> None:
    """Show the page."""
    st.title("Train")
    project = current_project()
    if project is None:
        empty_state("There is no project yet.", PROJECTS, "Create a project")
        return
    with show_errors():
        watch(project)
        if store.count_cases(project.id) == 0:
            empty_state("This project has no cases yet.", IMPORT, "Import images")
            return
        st.subheader("New training")
        cases = data_summary(project)
        if not cases:
            empty_state("Training needs readings to learn from; nobody has marked a case yet.", ANNOTATE)
        else:
            task = TASKS[project.task]
            chosen = recipe(task)
            with show_errors():
                settings = validated(task, chosen)
                start = initial_weights(project, str(chosen["weights"]))
                augmentation_preview(project, cases, settings)
                start_training(project, settings, start)
        model_shelf(project)
        if TASKS[project.task].reading_kind == "mask":
            promptable_shelf(project)


main()
