"""One living decoder process: how it is started, asked, listened to and ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import core
from core.errors import SightlineError
from core.imaging.wire import LENGTH, MAX_MESSAGE_BYTES, pack, unpack

ROOT = Path(core.__file__).resolve().parent.parent  # where ``python -m core...`` can be started
START_SECONDS = 60.0
READ_BYTES = 2**16
# The decoder gets no secrets, and one thread, so that its memory can be counted.
PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "HOME")
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class TooSlow(Exception):
    """The decoder did not answer in time."""


class Died(Exception):
    """The decoder is gone.

    Attributes:
        code: as ``Popen.returncode``: below zero the number of a signal.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Nonsense(Exception):
    """The decoder said something that no decoder of ours says."""


class Child:
    """A decoder process and its two pipes; used by the thread that made it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "core.imaging.decoder", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=ENVIRONMENT | {name: os.environ[name] for name in PASSED_ON if name in os.environ},
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None  # noqa: S101 - both are pipes
        self._questions = self.process.stdin.fileno()
        self._answers = self.process.stdout.fileno()
        self._owner = os.getpid()
        self._outgoing = bytearray()
        self._incoming = bytearray()
        os.set_blocking(self._questions, False)
        try:
            self.receive(START_SECONDS)
        except (TooSlow, Died, Nonsense) as error:
            self.kill()
            raise SightlineError(
                "The process that reads files could not be started; `sightline doctor` or the log may say why."
            ) from error

    @property
    def is_usable(self) -> bool:
        """True while it lives and belongs to this process and not to one that this process was forked from."""
        return self._owner == os.getpid() and self.process.poll() is None

    @property
    def unsent(self) -> int:
        """Bytes that wait for the decoder to listen."""
        return len(self._outgoing)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, or what of it the pipe takes now; the rest goes while listening."""
        self._outgoing += pack(message)
        self._write()

    def receive(self, seconds: float) -> dict[str, Any]:
        """Wait for the next message.

        Raises:
            TooSlow: when none comes in time.
            Died: when the process ended.
            Nonsense: when what it sends is no message.
        """
        until = time.monotonic() + seconds
        while (message := self._next_message()) is None:
            left = until - time.monotonic()
            if left <= 0:
                raise TooSlow
            self._exchange(left)
        return message

    def kill(self) -> int:
        """End the process and all that it started; returns its exit code."""
        if self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        return self.process.returncode or 0

    def _exchange(self, seconds: float) -> None:
        """Write what is left to write and read what is there to read; wait for either."""
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        if self._outgoing:
            poll.register(self._questions, select.POLLOUT)
        for descriptor, _ in poll.poll(max(1, seconds * 1000)):
            if descriptor == self._questions:
                self._write()
                continue
            data = os.read(self._answers, READ_BYTES)
            if not data:
                raise Died(self._code_of_the_dead())
            self._incoming += data

    def _write(self) -> None:
        try:
            if self._outgoing:
                del self._outgoing[: os.write(self._questions, self._outgoing)]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it is dying; what it said before can still be read
            self._outgoing.clear()

    def _next_message(self) -> dict[str, Any] | None:
        if len(self._incoming) < LENGTH.size:
            return None
        length = LENGTH.unpack_from(self._incoming)[0]
        if length > MAX_MESSAGE_BYTES:
            raise Nonsense
        end = LENGTH.size + length
        if len(self._incoming) < end:
            return None
        body = bytes(self._incoming[LENGTH.size : end])
        del self._incoming[:end]
        try:
            return unpack(body)
        except ValueError as error:
            raise Nonsense from error

    def _code_of_the_dead(self) -> int:
        try:
            return self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:  # it closed its pipe and lives on
            return self.kill()


class _Idle(threading.local):
    """Decoders that wait for work, of each thread its own: a decoder dies with the thread that started it."""

    def __init__(self) -> None:
        self.children: list[Child] = []


_idle = _Idle()


def take_child() -> Child:
    """Return a decoder that waits for work, or a new one."""
    while _idle.children:
        child = _idle.children.pop()
        if child.is_usable:
            return child
        child.kill()
    return Child()


def give_back(child: Child) -> None:
    """Let a decoder that has answered everything wait for further work."""
    _idle.children.append(child)
