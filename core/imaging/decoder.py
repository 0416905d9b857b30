"""The process that reads untrusted files: ``python -m core.imaging.decoder PARENT``; see ``sandbox`` for the other end.

It is asked to call functions of ours by name, answers with what they give, and leaves arrays as files in the folder
that the question names. Whatever goes wrong below is a sentence; what ends this process, its parent sees.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, BinaryIO

from core.errors import SightlineError
from core.imaging.buffers import ArrayFolder, use_folder
from core.imaging.caps import GROWN_BYTES, Caps, Meter, memory_bytes, shut_in
from core.imaging.limits import refusing, watch_declared
from core.imaging.wire import LENGTH, argument_types, from_plain, pack, result_type, to_plain, unpack

AHEAD_BYTES = 2**26  # arrays on disk that nobody has taken yet; then this process waits
TELL_BYTES = 2**24


class Desk:
    """Where questions come in and answers go out."""

    def __init__(self, questions: BinaryIO, answers: BinaryIO) -> None:
        self._questions = questions
        self._answers = answers
        self._waiting: deque[dict[str, Any]] = deque()
        self._untaken: deque[int] = deque()  # bytes of each answer

    def next_call(self) -> dict[str, Any] | None:
        """Return the next question, None when nobody is there to ask any more."""
        while not self._waiting:
            if not self._read():
                return None
        return self._waiting.popleft()

    def tell(self, message: dict[str, Any]) -> None:
        """Send an answer."""
        self._answers.write(pack(message))
        self._answers.flush()

    def wait_for_room(self, n_bytes: int) -> None:
        """Note that an answer has arrays of so many bytes, and wait while too many lie there untaken."""
        self._untaken.append(n_bytes)
        while sum(self._untaken) > AHEAD_BYTES:
            if not self._read():
                sys.exit(0)

    def _read(self) -> bool:
        length = self._questions.read(LENGTH.size)
        if len(length) < LENGTH.size:
            return False
        message = unpack(self._questions.read(LENGTH.unpack(length)[0]))
        if "taken" in message:
            self._untaken.popleft()
        else:
            self._waiting.append(message)
        return True


class Answering:
    """One question being answered."""

    def __init__(self, desk: Desk, question: dict[str, Any], memory_before: int) -> None:
        self._desk = desk
        self._number: int = question["call"]
        self._question = question
        self._meter = Meter(Caps(**question["caps"]), memory_before)
        self._declared = self._told = 0
        self._handed_over: set[str] = set()
        self._folder = ArrayFolder(question["folder"], str(self._number))

    def run(self) -> dict[str, Any]:
        """Call the function; send what it yields and return what is left to say: its value, or its error."""
        use_folder(self._folder)
        watch_declared(self._hear_declared)
        try:
            with refusing(self._question["name"]):
                function, arguments = _resolve(self._question)
                if not result_type(function)[1]:
                    return self._written(function(*arguments))
                for value in function(*arguments):
                    self.tell(self._written(value))
                    del value  # its arrays need no memory while the next ones are made
                return {}
        except SightlineError as error:
            return {"error": type(error).__name__, "text": str(error)}
        finally:
            watch_declared(None)
            use_folder(None)
            self._folder.close(self._handed_over)

    def tell(self, message: dict[str, Any]) -> None:
        """Send a part of the answer, and wait while too many arrays lie ready."""
        files = message.pop("files", 0)
        self._desk.tell({"call": self._number, **message})
        if files:
            self._desk.wait_for_room(files)

    def _written(self, value: Any) -> dict[str, Any]:
        """Return the message of a value, with the bytes of its array files."""
        n_bytes = 0

        def keep(array: Any) -> str:
            nonlocal n_bytes
            n_bytes += array.nbytes
            self._handed_over.add(name := self._folder.keep(array))
            return name

        return {"value": to_plain(value, keep), "files": n_bytes}

    def _hear_declared(self, declared: int) -> None:
        if declared <= self._declared:
            return
        self._declared = declared
        self._meter.allow(declared)
        if declared - self._told >= TELL_BYTES:
            self._told = declared
            self.tell({"declared": declared})


@lru_cache(maxsize=32)
def _function(name: str) -> tuple[Callable[..., Any], list[Any]]:
    module, function_name = name.split(":")
    function = getattr(importlib.import_module(module), function_name)
    return function, argument_types(function)


def _resolve(question: dict[str, Any]) -> tuple[Callable[..., Any], list[Any]]:
    function, hints = _function(question["function"])
    given = zip(hints, question["arguments"], strict=True)
    return function, [from_plain(hint, data, _no_array) for hint, data in given]


def _no_array(name: str) -> Any:
    raise ValueError("questions hold no arrays.")


def serve(desk: Desk) -> None:
    """Answer questions until nobody asks any more."""
    space, first_resident = memory_bytes()
    desk.tell({"ready": True})
    while (question := desk.next_call()) is not None:
        answering = Answering(desk, question, space)
        end = answering.run()
        space, resident = memory_bytes()
        answering.tell({"end": True, "grown": resident - first_resident > GROWN_BYTES, **end})


def main() -> None:
    """Be the decoder of the process that started this one."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    questions = sys.stdin.buffer
    shut_in(int(sys.argv[1]))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.stdout.fileno())  # what libraries print would break the talk,
    os.dup2(quiet, sys.stderr.fileno())  # and may name a patient
    serve(Desk(questions, answers))


if __name__ == "__main__":
    main()
