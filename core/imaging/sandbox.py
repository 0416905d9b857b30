"""Functions of ours called in the decoder process: files that were sent in are read there and nowhere else.

The decoder (``decoder.py``) has caps of memory and time and is used for many files. When it dies, hangs or has
grown, another one takes its place, and the file at fault gets a sentence. Nothing that it says is believed unchecked.
The caps hold against files that ask for too much and against codecs that crash; the process runs as the same user,
so they are no wall against code that a file might bring to run.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import stat
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import psutil

from core import errors
from core.errors import FileRefused, SightlineError
from core.imaging.caps import Caps, caps_for
from core.imaging.child import Child, Died, Nonsense, TooSlow, give_back, take_child
from core.imaging.wire import from_plain, result_type, to_plain
from core.settings import Settings
from core.types import Array

CALLS_AHEAD = 256  # so that on a busy machine both processes have work whenever it is their turn
UNSENT_BYTES = 2**20  # calls of long series are long
SMALL_BYTES = 2**22  # larger arrays stay in their file and are mapped
MAX_TEXT = 2000
PLAIN_KINDS = "biuf"
FOLDER_PREFIX = "pixels-"
ARRAY_NAME = re.compile(r"(\d{1,12})-\d{1,12}\.npy")
# Control characters, line ends, marks that turn the direction of text, and halves of characters.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return text that stands on one line as it is written, for names that come from elsewhere."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


@dataclass(frozen=True)
class Call:
    """A function to be called in the decoder.

    Attributes:
        function: of a module of ours, fully annotated. What it gives is the answer; of an Iterator, each item.
        arguments: by position.
        files: the files that it reads; the first one is named when it fails.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What to call the file in a sentence."""
        return printable(self.files[0].name)


@dataclass(frozen=True)
class _Asked:
    """A call on its way."""

    number: int
    call: Call
    caps: Caps


def ask(wanted: Call, settings: Settings, work_dir: Path | None = None) -> Any:
    """Call one function in the decoder and return what it gives.

    Args:
        wanted: a function that gives one value.
        settings: the caps.
        work_dir: where its arrays pass through; the system's folder for temporary files unless given.

    Raises:
        SightlineError: what the function raised.
        DecoderLost: when it took too much memory or time, or crashed.
    """
    with Decoding([wanted], work_dir or Path(tempfile.gettempdir()), settings) as decoding:
        (value,) = decoding.answers()
        return value


class DecoderLost(FileRefused):
    """A file ended its decoder, or had to be ended with it."""


class Decoding:
    """Calls that the decoder answers in order, working ahead of the reader. Use as a context.

    Attributes:
        files: the array files of the answer at hand. They may be moved away; those that were not are removed
            when the next answer is asked for. The arrays themselves stay good.
    """

    def __init__(self, calls: Iterable[Call], work_dir: Path, settings: Settings) -> None:
        self.files: list[Path] = []
        self._calls = (
            _Asked(number, wanted, caps_for(wanted.files, settings)) for number, wanted in enumerate(calls)
        )
        self._work_dir = work_dir
        self._settings = settings
        self._asked: deque[_Asked] = deque()
        self._child: Child | None = None
        self._folder = work_dir

    def __enter__(self) -> Decoding:
        self._work_dir.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(self._work_dir)
        prefix = f"{FOLDER_PREFIX}{os.getpid()}-"
        self._folder = Path(tempfile.mkdtemp(prefix=prefix, dir=self._work_dir)).absolute()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None and not self._asked:
            give_back(self._child)
        elif self._child is not None:  # the reader left early; what is still being read is of no use
            self._child.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def answers(self) -> Iterator[Any]:
        """Yield the answers of the next call; each call's must be taken to their end before the next.

        Raises:
            SightlineError: what the function raised.
            DecoderLost: when it took too much memory or time, or crashed.
        """
        child = self._ask_ahead()
        asked = self._asked[0]
        caps = asked.caps
        declared, since = 0, time.monotonic()
        try:
            while True:
                message = child.receive(since + caps.seconds_for(declared) - time.monotonic())
                _check_message(message, asked.number)
                if "declared" in message:
                    declared = max(declared, self._believed(message["declared"]))
                if "value" in message:
                    yield self._open(asked, message["value"])
                    self._put_away(child)
                    since = time.monotonic()
                if "end" in message:
                    break
        except TooSlow:
            self._bury()
            reason = f"took longer than {caps.seconds_for(declared):.0f} seconds to read"
            advice = " Raise SIGHTLINE_DECODER_SECONDS if the file is right."
        except (Died, Nonsense) as error:
            self._bury()
            reason, advice = _cause(error), ""
        else:
            self._asked.popleft()
            if message.get("grown"):
                child.kill()
                self._child = None
            _raise_error(message)
            return
        raise DecoderLost(f"{asked.call.name} {reason}; it was not imported.{advice}")

    def _ask_ahead(self) -> Child:
        """Send the next calls to a living decoder; a new one is asked again what the last one left open."""
        if self._child is None:
            self._child = take_child()
            for asked in self._asked:
                self._send(asked)
        while not self._asked or (len(self._asked) < CALLS_AHEAD and self._child.unsent < UNSENT_BYTES):
            following = next(self._calls, None)
            if following is None:
                break
            self._asked.append(following)
            self._send(following)
        if not self._asked:
            raise ValueError("answers() must be called once for each call, got one more.")
        return self._child

    def _send(self, asked: _Asked) -> None:
        assert self._child is not None  # noqa: S101 - made by _ask_ahead
        function = asked.call.function
        self._child.send(
            {
                "call": asked.number,
                "function": f"{function.__module__}:{function.__qualname__}",
                "arguments": [to_plain(argument, _no_array) for argument in asked.call.arguments],
                "name": asked.call.name,
                "folder": str(self._folder),
                "caps": vars(asked.caps),
            }
        )

    def _open(self, asked: _Asked, data: Any) -> Any:
        """Rebuild an answer, with its arrays opened from their files.

        Raises:
            Nonsense: when it is not what the function gives.
        """
        hint, _ = result_type(asked.call.function)
        try:
            return from_plain(hint, data, lambda name: self._load(name, asked.number))
        except (ValueError, OSError) as error:
            raise Nonsense from error

    def _load(self, name: str, number: int) -> Array:
        """Open an array that the decoder says it wrote for a call."""
        match = ARRAY_NAME.fullmatch(name)
        if match is None or int(match[1]) != number:
            raise ValueError(f"{name!r} is no array of call {number}.")
        path = self._folder / name
        array = _open_array(path)
        self.files.append(path)
        return array

    def _put_away(self, child: Child) -> None:
        """Remove what the reader left of an answer's files and let the decoder go on."""
        if self.files:
            for path in self.files:
                path.unlink(missing_ok=True)
            self.files = []
            child.send({"taken": True})

    def _bury(self) -> None:
        """End a decoder at fault, pass over the call it was at, remove what it wrote."""
        if self._child is not None:
            self._child.kill()
        self._child = None
        self._asked.popleft()
        self.files = []
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)

    def _believed(self, declared: Any) -> int:
        """Return how many bytes the decoder says it works on, within the limits."""
        if not isinstance(declared, int):
            raise Nonsense
        return min(declared, max(self._settings.max_image_bytes, self._settings.max_archive_bytes))


def _check_message(message: dict[str, Any], number: int) -> None:
    if message.get("call") != number or not message.keys() & {"end", "declared", "value"}:
        raise Nonsense


def _raise_error(message: dict[str, Any]) -> None:
    """Raise the error that a call ended with, if it did.

    Raises:
        SightlineError: of the kind that the decoder names, FileRefused when there is no such kind.
    """
    if "error" not in message:
        return
    kind = getattr(errors, str(message["error"]), FileRefused)
    if not (isinstance(kind, type) and issubclass(kind, SightlineError)):
        kind = FileRefused
    raise kind(printable(str(message.get("text", "")))[:MAX_TEXT])


def _cause(error: Exception) -> str:
    """Say why a decoder broke off."""
    code = error.code if isinstance(error, Died) else 0
    if code == -signal.SIGXCPU:
        return "took too much time to read"
    if code == -signal.SIGKILL:
        return "needs more memory than this computer has free"
    return "made its decoder break off, as files do that are damaged, too large for it or made to do harm"


def _open_array(path: Path) -> Array:
    """Open an ``.npy`` file whose writer is not trusted: a plain file of plain numbers, as long as it says.

    Raises:
        ValueError: when it is anything else.
        OSError: when it is not there, or a link.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise ValueError(f"{path.name} is no file.")
        np.lib.format.read_magic(file)
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        count = math.prod(shape)
        if is_fortran or dtype.kind not in PLAIN_KINDS or not dtype.isnative or min(shape, default=0) < 1:
            raise ValueError(f"{path.name} holds no plain array.")
        if state.st_size != file.tell() + count * dtype.itemsize:
            raise ValueError(f"{path.name} is not as long as it says.")
        if count * dtype.itemsize > SMALL_BYTES:
            return np.memmap(file, dtype, "r", file.tell(), shape)
        array = np.fromfile(file, dtype, count).reshape(shape)
    array.flags.writeable = False
    return array


def _no_array(array: Array) -> str:
    raise TypeError("the arguments of a call hold no arrays.")


def _remove_left_behind(work_dir: Path) -> None:
    """Remove the array folders of processes that were killed."""
    for folder in work_dir.glob(f"{FOLDER_PREFIX}*-*"):
        owner = folder.name.removeprefix(FOLDER_PREFIX).split("-")[0]
        with suppress(OSError):
            if owner.isdigit() and not psutil.pid_exists(int(owner)):
                shutil.rmtree(folder, ignore_errors=True)
