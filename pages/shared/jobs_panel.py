"""One job on the page: progress, time left, stop, resume, log. Looks again every second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.shared.messages import escape, show_errors
from pages.shared.state import queue

if TYPE_CHECKING:
    from core.jobs.queue import Job

ACTIVE = ("queued", "running")
RESUMABLE = ("interrupted", "failed", "cancelled")
STATE_TITLES = {
    "queued": "waiting",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "cancelled": "stopped",
    "interrupted": "interrupted",
}
LOG_TAIL_BYTES = 20_000


def duration(seconds: float | None) -> str:
    """Say a time span as people do: "40 s", "3 min", "1 h 20 min"."""
    if seconds is None or seconds != seconds or seconds < 0:
        return ""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def job_panel(job_id: int) -> Job | None:
    """Show a job and return it as it is now.

    While the job waits or runs, only the panel looks again every second; when it ends, the whole page reruns
    once, so that the page can show the result.
    """
    with show_errors():
        job = queue().get(job_id)
        if job.state in ACTIVE:
            _live(job_id)
        else:
            _show(job)
        return job
    return None


@st.fragment(run_every=1.0)
def _live(job_id: int) -> None:
    with show_errors():
        job = queue().get(job_id)
        if job.state not in ACTIVE:
            st.rerun()
        _show(job)


def _show(job: Job) -> None:
    with st.container(border=True):
        st.markdown(f"**{escape(job.title or job.kind)}** · {STATE_TITLES.get(job.state, job.state)}")
        if job.state in ACTIVE:
            left = duration(job.eta_seconds)
            words = [
                f"{job.progress:.0%}",
                escape(job.message) if job.message else "",
                f"{left} left" if left else "",
            ]
            if job.state == "queued":
                words = ["waiting for its turn"]
            st.progress(min(max(job.progress, 0.0), 1.0), text=" · ".join(word for word in words if word))
        elif job.state == "interrupted":
            st.warning("The work was cut off (its process ended). What was done so far is kept.")
        elif job.state == "failed":
            st.error(escape(job.error or "The work failed; its log says more."))
        elif job.message:
            st.caption(escape(job.message))
        _buttons(job)
        log = st.expander("Log", key=f"job_log_{job.id}", on_change="rerun")
        if log.open:
            with log:
                st.code(job_log(job.id) or "Nothing written yet.", language=None)


def _buttons(job: Job) -> None:
    if job.state in ACTIVE:
        st.button("Stop", key=f"job_stop_{job.id}", on_click=stop_job, args=(job.id,))
    elif job.state in RESUMABLE:
        st.button("Resume", key=f"job_resume_{job.id}", on_click=resume_job, args=(job.id,), type="primary")


def stop_job(job_id: int) -> None:
    """Ask a job to stop; it ends at its next safe point."""
    with show_errors():
        queue().cancel(job_id)


def resume_job(job_id: int) -> None:
    """Put an ended job back into the queue; training goes on from its last checkpoint."""
    with show_errors():
        queue().resume(job_id)


def job_log(job_id: int) -> str:
    """Return the end of a job's log."""
    path = queue().log_path(job_id)
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode("utf-8", "replace")
