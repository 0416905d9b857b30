"""The service that starts workers and sees when they die: ``python -m core.jobs.runner --home HOME``.

One per home, held by a lock file. Workers lead sessions of their own: they outlive a runner, and the next
runner takes them over by what the database says of them.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

from core.errors import SightlineError, StorageError
from core.jobs.processes import (
    BUSY_CPU_SECONDS,
    ROOT,
    cpu_seconds,
    created_at,
    find_process,
    kill_orphans,
    signal_group,
    waits_for_disk,
)
from core.jobs.queue import AttemptOver, JobQueue
from core.jobs.worker import DEFAULT_HANDLERS, cap_log
from core.settings import load_settings
from core.workspace.records import Job
from core.workspace.workspace import Workspace

LOCK_NAME = "runner.lock"
POLL_SECONDS = 0.3
IDLE_SECONDS = 10.0
KILL_AFTER_TERM_SECONDS = 5.0
SWEEP_SECONDS = 3600.0
MAX_LOG_BYTES = 1_000_000

log = logging.getLogger("sightline.runner")


@dataclass
class Watch:
    """What the runner knows of a running attempt; times are of this process's monotonic clock.

    ``alive`` is when the attempt last gave a sign of life: a heartbeat, or use of the processor. A long
    calculation outside Python keeps the heartbeat thread from running; that is no reason to end it.
    """

    attempt: int
    heartbeat_at: datetime | None
    alive: float
    child: subprocess.Popen[bytes] | None = None
    cpu: float = 0.0
    cancel_seen: float | None = None
    terminated: float | None = None


class Runner:
    """Starts waiting jobs, looks after running ones."""

    def __init__(self, queue: JobQueue, handlers: str) -> None:
        self.queue = queue
        self.handlers = handlers
        self.watched: dict[int, Watch] = {}
        self._children: list[subprocess.Popen[bytes]] = []

    def step(self) -> bool:
        """Look once at everything; returns whether there is any work."""
        running = self.queue.running()
        for job in running:
            self._look(job)
        alive = {job.id for job in running}
        self.watched = {job_id: watch for job_id, watch in self.watched.items() if job_id in alive}
        while (claimed := self.queue.claim()) is not None:
            self._start(claimed)
        self._children = [child for child in self._children if child.poll() is None]  # reaps the others
        return bool(self.watched) or self.queue.any_waiting()

    def _start(self, job: Job) -> None:
        log.info("job %d (%s), attempt %d: start", job.id, job.kind, job.attempt)
        command = [sys.executable, "-m", "core.jobs.worker", "--home", str(self.queue.workspace.home)]
        command += ["--handlers", self.handlers, str(job.id), str(job.attempt)]
        try:
            with open(self.queue.log_path(job.id), "ab") as output:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    cwd=ROOT,
                    env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
        except OSError as error:
            self.queue.end(job.id, job.attempt, "failed", f"No process could be started ({error.strerror}).")
            return
        self._children.append(child)
        self.watched[job.id] = Watch(job.attempt, job.heartbeat_at, time.monotonic(), child)
        with contextlib.suppress(AttemptOver):  # a quick worker is done before this line
            self.queue.set_process(job.id, job.attempt, child.pid, created_at(child.pid) or 0.0)

    def _look(self, job: Job) -> None:
        watch = self.watched.get(job.id)
        if watch is None or watch.attempt != job.attempt:
            watch = self.watched[job.id] = Watch(job.attempt, job.heartbeat_at, time.monotonic())
        if job.heartbeat_at != watch.heartbeat_at:
            watch.heartbeat_at, watch.alive = job.heartbeat_at, time.monotonic()
        if job.pid is None:
            if _is_silent(watch):
                log.warning("job %d was never started, it waits again", job.id)
                self.queue.requeue_unstarted(job.id, job.attempt)
            return
        process = find_process(job.pid, job.pid_created)
        if process is None:
            self._bury(job, watch)
            return
        used = cpu_seconds(process)
        if used - watch.cpu > BUSY_CPU_SECONDS or waits_for_disk(process):
            watch.cpu, watch.alive = used, time.monotonic()
        if job.cancel_requested:
            self._press(process, watch)
        elif _is_silent(watch):
            self._end_silent(job, process)

    def _bury(self, job: Job, watch: Watch) -> None:
        """Say of a job whose process is gone how it ended, unless its last word says so."""
        code = watch.child.poll() if watch.child is not None else None
        if job.cancel_requested:
            ended = self.queue.end(job.id, job.attempt, "cancelled")
        elif code is not None and code > 0:
            sentence = f"The process of this job could not go on (exit code {code}); its log says more."
            ended = self.queue.end(job.id, job.attempt, "failed", sentence)
        else:
            sentence = "The process of this job was killed or died; resume it to go on."
            ended = self.queue.end(job.id, job.attempt, "interrupted", sentence)
        if ended:
            log.warning("job %d, attempt %d: its process is gone", job.id, job.attempt)
        if job.pid is not None:
            kill_orphans(job.pid)

    def _press(self, process: psutil.Process, watch: Watch) -> None:
        """After the grace for stopping by itself: ask the process to end, then end it."""
        moment = time.monotonic()
        if watch.cancel_seen is None:
            watch.cancel_seen = moment
        if moment - watch.cancel_seen < load_settings().cancel_grace_seconds:
            return
        if watch.terminated is None:
            watch.terminated = moment
            signal_group(process, signal.SIGTERM)
        elif moment - watch.terminated >= KILL_AFTER_TERM_SECONDS:
            signal_group(process, signal.SIGKILL)

    def _end_silent(self, job: Job, process: psutil.Process) -> None:
        """End a process that neither speaks nor works."""
        log.warning("job %d, attempt %d: silent and idle, it is ended", job.id, job.attempt)
        signal_group(process, signal.SIGKILL)
        sentence = "The process of this job did not answer any more and was ended; resume it to go on."
        self.queue.end(job.id, job.attempt, "interrupted", sentence)


def _is_silent(watch: Watch) -> bool:
    return time.monotonic() - watch.alive > load_settings().lost_after_seconds


def run(home: Path, handlers: str, parent_pid: int | None, lock: int) -> None:
    """Serve until told to end, or until idle without a living parent."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    parent = find_process(parent_pid, None) if parent_pid else None
    log.info("runner begins")
    with Workspace.open(home) as workspace:
        runner = Runner(JobQueue(workspace), handlers)
        busy_at = time.monotonic()
        swept_at = -SWEEP_SECONDS
        while not stop.is_set() and _holds(home, lock):
            try:
                if runner.step():
                    busy_at = time.monotonic()
                elif time.monotonic() - swept_at >= SWEEP_SECONDS:
                    swept_at = time.monotonic()
                    workspace.sweep()
            except (SightlineError, OSError, psutil.Error) as error:
                log.warning("%s", error)
                stop.wait(POLL_SECONDS * 3)
            if time.monotonic() - busy_at > IDLE_SECONDS and (parent is None or not parent.is_running()):
                break
            stop.wait(POLL_SECONDS)
    log.info("runner ends")


def _holds(home: Path, lock: int) -> bool:
    """True while the home still is the one this runner has locked, not removed or made anew."""
    try:
        there, ours = (home / LOCK_NAME).stat(), os.fstat(lock)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _take_lock(home: Path) -> int | None:
    """Return an open, locked descriptor, or None when a runner has it."""
    try:
        descriptor = os.open(home / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageError(f"The home folder {home} cannot be written ({error.strerror}).") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


_started: list[subprocess.Popen[bytes]] = []


def ensure_runner(home: Path, handlers: str = DEFAULT_HANDLERS, parent_pid: int | None = None) -> None:
    """Start a runner of this home in the background unless one is alive; cheap when it is.

    The lock is taken here and handed down, so that two callers can never start two runners.

    Args:
        home: the workspace's folder.
        handlers: "module:ATTRIBUTE" of the table of handlers.
        parent_pid: the process it serves; without work it ends 10 s after that one. This process unless given.

    Raises:
        StorageError: when the home cannot be written or no process started.
    """
    _started[:] = [child for child in _started if child.poll() is None]
    home = Path(home).resolve()
    lock = _take_lock(home)
    if lock is None:
        return
    try:
        (home / "logs").mkdir(exist_ok=True)
        output_path = home / "logs" / "runner.log"
        cap_log(output_path, MAX_LOG_BYTES)
        command = [sys.executable, "-m", "core.jobs.runner", "--home", str(home), "--handlers", handlers]
        command += ["--parent-pid", str(parent_pid or os.getpid()), "--lock-fd", str(lock)]
        with open(output_path, "ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=ROOT,
                pass_fds=(lock,),
            )
        os.pwrite(lock, f"{child.pid}\n".ljust(16).encode(), 0)
        _started.append(child)
    except OSError as error:
        raise StorageError(f"The job runner could not be started ({error.strerror}).") from error
    finally:
        os.close(lock)  # the runner's own copy goes on holding it


def runner_alive(home: Path) -> bool:
    """Return whether a runner serves this home."""
    try:
        lock = _take_lock(Path(home).resolve())
    except StorageError:
        return False
    if lock is not None:
        os.close(lock)
    return lock is None


def runner_pid(home: Path) -> int | None:
    """Return the process number of the living runner of this home, or None."""
    if not runner_alive(home):
        return None
    text = (Path(home) / LOCK_NAME).read_text(encoding="ascii").strip()
    return int(text) if text.isdigit() else None


def stop_runner(home: Path, timeout: float = 5.0) -> bool:
    """Ask the runner of this home to end; jobs go on. Returns whether none is left."""
    pid = runner_pid(home)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + timeout
    while runner_alive(home) and time.monotonic() < until:
        time.sleep(0.05)
    return not runner_alive(home)


def main(arguments: list[str] | None = None) -> int:
    """Be the runner of a home; ends at once when there is one."""
    parser = argparse.ArgumentParser(prog="python -m core.jobs.runner")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--handlers", default=DEFAULT_HANDLERS, help="module:ATTRIBUTE")
    parser.add_argument("--parent-pid", type=int, default=None)
    parser.add_argument("--lock-fd", type=int, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    home = given.home.resolve()
    os.environ["SIGHTLINE_HOME"] = str(home)
    load_settings.cache_clear()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = given.lock_fd if given.lock_fd is not None else _take_lock(home)
        if lock is None:
            log.info("a runner serves this home already")
            return 0
        os.set_inheritable(lock, False)
        os.pwrite(lock, f"{os.getpid()}\n".ljust(16).encode(), 0)
        run(home, given.handlers, given.parent_pid, lock)
    except (SightlineError, OSError) as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
