"""Functions that behave as readers do at their worst; called in the decoder by test_sandbox."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import LabelError
from core.imaging.buffers import allocate
from core.imaging.found import Found, Skipped
from core.imaging.limits import announce
from core.imaging.profiles import Profile
from core.imaging.scan import Work, decode
from core.settings import Settings
from core.types import Array


@dataclass(frozen=True)
class Picture:
    """An array and who made it."""

    array: Array
    pid: int


def give(size: int) -> Picture:
    """Return so many bytes of ones."""
    return Picture(np.ones(size, np.uint8), os.getpid())


def give_many(count: int, size: int) -> Iterator[Picture]:
    """Yield arrays of so many bytes, each with its number in it."""
    for number in range(count):
        array = allocate((1, size), np.dtype(np.uint8))
        array[:] = number
        yield Picture(array, os.getpid())


def give_then_die(count: int) -> Iterator[int]:
    """Yield some numbers, then crash."""
    yield from range(count)
    os.kill(os.getpid(), signal.SIGSEGV)


def die(number: int) -> int:
    """End as a crash in a codec does."""
    os.kill(os.getpid(), number)
    return 0


def leave(code: int) -> int:
    """End in the middle of it."""
    os._exit(code)


def hang_in_c(seconds: int) -> int:
    """Sleep without letting any other Python code run, and deaf to polite signals."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.PyDLL(None).sleep(seconds)
    return 0


def burn() -> int:
    """Compute without end."""
    while True:
        sum(range(10**6))


def devour(step: int) -> int:
    """Take memory without end."""
    taken = []
    while True:
        taken.append(np.ones(step, np.uint8))


def take_declared(declared: int, taken: int) -> int:
    """Declare an amount and take another."""
    announce(declared)
    return int(np.ones(taken, np.uint8)[-1])


def write_file(path: Path, size: int) -> int:
    """Write a file of so many bytes."""
    with open(path, "wb") as file:
        for _ in range(size // 2**20):
            file.write(b"\0" * 2**20)
    return size


def chatter() -> str:
    """Print where a C library would."""
    os.write(1, b"\0\0\0\x05hello")
    os.write(2, b"PATIENT^NAME")
    print("more of it", flush=True)
    return "done"


def refuse() -> str:
    """Fail with a sentence."""
    raise LabelError("A label is missing.")


def stumble() -> str:
    """Fail as a bug does."""
    return {}["SECRET^NAME"]


def recurse() -> str:
    """Call itself without end."""
    return recurse()


def nan() -> float:
    """Return what JSON does not have."""
    return float("nan")


def decode_or_die(
    work: Work, salt: str, settings: Settings, profile: Profile | None
) -> Iterator[Found | Skipped]:
    """Decode as ``scan.decode`` does, but crash on a file of 666 rows."""
    for entry in work.entries:
        if b"\x28\0\x10\0US\x02\0\x9a\x02" in entry.path.read_bytes():
            os.kill(os.getpid(), signal.SIGSEGV)
    yield from decode(work, salt, settings, profile)


def surroundings() -> dict[str, str]:
    """Return what this process may do and know."""
    status = Path("/proc/self/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return {
        "environment": " ".join(sorted(os.environ)),
        "no_new_privileges": facts["NoNewPrivs"],
        "core": str(resource.getrlimit(resource.RLIMIT_CORE)[0]),
        "files": str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        "session": str(os.getsid(0) == os.getpid()),
        "nice": str(os.nice(0)),
        "pid": str(os.getpid()),
        "memory": str(resource.getrlimit(resource.RLIMIT_AS)[0]),
        "modules": " ".join(sorted(sys.modules)),
    }


def wait(seconds: float) -> int:
    """Do nothing for a while; returns the process's number."""
    time.sleep(seconds)
    return os.getpid()
