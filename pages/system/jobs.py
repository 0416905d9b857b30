"""Jobs: every piece of long work, its progress and log, stop and resume."""

from __future__ import annotations

import streamlit as st

from pages.shared.jobs_panel import ACTIVE, STATE_TITLES, duration, job_panel
from pages.shared.messages import empty_state, show_errors
from pages.shared.state import queue, recall_id, remember

LIMIT = 200


@st.fragment(run_every=3.0)
def job_table() -> None:
    """List the newest jobs; a click on a row shows that job below."""
    with show_errors():
        jobs = queue().list(limit=LIMIT)
        if not jobs:
            empty_state("Nothing has run yet. Imports, trainings and comparisons are listed here.")
            return
        ids = [job.id for job in jobs]

        def _selected() -> None:
            rows = st.session_state["jobs_table"].selection.rows
            if rows and rows[0] < len(ids):
                remember("job", ids[rows[0]])

        st.dataframe(
            {
                "number": ids,
                "what": [job.title or job.kind for job in jobs],
                "state": [STATE_TITLES.get(job.state, job.state) for job in jobs],
                "progress": [100 * job.progress if job.state in ACTIVE else None for job in jobs],
                "time left": [duration(job.eta_seconds) if job.state == "running" else "" for job in jobs],
                "asked for": [job.created_at for job in jobs],
                "attempt": [job.attempt for job in jobs],
            },
            hide_index=True,
            key="jobs_table",
            on_select=_selected,
            selection_mode="single-row",
            height=min(420, 38 + 35 * len(jobs)),
            alt="Jobs, newest first",
            column_config={
                "progress": st.column_config.ProgressColumn(format="%d%%", min_value=0, max_value=100),
                "asked for": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
                "number": st.column_config.NumberColumn(width="small"),
            },
        )
        if st.session_state.get("shown_job") != recall_id("job"):
            st.rerun()


st.title("Jobs")
st.caption("Long work runs in processes of its own: it goes on when this page is closed.")
st.session_state["shown_job"] = recall_id("job")
job_table()
chosen = st.session_state["shown_job"]
if chosen is None:
    active = queue().list(active_only=True, limit=1)
    chosen = active[0].id if active else None
    if chosen is not None:
        st.session_state["shown_job"] = chosen
        remember("job", chosen)
if chosen is not None:
    st.subheader(f"Job {chosen}")
    job_panel(chosen)
