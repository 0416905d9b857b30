"""Small handlers for tests of the queue, the runner and the worker."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from core.errors import FileRefused
from core.jobs.context import JobContext


def count(context: JobContext) -> dict[str, Any]:
    """Count to ``to``, one step every ``pause`` seconds; goes on where the last attempt ended."""
    file = context.work_dir / "count.txt"
    number = int(file.read_text()) if file.exists() else 0
    context.event({"kind": "plan", "start": number})
    while number < context.job.payload["to"]:
        context.raise_if_stopped()
        time.sleep(context.job.payload.get("pause", 0.0))
        number += 1
        temporary = file.with_suffix(".part")
        temporary.write_text(str(number))
        temporary.replace(file)
        context.event({"kind": "step", "step": number})
        context.progress(number / context.job.payload["to"], f"step {number}")
    print("counted")
    return {"count": number}


def refuse(context: JobContext) -> dict[str, Any]:
    """Fail as a user's mistake does."""
    raise FileRefused("The file scan.png is damaged.")


def stumble(context: JobContext) -> dict[str, Any]:
    """Fail as a mistake in the program does."""
    return {"never": {}["key"]}


def ignore(context: JobContext) -> dict[str, Any]:
    """Never look whether it should stop; with a child process of its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    context.event({"kind": "note", "child": child.pid})
    while True:
        time.sleep(0.1)


def calculate(context: JobContext) -> dict[str, Any]:
    """Keep every other thread of the process from running for some seconds."""
    started = time.monotonic()
    while time.monotonic() - started < context.job.payload["seconds"]:
        sum(range(context.job.payload["size"]))
    return {"longest": context.job.payload["size"]}


def keep(context: JobContext) -> dict[str, Any]:
    """Return a file in the work folder."""
    path = context.work_dir / "picture.txt"
    path.write_text("x")
    return {"file": str(path)}


HANDLERS = {
    "count": count,
    "refuse": refuse,
    "stumble": stumble,
    "ignore": ignore,
    "calculate": calculate,
    "keep": keep,
}
