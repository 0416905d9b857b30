"""What reading a file cost: time, memory of this process, memory of its decoders."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

LOOK_SECONDS = 0.02


def resident_mb(pid: int | str = "self") -> float:
    """Return a process's memory without the file pages it has mapped, which cost nothing; 0 when it is gone."""
    with suppress(OSError, IndexError):
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) / 1024
    return 0.0


def peak_mb(pid: int) -> float:
    """Return the most memory a process ever had; 0 when it is gone."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    return 0.0


@dataclass
class Cost:
    """What happened while the context was open; the decoders' peak counts from their start."""

    seconds: float = 0.0
    growth_mb: float = 0.0
    decoder_mb: float = 0.0


class Watching:
    """Measures from another thread. Use as a context; read ``cost`` afterwards."""

    def __init__(self) -> None:
        self.cost = Cost()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watching:
        self._before = resident_mb()
        self._started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self.cost.seconds = time.perf_counter() - self._started
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        own = psutil.Process()
        while True:
            last = self._ended.wait(LOOK_SECONDS)
            self.cost.growth_mb = max(self.cost.growth_mb, resident_mb() - self._before)
            for child in own.children():
                self.cost.decoder_mb = max(self.cost.decoder_mb, peak_mb(child.pid))
            if last:
                return
