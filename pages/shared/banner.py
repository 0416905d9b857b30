"""A line at the top of every page when work was cut off and can go on."""

from __future__ import annotations

import streamlit as st

from pages.shared.jobs_panel import resume_job
from pages.shared.menu import JOBS
from pages.shared.messages import escape
from pages.shared.state import queue


def interrupted_banner() -> None:
    """Offer to resume the newest interrupted job; silent when there is none."""
    cut_off = [job for job in queue().list(limit=50) if job.state == "interrupted"]
    hidden = st.session_state.setdefault("hidden_interrupted", [])
    shown = [job for job in cut_off if (job.id, job.attempt) not in hidden]
    if not shown:
        return
    job = shown[0]
    more = f" ({len(shown) - 1} more)" if len(shown) > 1 else ""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="interrupted_banner"):
        st.markdown(f"**Cut off:** {escape(job.title or job.kind)}{more}. What was done so far is kept.")
        resume = f"banner_resume_{job.id}"
        st.button("Resume", key=resume, type="primary", on_click=resume_job, args=(job.id,))
        st.page_link(JOBS.path, label="Details")
        st.button("Later", key=f"banner_later_{job.id}", on_click=_hide, args=(job.id, job.attempt))


def _hide(job_id: int, attempt: int) -> None:
    st.session_state["hidden_interrupted"].append((job_id, attempt))
