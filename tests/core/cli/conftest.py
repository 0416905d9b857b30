"""Run the command line as a user does: a process of its own, a home of its own.

Commands are forked from one process that has imported the command line, which takes most of a short command's time;
``test_cli.py`` starts one as a terminal does.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["core.cli", "core.jobs.runner", "core.jobs.submit"])


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def sightline(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Call ``sightline(*words)`` with this test's home; returns code, stdout, stderr."""

    def run(*words: object, timeout: float = 240, folder: Path = ROOT) -> Done:
        told = tmp_path_factory.mktemp("told")
        env = {**os.environ, "SIGHTLINE_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        process = SERVER.Process(target=_command, args=([str(word) for word in words], env, folder, told))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"sightline {words} took longer than {timeout} s")
        return Done(process.exitcode, *((told / name).read_text() for name in ("out", "err")))

    return run


def _command(words: list[str], env: dict[str, str], folder: Path, told: Path) -> None:
    """Become the command: its words, environment, folder and outputs."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(told / name, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = ["sightline", *words]
    from core.cli import main

    main()
