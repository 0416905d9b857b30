"""What the tests run in processes of their own: ``python -m tests.core.workspace.writers WHAT HOME ...``."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path

import numpy as np

from core.errors import Conflict, StorageError
from core.readings.reading import Mask
from core.types import Image, ImageInfo
from core.workspace.records import NewCase
from core.workspace.workspace import Workspace
from tests.core.workspace import samples


def write_many(home: Path, number: int, count: int) -> None:
    """Add cases and readings to the project of number 1."""
    with Workspace.open(home) as workspace:
        for step in range(count):
            image = samples.image(number * 10_000 + step)
            case = workspace.add_case(1, NewCase(f"{number}-{step}", image, "x"))
            workspace.save_reading(case.id, f"reader {number}", samples.mask(step))
            print(case.id, flush=True)


def in_parallel(home: Path, processes: int, count: int) -> None:
    """Open a new home in many processes at once, then write from all of them; exits 1 when one fails."""
    children = []
    for number in range(processes):
        child = os.fork()  # before anything is opened: importing once is what takes long
        if child == 0:
            open_only(home)
            with Workspace.open(home) as workspace, contextlib.suppress(Conflict):
                samples.project(workspace)
            write_many(home, number, count)
            sys.stdout.flush()
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(int(any(codes)))


def open_only(home: Path) -> None:
    """Open a home and print its salt."""
    with Workspace.open(home) as workspace:
        print(workspace.salt, flush=True)


def write_too_much(home: Path) -> None:
    """Store an image under a limit of file size, as a full disk would refuse it; prints what was said."""
    with Workspace.open(home) as workspace:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        array = np.random.default_rng(0).integers(0, 255, (1000, 1000)).astype(np.uint8)
        info = ImageInfo("yx", (1000, 1000), "uint8")
        for store in (
            lambda: workspace.add_case(1, NewCase("big", Image(array, info), "x")),
            lambda: workspace.save_reading(1, "ada", Mask(array)),
        ):
            try:
                store()
            except StorageError as error:
                print(error, flush=True)


if __name__ == "__main__":
    what, where, *numbers = sys.argv[1:]
    tasks = {"write_many": write_many, "in_parallel": in_parallel, "write_too_much": write_too_much}
    tasks[what](Path(where), *map(int, numbers))
