"""Where the project stands: five steps, what is done, what comes next."""

from __future__ import annotations

import streamlit as st

from pages.shared.menu import ANNOTATE, CASES, COMPARE, IMPORT, INFER, PROJECTS, TRAIN
from pages.shared.messages import escape, show_errors
from pages.shared.progress import STEPS, Standing, standing_of
from pages.shared.render import Look, plane_display, plane_reading, start_plane, to_png, with_reading
from pages.shared.state import current_project, workspace

ENTRIES = {
    "import": IMPORT,
    "annotate": ANNOTATE,
    "train": TRAIN,
    "infer": INFER,
    "compare": COMPARE,
}
SAMPLES = 4


def steps(standing: Standing) -> None:
    """Draw the five steps side by side; the next one is marked."""
    columns = st.columns(len(STEPS))
    for column, (number, step) in zip(columns, enumerate(STEPS, start=1), strict=True):
        entry = ENTRIES[step.key]
        with column.container(border=True, height="stretch"):
            following = "  :orange-badge[next]" if step.key == standing.next_step else ""
            st.markdown(f"**{number}. {step.title}**{following}")
            st.caption(step.sentence)
            st.markdown(escape(standing.words[step.key]))
            st.page_link(entry.path, label=entry.title, icon=entry.icon)


def samples(project_id: int) -> None:
    """Show a few cases with the reference laid over them."""
    store = workspace()
    cases = store.list_cases(project_id, limit=SAMPLES)
    project = store.get_project(project_id)
    reference = store.reference_of(project_id)
    for column, case in zip(st.columns(SAMPLES), cases, strict=False):
        version = reference.get(case.id)
        index = start_plane(store, version, case.info)
        reading = None if version is None else plane_reading(store, version, index)
        shown = with_reading(plane_display(store, case, index), reading, project.labels, case.info, Look())
        column.image(
            to_png(shown),
            output_format="PNG",
            caption=escape(case.name),
            width="stretch",
        )


st.title("Mark images, train a network, compare")
project = current_project()
if project is None:
    st.markdown(
        "A **project** asks one question of many cases, such as: where are the nuclei? "
        "Create one, or wait a moment: at the first start a demo project is being made from synthetic images."
    )
    st.page_link(PROJECTS.path, label="Create a project", icon=PROJECTS.icon)
with show_errors():
    standing = standing_of(workspace(), project)
    if project is not None:
        st.markdown(f"**{escape(project.name)}** · {escape(standing.sentence)}")
    steps(standing)
    if project is not None and standing.n_cases:
        st.subheader("Some of its cases")
        samples(project.id)
        st.page_link(CASES.path, label="All cases", icon=CASES.icon)
with st.expander("The words used here"):
    st.markdown(
        "- **Case**: one image, or one series that forms a volume.\n"
        "- **Reader**: a person or a model. Both are treated alike.\n"
        "- **Reading**: what one reader marked in one case. Every save is a new version.\n"
        "- **Reference**: the reading that truth is taken from, for training and for scores.\n"
        "- **Split**: train (the network learns from it), val (steers the training), test (for the final "
        "comparison only). Whole patients go to one side."
    )
