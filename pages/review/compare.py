"""Compare: two readers on the same cases, in numbers with intervals, in a table per case, and in pictures."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.jobs.evaluating import IMAGES, REFERENCE, common_versions, evaluation_key
from core.jobs.payloads import EvaluatePayload
from core.jobs.submit import submit
from core.jobs.trying import JUDGED, cases_to_try, trial_key
from core.tasks import TASKS
from core.tasks.task import MetricInfo
from core.types import SPLITS
from core.workspace.records import Case, Model, Project, Reader
from pages.review.box_charts import box_charts
from pages.review.box_pair import worst_gallery
from pages.review.case_pair import case_pair
from pages.review.scores import distribution, headline, paired, per_case, per_label
from pages.shared.close_look import close_look
from pages.shared.jobs_panel import ACTIVE, job_panel
from pages.shared.menu import ANNOTATE, INFER, PROJECTS, TRAIN
from pages.shared.messages import empty_state, escape, show_errors
from pages.shared.pickers import reader_title
from pages.shared.progress import count_words
from pages.shared.state import current_project, queue, workspace

store = workspace()


def choose(project: Project, readers: dict[str, Reader]) -> EvaluatePayload:
    """Ask who is compared with whom, on which cases, at which threshold."""
    models = [name for name, reader in readers.items() if reader.kind == "model"]
    people = [name for name in readers if name not in models]
    first_key, other_key = f"compare_first_{project.id}", f"compare_other_{project.id}"
    if st.session_state.get(first_key) not in readers:
        st.session_state[first_key] = (models or people)[-1]
    others = [REFERENCE, *readers]
    if st.session_state.get(other_key) not in others:
        st.session_state[other_key] = REFERENCE
    reference = project.reference_reader or "nobody yet"

    def _title(name: str) -> str:
        return f"the reference ({reference})" if name == REFERENCE else reader_title(readers[name])

    left, middle, right = st.columns([2, 2, 2])
    first = left.selectbox("Reader", list(readers), key=first_key, format_func=_title)
    other = middle.selectbox("Measured against", others, key=other_key, format_func=_title)
    split = right.segmented_control("Cases", ["all", *SPLITS], default="all", key="compare_split")
    threshold = None
    if readers[first].kind == "model" and st.toggle(
        "Choose the model's threshold",
        key="compare_own_threshold",
        help="Otherwise the model's own rule counts.",
    ):
        threshold = st.slider(
            "Probability threshold", 0.05, 0.95, 0.5, 0.05, key="compare_threshold", width=420
        )
    return EvaluatePayload(
        project=project.id,
        reader=first,
        against=other,
        split=split if split in SPLITS else None,
        threshold=threshold,
    )


def result_of(payload: EvaluatePayload, button: str, key: str) -> dict[str, Any] | None:
    """Return the scores of a pair when they are known; else offer to compute them."""
    project = store.get_project(payload.project)
    if payload.against != REFERENCE and payload.against == payload.reader:
        raise ValueError("A reader agrees with themselves in everything; choose two different readers.")
    pairs = common_versions(store, project, payload)
    known = store.load_evaluation(project.id, evaluation_key(payload, pairs))
    if known is not None:
        return known
    count = count_words(len(pairs), "case", "cases")
    _asked(payload, f"{count} were read by both and are not scored yet.", (button, key))
    return None


def _asked(payload: EvaluatePayload, sentence: str, button: tuple[str, str]) -> None:
    """Show the job that computes these scores, or offer to start it; ``button`` is (label, key)."""
    wanted = payload.model_dump(mode="json")
    jobs = [job for job in queue().list(project_id=payload.project, limit=50) if job.kind == "evaluate"]
    job = next((job for job in jobs if job.payload == wanted and job.state != "done"), None)
    if job is not None:
        job_panel(job.id)
    if job is None or job.state not in ACTIVE:
        st.caption(sentence)
        if st.button(button[0], type="primary", key=button[1]):
            submit(queue(), payload, f"Compare {payload.reader} with {payload.against}")
            st.rerun()


def try_part(project: Project) -> None:
    """Show how the project's models do on its own images made coarse."""
    models = {model.name: model for model in store.list_models(task=project.task)}
    if not models:
        empty_state("There is no model to try yet.", TRAIN, "Train one")
        return
    st.caption(
        "Each image is made coarse as the model's card says, restored, and held against itself; bicubic enlargement is "
        "the baseline."
    )
    left, middle, right = st.columns([2, 2, 2])
    name = left.selectbox("Model", list(models), key=f"compare_model_{project.id}")
    model = models[name]
    judges = [one.name for one in store.list_models() if TASKS[one.task].image_truth is None]
    judge = middle.selectbox(
        "Judged by",
        ["nobody", *judges],
        key=f"compare_judge_{project.id}",
        help="A segmentation or detection model reads the true, the bicubic and the restored images: what it gains or "
        "loses.",
    )
    split = right.segmented_control("Cases", ["all", *SPLITS], default="val", key="compare_try_split")
    blend = None
    truth = TASKS[model.task].image_truth
    if truth is not None and model.card.get("inference", {}).get("blendable"):
        blend = st.select_slider(
            f"Blend: 0 {truth.stages[0]}, 1 {truth.stages[1]}", truth.blends, key=f"compare_blend_{model.id}"
        )
    payload = EvaluatePayload(
        project=project.id,
        reader=name,
        against=IMAGES,
        split=split if split in SPLITS else None,
        blend=blend,
        judge=judge if judge in judges else None,
    )
    cases = cases_to_try(store, payload)
    result = store.load_evaluation(project.id, trial_key(store, payload, cases))
    if result is None:
        words = f"{count_words(len(cases), 'image is', 'images are')} not tried yet."
        _asked(payload, words, ("Try the model", "compare_try"))
        return
    task = TASKS[project.task]
    infos = (*task.metrics, *_judged(result))
    headline(result, infos)
    st.subheader("Cases, worst first")
    row = per_case(result, payload, infos)
    if row is not None and row.get("case_id") is not None:
        _case_closely(model, store.get_case(int(row["case_id"])))
    distribution(result, next(info for info in task.metrics if info.key == task.headline_metric))


def _judged(result: dict[str, Any]) -> tuple[MetricInfo, ...]:
    """Return the columns of what another model read in the images."""
    infos = []
    for key in result["metrics"]:
        if key.startswith(JUDGED):
            where = "bicubic" if key.endswith("_bicubic") else "restored"
            name = key.removeprefix(f"{JUDGED}_").removesuffix("_bicubic")
            meaning = f"Agreement of what {result['judge']} reads there with what it reads in the true image."
            infos.append(MetricInfo(key, f"{name} on {where}", meaning))
    return tuple(infos)


@st.fragment
def _case_closely(model: Model, case: Case) -> None:
    with show_errors():
        st.header(escape(case.name))
        close_look(store, model, case, "compare_close", degrade=True)


def third_reader(
    project: Project, readers: dict[str, Reader], payload: EvaluatePayload, result: dict[str, Any]
) -> None:
    """Offer the paired difference of two readers against the same truth."""
    truth = project.reference_reader if payload.against == REFERENCE else payload.against
    more = [name for name in readers if name not in (payload.reader, payload.against, truth)]
    if not more:
        return
    st.subheader("Which of two readers is closer?")
    chosen = st.selectbox(
        f"Difference of {escape(payload.reader)} and",
        ["nobody", *more],
        key=f"compare_third_{project.id}",
        format_func=lambda name: reader_title(readers[name]) if name in readers else name,
        width=420,
    )
    if chosen not in readers:
        return
    other = result_of(
        payload.model_copy(update={"reader": chosen, "threshold": None}), "Score this reader", "score_third"
    )
    if other is not None:
        paired((payload.reader, chosen), result, other, TASKS[project.task].metrics)


def show(project: Project, readers: dict[str, Reader], payload: EvaluatePayload) -> None:
    """Show scores of the chosen pair, then the cases, worst first."""
    result = result_of(payload, "Compare", "compare_go")
    if result is None:
        return
    task = TASKS[project.task]
    headline(result, task.metrics)
    if len(project.labels) > 1:
        per_label(result, project.labels, task.metrics)
    box_charts(result, project.labels)
    st.subheader("Cases, worst first")
    row = per_case(result, payload, task.metrics)
    if row is not None:
        case_pair(store, project, row, payload)
    if task.reading_kind == "boxes":
        versions = common_versions(store, project, payload)
        worst_gallery(store, result["per_case"], versions, payload.threshold)
    distribution(result, next(info for info in task.metrics if info.key == task.headline_metric))
    third_reader(project, readers, payload, result)


st.title("Compare")
project = current_project()
if project is None:
    empty_state("There is no project yet.", PROJECTS, "Create a project")
elif TASKS[project.task].image_truth is not None and not project.reference_reader:
    with show_errors():
        try_part(project)
else:
    readers = {reader.name: reader for reader in store.list_readers(project.id)}
    if not readers:
        empty_state("Nobody has read a case of this project yet.", ANNOTATE, "Annotate a case")
    elif len(readers) == 1:
        only = next(iter(readers))
        empty_state(
            f"So far only {only} has read cases here; comparing needs a second reader.", INFER, "Run a model"
        )
    else:
        st.caption(
            f"Two readers on the same cases of {escape(project.name)}. A reader is a person or a model."
        )
        with show_errors():
            show(project, readers, choose(project, readers))
