"""A process that stays warm: quick calculations for the screen, outside of the web process, with libraries loaded once.

``WarmProcess.call`` sends a request and waits for the answer. The process is started by the first call, belongs to the
process that started it (it ends when the pipe closes, so nothing is left behind), ends after a time without work, and
is replaced when it dies, hangs or takes too much memory. Messages are bytes: length of the header, the header as JSON,
the arrays it names one after the other; nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import Conflict, LabelError, NotFound, SightlineError, WeightsError
from core.jobs.processes import ROOT
from core.settings import load_settings
from core.types import Array

log = logging.getLogger("sightline.warm")

DEFAULT_HANDLERS = "core.jobs.warm_handlers:WARM_HANDLERS"
DIED = "The calculation died, perhaps for lack of memory; try a smaller part."
START_SECONDS = 60.0
TIMEOUT_SECONDS = 60.0
LENGTH = struct.Struct("<I")
# Which errors of the other side are raised here again, by name; any other becomes a SightlineError.
ERRORS: dict[str, type[Exception]] = {
    "ValueError": ValueError,
    "LabelError": LabelError,
    "NotFound": NotFound,
    "Conflict": Conflict,
    "WeightsError": WeightsError,
}


@dataclass(frozen=True)
class Message:
    """What goes to and fro: plain JSON values, and arrays by name."""

    values: dict[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)


def pack(message: Message) -> bytes:
    """Return a message as bytes."""
    arrays = {name: np.ascontiguousarray(array) for name, array in message.arrays.items()}
    shapes = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    header = json.dumps({"values": message.values, "arrays": shapes}).encode()
    return b"".join([LENGTH.pack(len(header)), header, *(array.tobytes() for array in arrays.values())])


def unpack(content: bytes) -> Message:
    """Return what ``pack`` packed; its arrays are read-only."""
    (length,) = LENGTH.unpack_from(content)
    place = LENGTH.size + length
    header = json.loads(content[LENGTH.size : place])
    arrays: dict[str, Array] = {}
    for name, kind, shape in header["arrays"]:
        dtype = np.dtype(kind)
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(content, dtype, count, place).reshape(shape)
        place += count * dtype.itemsize
    return Message(header["values"], arrays)


class WarmProcess:
    """One process for one home. Safe to share between threads: calls wait for one another."""

    def __init__(self, home: Path, handlers: str = DEFAULT_HANDLERS) -> None:
        self.home = Path(home).resolve()
        self.handlers = handlers
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    @property
    def pid(self) -> int | None:
        """Number of the living process, or None."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def call(self, name: str, message: Message, timeout: float = TIMEOUT_SECONDS) -> Message:
        """Have something calculated.

        Args:
            name: of a handler in the table.
            message: what it is given.
            timeout: seconds after which the process is ended and the call fails.

        Raises:
            SightlineError: when it took too long, or the process died twice.
            ValueError, LabelError, NotFound, WeightsError: as the handler raised them.
        """
        request = pack(Message({"call": name, "values": message.values}, message.arrays))
        with self._lock:
            answer = self._ask(request, timeout)
        problem = answer.values.get("error")
        if problem is not None:
            raise ERRORS.get(answer.values.get("kind", ""), SightlineError)(problem)
        return Message(answer.values["values"], answer.arrays)

    def _ask(self, request: bytes, timeout: float) -> Message:
        for last in (False, True):
            pipe = self._connect()
            try:
                pipe.send_bytes(request)
                if not pipe.poll(timeout):
                    self._end()
                    raise SightlineError(
                        f"This took longer than {timeout:.0f} s and was given up; try a smaller part."
                    )
                return unpack(pipe.recv_bytes())
            except (EOFError, OSError) as error:
                self._end()
                if last:
                    raise SightlineError(
                        "The calculation died, perhaps for lack of memory; try a smaller part."
                    ) from error
        raise AssertionError("not reached")

    def _connect(self) -> Connection:
        if self._pipe is not None and self.pid is not None:
            return self._pipe
        self._end()
        ours, theirs = socket.socketpair()
        (self.home / "logs").mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "core.jobs.warm_worker", "--home", str(self.home)]
        command += ["--handlers", self.handlers, "--pipe", str(theirs.fileno())]
        with open(self.home / "logs" / "warm.log", "wb") as output:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT,
                pass_fds=(theirs.fileno(),), start_new_session=True,
            )  # fmt: skip
        theirs.close()
        self._pipe = Connection(ours.detach())
        if not self._pipe.poll(START_SECONDS):
            self._end()
            raise SightlineError(
                "The process for quick calculations did not start; its log (logs/warm.log) says more."
            )
        self._pipe.recv_bytes()  # "ready"
        return self._pipe

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._child is not None:
            with contextlib.suppress(OSError):
                self._child.kill()
            self._child.wait()
            self._child = None

    def close(self) -> None:
        """End the process; the next call starts another one."""
        with self._lock:
            self._end()


@lru_cache
def warm_process(home: Path) -> WarmProcess:
    """Return this process's warm process for a home."""
    return WarmProcess(home)


def serve(pipe: Connection, handlers: Mapping[str, Callable[[Message], Message]]) -> None:
    """Answer requests until the other side goes away or nothing was asked for a time."""
    settings = load_settings()
    pipe.send_bytes(b"ready")
    while pipe.poll(settings.warm_idle_seconds):
        try:
            request = unpack(pipe.recv_bytes())
        except EOFError:
            return
        begun = time.monotonic()
        answer = _answer(handlers, request)
        log.info("%s: %.0f ms", request.values.get("call"), 1000 * (time.monotonic() - begun))
        pipe.send_bytes(pack(answer))


def _answer(handlers: Mapping[str, Callable[[Message], Message]], request: Message) -> Message:
    name = request.values.get("call", "")
    try:
        if name not in handlers:
            raise ValueError(f"a warm process can do {', '.join(handlers)}, not {name!r}.")
        done = handlers[name](Message(request.values["values"], request.arrays))
        return Message({"values": done.values}, done.arrays)
    except (SightlineError, ValueError) as error:
        return Message({"error": str(error), "kind": type(error).__name__})
    except MemoryError:
        return Message({"error": "There was not enough memory; try a smaller part."})
    except Exception:
        log.exception("%s failed", name)
        return Message(
            {"error": "The calculation failed in a way nobody thought of; logs/warm.log says more."}
        )


def watch_memory(limit_bytes: int) -> None:
    """End this process when it takes more memory than allowed; looks twice a second, from a thread of its own."""
    import psutil

    def look() -> None:
        me = psutil.Process()
        while me.memory_info().rss <= limit_bytes:
            time.sleep(0.5)
        log.error("more than %d MB of memory were taken; this process ends", limit_bytes // 2**20)
        os._exit(1)

    threading.Thread(target=look, name="memory", daemon=True).start()
