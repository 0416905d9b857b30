"""Projects: create, choose, labels, reference reader, splits, delete."""

from __future__ import annotations

from statistics import median

import streamlit as st

from core.tasks import TASKS
from core.types import make_labels
from core.workspace.records import Project
from core.workspace.work import Spread, spread_of
from pages.shared.menu import IMPORT
from pages.shared.messages import empty_state, escape, show_errors
from pages.shared.progress import count_words, standing_of
from pages.shared.state import current_project, remember, workspace
from pages.shared.still import label_legend

store = workspace()


def create_form(first: bool) -> None:
    """Ask for name, task and labels of a new project."""
    with st.expander("New project", expanded=first), st.form("new_project", border=False):
        name = st.text_input("Name", max_chars=120, placeholder="Nuclei in microscopy")
        titles = {task.name: task.title for task in TASKS}
        task = st.selectbox("Task", list(titles), format_func=lambda key: titles[key])
        labels = st.text_input(
            "Labels, separated by commas",
            placeholder="nerve, vessel",
            help="What is marked in the images; everything else is background. Super-resolution needs none.",
        )
        if st.form_submit_button("Create", type="primary"):
            with show_errors():
                names = [part for part in labels.split(",") if part.strip()]
                if not name.strip():
                    raise ValueError("A project needs a name.")
                if TASKS[task].needs_labels and not names:
                    raise ValueError("A project needs at least one label, such as nucleus.")
                project = store.create_project(name.strip(), task, make_labels(names))
                remember("project", project.id)
                st.rerun()


def labels_part(project: Project) -> None:
    """Show the label set and let one more be added."""
    if not TASKS[project.task].needs_labels:
        return
    st.subheader("Labels")
    label_legend(project.labels)
    with (
        st.form("add_label", border=False, clear_on_submit=True),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        name = st.text_input("Another label", max_chars=80, width=280)
        if st.form_submit_button("Add") and name.strip():
            with show_errors():
                store.add_label(project.id, name.strip())
                st.rerun()


def reference_part(project: Project) -> None:
    """Choose the reader whose readings count as truth."""
    st.subheader("Reference")
    readers = [reader for reader in store.list_readers(project.id) if reader.kind == "person"]
    if not readers:
        st.caption("Nobody has marked anything yet. The first person who does becomes the reference.")
        return
    names = [reader.name for reader in readers]
    key = f"reference_reader_{project.id}"
    if st.session_state.get(key) not in names:
        st.session_state[key] = project.reference_reader if project.reference_reader in names else names[0]

    def _changed() -> None:
        with show_errors():
            store.set_reference_reader(project.id, st.session_state[key])

    st.selectbox(
        "Truth is taken from", names, key=key, on_change=_changed, width=360,
        help="Training learns from this person's readings; scores are measured against them.",
    )  # fmt: skip


def blind_part(project: Project) -> None:
    """Let readers be blind to each other."""
    key = f"blind_{project.id}"
    st.session_state[key] = project.blind

    def _changed() -> None:
        store.set_blind(project.id, bool(st.session_state[key]))

    st.toggle(
        "Readers are blind to each other",
        key=key,
        on_change=_changed,
        help="On Annotate and Cases, what other people saw in a case is shown only to who has read it.",
    )


def seconds_text(spread: Spread) -> str:
    """Say how long a reading takes: the median, and the middle half."""
    if not spread.n:
        return "none yet"
    return f"{spread.median:.0f} s ({spread.low:.0f} to {spread.high:.0f}), n = {spread.n}"


def work_part(project: Project) -> None:
    """Show what readings cost, with and without assistance, by reader."""
    works = store.list_work(project.id)
    if not works:
        return
    st.subheader("Time to a reading")
    rows: dict[str, list[str]] = {
        "reader": [],
        "by hand": [],
        "with assistance": [],
        "proposals": [],
        "strokes": [],
    }
    names = list(dict.fromkeys(work.reader for work in works))
    for name in [*names, "all"] if len(names) > 1 else names:
        own = [work for work in works if name in (work.reader, "all")]
        accepted, rejected = sum(work.accepted for work in own), sum(work.rejected for work in own)
        corrected = sum(work.corrected for work in own)
        rows["reader"].append(name)
        rows["by hand"].append(seconds_text(spread_of(work for work in own if not work.assisted)))
        rows["with assistance"].append(seconds_text(spread_of(work for work in own if work.assisted)))
        rows["proposals"].append(f"{accepted} accepted, {rejected} rejected; {corrected} readings corrected")
        rows["strokes"].append(f"{median(work.strokes for work in own):.0f} (median)")
    st.dataframe(rows, hide_index=True, alt="Time to a reading, by reader")
    st.caption(
        "Seconds of work in the viewer, median and middle half; pauses of more than 30 s do not count."
    )


def splits_part(project: Project) -> None:
    """Show how many cases are in each split and assign the missing ones by patient."""
    st.subheader("Split")
    counts = store.count_splits(project.id)
    total = sum(counts.values())
    titles = {"train": "train", "val": "val", "test": "test", "none": "not assigned"}
    st.markdown(" · ".join(f"{title} {counts.get(split, 0)}" for split, title in titles.items()))
    with st.form("assign_splits", border=False):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            val = st.number_input("Validation share", 0.0, 0.9, 0.2, 0.05, width=170)
            test = st.number_input("Test share", 0.0, 0.9, 0.0, 0.05, width=170)
            seed = st.number_input("Seed", 0, 2**31 - 1, 0, width=170)
        again = st.checkbox("Assign all cases anew, also those that have a split")
        if st.form_submit_button("Assign by patient", disabled=total == 0):
            with show_errors():
                if val + test >= 1:
                    raise ValueError(
                        "Validation and test together must leave something to train on (below 1)."
                    )
                store.assign_splits(project.id, val, test, int(seed), only_missing=not again)
                st.rerun()
    st.caption("All images of one patient go to the same side, so that scores on val and test are honest.")


def delete_part(project: Project) -> None:
    """Delete a project after its name was typed."""
    with st.expander("Delete this project"):
        cases = count_words(store.count_cases(project.id), "case", "cases")
        st.markdown(
            f"Deletes **{escape(project.name)}** with {cases} and all readings for good. Its models stay."
        )
        typed = st.text_input("Type the project's name to confirm", key=f"delete_name_{project.id}")
        if st.button("Delete for good", disabled=typed != project.name, key=f"delete_{project.id}"):
            with show_errors():
                store.delete_project(project.id)
                for key in ("project", "case", "run", "job"):
                    remember(key, None)
                st.rerun()


st.title("Projects")
project = current_project()
create_form(first=project is None)
if project is None:
    empty_state("There is no project yet. Create one above: give it a name and say what will be marked.")
else:
    with show_errors():
        st.header(escape(project.name))
        st.markdown(f"{TASKS[project.task].title} · {escape(standing_of(store, project).sentence)}")
        st.caption("Another project is chosen in the sidebar.")
        if store.count_cases(project.id) == 0:
            empty_state("This project has no cases yet.", IMPORT, "Import images")
        left, right = st.columns(2, gap="large")
        with left:
            labels_part(project)
            reference_part(project)
            blind_part(project)
        with right:
            splits_part(project)
        work_part(project)
        delete_part(project)
