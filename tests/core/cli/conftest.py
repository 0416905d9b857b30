"""Run the command line as a user does: a process of its own, a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


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
def sightline(home: Path) -> Run:
    """Call ``sightline(*words)`` with this test's home; returns code, stdout, stderr."""

    def run(*words: object, timeout: float = 240, folder: Path = ROOT) -> Done:
        command = [sys.executable, "-m", "core", *map(str, words)]
        env = {**os.environ, "SIGHTLINE_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder, timeout=timeout)
        return Done(done.returncode, done.stdout, done.stderr)

    return run
