"""What all commands share: the home, the two output forms, errors as one sentence, waiting for a job."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from core.errors import SightlineError
from core.jobs.payloads import Payload
from core.settings import load_settings
from core.workspace.records import Job
from core.workspace.workspace import Workspace

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of the database and all files.", envvar="SIGHTLINE_HOME")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

POLL_SECONDS = 0.3
ENDED = ("done", "failed", "cancelled", "interrupted")


@dataclass(frozen=True)
class Console:
    """Where a command finds its workspace and puts its words."""

    workspace: Workspace
    as_json: bool

    def say(self, text: str) -> None:
        """Tell a person something: on stderr, so that stdout stays the result."""
        print(text, file=sys.stderr, flush=True)

    def result(self, data: dict[str, Any], text: str) -> None:
        """Print the result: one JSON object, or the text for a person."""
        print(json.dumps(data, ensure_ascii=False) if self.as_json else text, flush=True)

    def run_job(self, payload: Payload, title: str) -> dict[str, Any]:
        """Queue a job, show its progress, and return its result.

        Ctrl-C asks the job to stop (its checkpoint is kept).

        Raises:
            SightlineError: with the job's own sentence when it fails, is cancelled or is lost.
        """
        from core.jobs.queue import JobQueue
        from core.jobs.runner import ensure_runner
        from core.jobs.submit import submit

        queue = JobQueue(self.workspace)
        job = submit(queue, payload, title)
        ensure_runner(self.workspace.home)
        return self.wait_for(job)

    def wait_for(self, job: Job) -> dict[str, Any]:
        """Follow a job to its end and return its result."""
        from core.jobs.queue import JobQueue
        from core.jobs.runner import ensure_runner

        queue = JobQueue(self.workspace)
        shown = ""
        seen_event = 0
        asked_to_stop = False
        while job.state not in ENDED:
            try:
                time.sleep(POLL_SECONDS)
                ensure_runner(self.workspace.home)
                job = queue.get(job.id)
                for event in queue.events(job.id, after_id=seen_event):
                    seen_event = event.id
                    _say_event(event.data, self.say)
                line = f"{job.progress * 100:3.0f} %  {job.message}"
                if line != shown and sys.stderr.isatty():
                    print(f"\r{line:<60}", end="", file=sys.stderr, flush=True)
                    shown = line
            except KeyboardInterrupt:
                if asked_to_stop:
                    raise
                asked_to_stop = True
                queue.cancel(job.id)
                self.say(f"\nStopping job {job.id}; press Ctrl-C again to leave it to itself.")
        if shown:
            print(file=sys.stderr)
        if job.state == "done":
            return dict(job.result or {})
        raise SightlineError(_end_sentence(job))


def _say_event(data: dict[str, Any], say: Callable[[str], None]) -> None:
    if data.get("kind") == "epoch":
        numbers = {key: value for key, value in data.items() if isinstance(value, float)}
        words = "  ".join(f"{key} {value:.4g}" for key, value in numbers.items())
        say(f"epoch {data.get('epoch')}: {words}")
    elif data.get("kind") == "note":
        say(str(data.get("message", "")))


def _end_sentence(job: Job) -> str:
    if job.state == "failed":
        return job.error or f"Job {job.id} failed; see `sightline jobs log {job.id}`."
    if job.state == "cancelled":
        return f"Job {job.id} was stopped; `sightline jobs resume {job.id}` goes on with it."
    return f"Job {job.id} lost its worker; `sightline jobs resume {job.id}` goes on from its last checkpoint."


@contextmanager
def console(home: Path | None, as_json: bool) -> Iterator[Console]:
    """Open the workspace for one command; turn every fixable error into one sentence and exit code 1."""
    if home is not None:
        # Workers and settings of this process read the same variable.
        os.environ["SIGHTLINE_HOME"] = str(home.expanduser().resolve())
        load_settings.cache_clear()
    try:
        with Workspace.open(load_settings().home_path) as workspace:
            yield Console(workspace, as_json)
    except ValidationError as error:
        _exit(validation_sentence(error))
    except (SightlineError, ValueError) as error:
        _exit(str(error))


def validation_sentence(error: ValidationError) -> str:
    """Say the first thing wrong with a settings model, in one sentence."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "settings"
    return f"{where}: {first['msg']} (got {first.get('input')!r})."


def _exit(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
    raise typer.Exit(1)


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Lay rows out as text columns."""
    if not rows:
        return "none"
    cells = [columns] + [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
