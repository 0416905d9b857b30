"""The process that does one attempt of one job: ``python -m core.jobs.worker --home HOME JOB ATTEMPT``.

Started by the runner in a session of its own, with its output going to the job's log. Exit codes: 0 done,
1 failed, 2 wrong usage, 3 the attempt was over, 4 stopped.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.errors import JobStopped, SightlineError, StorageError
from core.jobs.context import JobContext
from core.jobs.processes import created_at
from core.jobs.queue import AttemptOver, JobQueue
from core.settings import load_settings
from core.workspace.records import JobState
from core.workspace.workspace import Workspace

DONE, FAILED, OVER, STOPPED = 0, 1, 3, 4
DEFAULT_HANDLERS = "core.jobs.handlers:HANDLERS"
LOOK_SECONDS = 0.5
MAX_LOG_BYTES = 5_000_000
FINAL_WRITE_TRIES = 5
NICENESS = 5  # pages stay quick while a training uses every core

Handler = Callable[[JobContext], dict[str, Any]]


def main(arguments: list[str] | None = None) -> int:
    """Do one attempt of one job and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m core.jobs.worker")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--handlers", default=DEFAULT_HANDLERS, help="module:ATTRIBUTE")
    parser.add_argument("job", type=int)
    parser.add_argument("attempt", type=int)
    given = parser.parse_args(arguments)
    home = given.home.resolve()
    os.environ["SIGHTLINE_HOME"] = str(home)
    load_settings.cache_clear()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    with Workspace.open(home) as workspace:
        try:
            context = _begin(workspace, given.job, given.attempt)
            return _run(context, given.handlers)
        except AttemptOver as error:
            logging.getLogger("sightline.job").warning("%s", error)
            return OVER


def _begin(workspace: Workspace, job_id: int, attempt: int) -> JobContext:
    """Take the job over: from here on every write of this process belongs to this attempt."""
    queue = JobQueue(workspace)
    queue.set_process(job_id, attempt, os.getpid(), created_at(os.getpid()) or 0.0)
    queue.fence(job_id, attempt)
    log = logging.getLogger("sightline.job")
    work_dir = queue.work_dir(job_id)
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The job's folder could not be made ({error.strerror}).") from error
    context = JobContext(workspace, queue, queue.get(job_id), work_dir, log)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: context.reported.stop.set())
    log.info("job %d (%s), attempt %d begins", job_id, context.job.kind, attempt)
    threading.Thread(target=_pulse, args=(context,), name="pulse", daemon=True).start()
    return context


def _pulse(context: JobContext) -> None:
    """Heartbeat, progress, stop requests, log size; ends the process when its attempt is over."""
    settings = load_settings()
    job_id, attempt = context.job.id, context.job.attempt
    written = 0.0
    while True:
        try:
            if context.queue.asked_to_stop(job_id, attempt):
                context.reported.stop.set()
            due = time.monotonic() - written >= settings.heartbeat_seconds
            values = context.reported.take()
            if due or values:
                context.queue.heartbeat(job_id, attempt, values)
                written = time.monotonic()
                cap_log(context.queue.log_path(job_id), MAX_LOG_BYTES)
        except AttemptOver:
            if not context.reported.ended.is_set():
                context.log.warning("attempt %d is over, this process ends", attempt)
                os._exit(OVER)
            return
        except Exception as error:  # noqa: BLE001 - the next beat may succeed; without beats the job is lost
            context.log.warning("heartbeat: %s", error)
        if context.reported.ended.wait(min(LOOK_SECONDS, settings.heartbeat_seconds)):
            return


def _run(context: JobContext, handlers: str) -> int:
    """Call the handler and write down how it ended."""
    try:
        os.nice(NICENESS)
        handler = load_handlers(handlers).get(context.job.kind)
        if handler is None:
            raise SightlineError(f"This version of Sightline knows no work of the kind {context.job.kind!r}.")
        result = handler(context)
        json.dumps(result)
    except AttemptOver:
        raise
    except BaseException as error:  # noqa: BLE001 - however it ended, the job must say so
        return _end_badly(context, error)
    _tell_last(context)
    _insist(context, lambda: context.queue.finish(context.job.id, context.job.attempt, result))
    context.log.info("done")
    if str(context.work_dir) not in json.dumps(result):
        shutil.rmtree(context.work_dir, ignore_errors=True)
    return DONE


def load_handlers(where: str) -> dict[str, Handler]:
    """Return the table of handlers named "module:ATTRIBUTE"."""
    module, _, attribute = where.partition(":")
    table: dict[str, Handler] = getattr(importlib.import_module(module), attribute)
    return table


def _end_badly(context: JobContext, error: BaseException) -> int:
    job_id, attempt = context.job.id, context.job.attempt
    stopped = isinstance(error, JobStopped) or context.should_stop()
    if not isinstance(error, SightlineError):
        context.log.error("the work ended with an error", exc_info=error)
    asked = context.queue.asked_to_stop(job_id, attempt)
    _tell_last(context)
    if not stopped:
        context.log.info("failed: %s", sentence_of(error))
        _insist(context, lambda: context.queue.fail(job_id, attempt, sentence_of(error)))
        return FAILED
    context.log.info("stopped")
    reason = None if asked else "The work was cut off (its process was told to end)."
    state: JobState = "cancelled" if asked else "interrupted"
    _insist(context, lambda: context.queue.fail(job_id, attempt, reason, state))
    return STOPPED


def _tell_last(context: JobContext) -> None:
    """Write what the handler told last; from here on the pulse writes nothing more."""
    context.reported.ended.set()
    values = context.reported.take()
    if values:
        _insist(context, lambda: context.queue.heartbeat(context.job.id, context.job.attempt, values))


def _insist(context: JobContext, write: Callable[[], None]) -> None:
    """Write, with a few more tries: a disk that is full for a moment must not hide how a job ended."""
    for number in range(1, FINAL_WRITE_TRIES + 1):
        try:
            write()
            return
        except StorageError as error:
            context.log.warning("%s", error)
            if number == FINAL_WRITE_TRIES:
                raise
            time.sleep(number)


def sentence_of(error: BaseException) -> str:
    """Say in one sentence what went wrong."""
    if isinstance(error, SightlineError):
        return str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'settings'}: {first['msg']}."
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "There was not enough memory; choose a smaller batch or image size, or a smaller network."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full; free some space and resume this job."
    if isinstance(error, ValueError):
        return str(error)
    return f"The work failed in a way nobody thought of ({type(error).__name__}); its log says more."


def cap_log(path: Path, limit: int) -> None:
    """Keep the newest half of a log that grew over ``limit`` bytes; its writers append, so they go on."""
    if not path.exists() or path.stat().st_size <= limit:
        return
    with open(path, "r+b") as file:
        file.seek(-limit // 2, os.SEEK_END)
        kept = file.read()
        file.seek(0)
        file.write(b"(earlier lines were dropped)\n" + kept[kept.find(b"\n") + 1 :])
        file.truncate()


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # threads and exit hooks of libraries must not keep a finished job's process
