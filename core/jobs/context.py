"""What a handler is given: its job, its folder, and ways to tell how it goes."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import JobStopped
from core.jobs.queue import JobQueue
from core.workspace.records import Job
from core.workspace.workspace import Workspace


@dataclass
class Reported:
    """What the handler told last and the heartbeat thread has not written yet. Shared by both threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    values: dict[str, Any] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def take(self) -> dict[str, Any]:
        """Return what is not written yet and forget it."""
        with self.lock:
            values, self.values = self.values, {}
        return values


@dataclass(frozen=True)
class JobContext:
    """A job from its handler's side.

    Attributes:
        workspace: the open workspace; its writes are refused once this attempt is over.
        job: the job as it was when the attempt began.
        work_dir: folder for checkpoints and caches, the same in all attempts, removed when the job is done
            (unless the result names a file in it).
        log: goes to the job's log file.
    """

    workspace: Workspace
    queue: JobQueue
    job: Job
    work_dir: Path
    log: logging.Logger
    reported: Reported = field(default_factory=Reported)

    def progress(self, fraction: float, message: str, eta: float | None = None) -> None:
        """Say how far the work is; cheap, as it is written at most twice a second.

        Args:
            fraction: 0 to 1.
            message: a few words.
            eta: seconds left, when known.
        """
        values: dict[str, Any] = {
            "message": message,
            "eta_seconds": None if eta is None or eta != eta else max(0.0, eta),
        }
        if fraction == fraction:  # not NaN
            values["progress"] = min(1.0, max(0.0, fraction))
        with self.reported.lock:
            self.reported.values.update(values)

    def event(self, event: dict[str, Any]) -> None:
        """Add an event (a plain JSON dictionary with a "kind") to what the job tells."""
        self.queue.add_event(self.job.id, self.job.attempt, event)

    def should_stop(self) -> bool:
        """Return whether somebody asked this job to stop."""
        return self.reported.stop.is_set()

    def raise_if_stopped(self) -> None:
        """Leave the handler when somebody asked this job to stop.

        Raises:
            JobStopped: when so.
        """
        if self.should_stop():
            raise JobStopped("The work was stopped; what was done so far is kept.")
