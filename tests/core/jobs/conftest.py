"""A queue in a home of its own, with short heartbeats; runner and workers are ended afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.jobs.processes import find_process
from core.jobs.queue import JobQueue
from core.jobs.runner import stop_runner
from core.workspace.workspace import Workspace


@pytest.fixture
def queue(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobQueue]:
    monkeypatch.setenv("SIGHTLINE_HEARTBEAT_SECONDS", "0.2")
    monkeypatch.setenv("SIGHTLINE_LOST_AFTER_SECONDS", "4")
    monkeypatch.setenv("SIGHTLINE_CANCEL_GRACE_SECONDS", "0.5")
    with Workspace.open(home) as workspace:
        jobs = JobQueue(workspace)
        yield jobs
        stop_runner(home)
        for job in jobs.list():
            if job.pid and (process := find_process(job.pid, job.pid_created)):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
