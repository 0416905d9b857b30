"""kill -9 of the whole installation in mid-training: the next server sees it, and it ends as if unkilled."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from core.jobs.queue import JobQueue
from core.jobs.runner import runner_pid
from core.workspace.workspace import Workspace
from tests.browser.conftest import end_jobs_of, start_server, stop_server
from tests.core.jobs.test_runner import wait_until
from tests.core.jobs.test_training_survives import EPOCHS, epochs_of, make_discs, train_job

pytestmark = pytest.mark.slow


def test_kill_9_of_server_runner_and_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    home = tmp_path / "home"
    server = start_server(home)
    with Workspace.open(home) as workspace:
        queue = JobQueue(workspace)
        make_discs(workspace)
        whole = train_job(queue, "whole")
        wait_until(lambda: queue.get(whole.id).state == "done", 120)

        killed = train_job(queue, "killed")
        wait_until(lambda: len(epochs_of(queue, killed)) >= 3, 60)
        runner, worker = runner_pid(home), queue.get(killed.id).pid
        assert runner is not None
        assert worker is not None
        os.killpg(worker, signal.SIGKILL)
        os.kill(runner, signal.SIGKILL)
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
        assert queue.get(killed.id).state == "running"  # nobody was left to say otherwise

        again = start_server(home)
        try:
            wait_until(lambda: queue.get(killed.id).state == "interrupted", 15)
            queue.resume(killed.id)
            wait_until(lambda: queue.get(killed.id).state == "done", 120)
        finally:
            stop_server(again)
            end_jobs_of(home)
        assert len(epochs_of(queue, killed)) == EPOCHS
        expected, found = epochs_of(queue, whole), epochs_of(queue, killed)
        assert found[EPOCHS] == pytest.approx(expected[EPOCHS], abs=1e-5)
