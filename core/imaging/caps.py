"""What a process that reads untrusted files may use, and how it is shut in.

Memory is counted as address space above what the process has when a call begins, time by the clock; the parent holds
the clock, the processor time is a second line. Both grow with the bytes that a header declares, once checked.
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.imaging.limits import HARMLESS_BYTES, readable_size
from core.settings import Settings

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# A decoder holds the stored bytes, the decoded values, and one or two conversions of them.
MEMORY_PER_DECLARED_BYTE = 4
# Time is given for what is declared, as far as so many stored bytes can be believed to hold it.
SLOWEST_BYTES_PER_SECOND = 2e6
BELIEVED_RATIO = 64
SECONDS_PER_FILE = 0.05
OPEN_FILES = 256
GROWN_BYTES = 2**29
NICENESS = 5
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38  # linux/prctl.h

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caps:
    """What one call may use.

    Attributes:
        memory_bytes: before anything is declared.
        seconds: before anything is declared.
        file_bytes: the largest file it may write.
        stored_bytes: of the files that it reads.
    """

    memory_bytes: int
    seconds: float
    file_bytes: int
    stored_bytes: int

    def memory_for(self, declared: int) -> int:
        """Bytes of memory once so many bytes of pixels are declared."""
        return self.memory_bytes + MEMORY_PER_DECLARED_BYTE * declared

    def seconds_for(self, declared: int) -> float:
        """Seconds once so many bytes of pixels are declared."""
        believed = min(declared, BELIEVED_RATIO * self.stored_bytes)
        return self.seconds + max(0, believed - HARMLESS_BYTES) / SLOWEST_BYTES_PER_SECOND


def caps_for(files: Sequence[Path], settings: Settings) -> Caps:
    """Return what a call that reads these files may use."""
    stored_bytes = 0
    for path in files:
        with suppress(OSError):  # the decoder will say so
            stored_bytes += path.stat().st_size
    return Caps(
        settings.decoder_memory_bytes,
        settings.decoder_seconds + SECONDS_PER_FILE * (len(files) - 1),
        max(settings.max_image_bytes, settings.max_archive_bytes) + 2**20,
        stored_bytes,
    )


def shut_in(parent_pid: int) -> None:
    """Take from this process what no decoder needs, and bind its life to its parent's."""
    with suppress(OSError):
        os.nice(max(0, NICENESS - os.nice(0)))  # a worker is nice already
    with suppress(OSError):  # when memory runs out, this process goes and not the server
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if resource is None:
        log.warning("this system has no resource limits; files are read without a cap of memory")
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != parent_pid:  # the parent was gone before its death could be noticed
        os._exit(0)


class Meter:
    """Holds this process to the caps of one call."""

    def __init__(self, caps: Caps, memory_before: int) -> None:
        self.caps = caps
        self._memory_before = memory_before
        self._cpu_before = sum(os.times()[:2])
        self.allow(0)

    def allow(self, declared: int) -> None:
        """Set the caps for so many declared bytes."""
        if resource is None:
            return
        _set_soft(resource.RLIMIT_FSIZE, self.caps.file_bytes)
        cpu_seconds = self.caps.seconds_for(declared) * (os.cpu_count() or 1)  # readers may use threads
        _set_soft(resource.RLIMIT_CPU, int(self._cpu_before + cpu_seconds) + 1)
        if self._memory_before:
            _set_soft(resource.RLIMIT_AS, self._memory_before + self.caps.memory_for(declared))


def report_caps() -> dict[str, str]:
    """Say which caps hold in this process; called in the decoder, for people who look for what is wrong."""
    if resource is None:
        return {"memory": "no cap", "time": "by the clock"}
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    memory = "no cap" if limit == resource.RLIM_INFINITY else f"cap of {readable_size(limit)} address space"
    return {"memory": memory, "time": "by the processor and the clock"}


def memory_bytes() -> tuple[int, int]:
    """Return this process's (address space, resident memory); zeros where the system does not say."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            pages = file.read().split()
    except OSError:
        return 0, 0
    return int(pages[0]) * mmap.PAGESIZE, int(pages[1]) * mmap.PAGESIZE


def _set_soft(kind: int, value: int) -> None:
    soft, hard = resource.getrlimit(kind)
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    if wanted != soft:
        resource.setrlimit(kind, (wanted, hard))
