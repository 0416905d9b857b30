"""Bare numbers behind or beside a text header, as NRRD and MetaImage keep them: checked, unpacked, read."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from core.errors import FileRefused
from core.imaging.limits import (
    CODEC_MAX_RATIO,
    DEFLATE_MAX_RATIO,
    check_declared_size,
    check_ratio,
    declared_bytes,
)
from core.settings import Settings
from core.types import Array

Encoding = Literal["raw", "gzip", "bzip2", "zlib", "text"]
CHUNK = 2**20
HARMLESS_BYTES = 2**20
TEXT_BYTES_PER_VALUE = 64
MAX_HEADER_BYTES = 2**20
MAX_FILES = 100_000
FROM_END = -1


@dataclass(frozen=True)
class RawValues:
    """Where a header says that its values lie.

    Attributes:
        name: what to call the file in a sentence.
        files: one or more files that hold equal parts of the values, in order.
        shape: all axes, the fastest first.
        dtype: of the stored values, with their byte order.
        encoding: how they are packed.
        start: first byte in each file; ``FROM_END``: the values are the last bytes.
        skip_lines: lines to pass over from there.
        skip_bytes: bytes to pass over then, once unpacked.
    """

    name: str
    files: tuple[Path, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    encoding: Encoding = "raw"
    start: int = 0
    skip_lines: int = 0
    skip_bytes: int = 0


def read_raw(raw: RawValues, settings: Settings) -> Array:
    """Return the values as an array of the header's shape, the first axis the fastest, in native byte order.

    Raises:
        FileRefused: over the limits, or the files hold less than the header says.
    """
    check_declared_size(raw.shape, max(raw.dtype.itemsize, 2), raw.name, settings)
    count = int(np.prod(raw.shape, dtype=object))
    if count % len(raw.files):
        raise FileRefused(
            f"{raw.name} spreads its values unevenly over {len(raw.files)} files; it is damaged."
        )
    each = count // len(raw.files)
    for file in raw.files:
        _check_file(raw, file, each)
    values = np.empty(count, raw.dtype)
    for number, file in enumerate(raw.files):
        part = values[number * each : (number + 1) * each]
        _read_text(raw, file, part) if raw.encoding == "text" else _read_binary(raw, file, part)
    values = values.astype(raw.dtype.newbyteorder("="), copy=False)
    return values.reshape(raw.shape, order="F")


def find_beside(header: Path, named: str) -> Path:
    """Return the file that a header names, which must lie in the header's own folder.

    The name is looked up among the files that are there, never made into a path. A file of the header's own name
    with the ending of the one named does as well, for data that was renamed along with its header.

    Raises:
        FileRefused: when there is no such file.
    """
    wanted = named.replace("\\", "/").rpartition("/")[2].strip()
    there = {path.name: path for path in header.parent.iterdir() if path.is_file()}
    endings = [wanted[at:] for at, character in enumerate(wanted) if character == "."]
    own = [f"{header.stem}{ending}" for ending in endings]
    found = next((there[name] for name in (wanted, *own) if name in there), None)
    if found is None or found == header:
        raise FileRefused(f"{header.name} needs {wanted or 'a data file'} beside it; add both files.")
    return found


def find_all_beside(header: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Return the files that a header lists, all of its own folder; see ``find_beside``."""
    if not 0 < len(names) <= MAX_FILES:
        raise FileRefused(f"{header.name} names {len(names)} data files; it is damaged.")
    there = {path.name: path for path in header.parent.iterdir() if path.is_file()}
    missing = next((name for name in names if name not in there), None)
    if missing is not None:
        raise FileRefused(f"{header.name} needs {missing} beside it; add all of its files.")
    return tuple(there[name] for name in names)


def numbered_names(header: Path, pattern: str, first: int, last: int, step: int) -> list[str]:
    """Write out a list of names given as ``slice%03d.raw 1 30 1``.

    Raises:
        FileRefused: when the pattern is no such pattern.
    """
    before, percent, rest = pattern.partition("%")
    digits, is_decimal, after = rest.partition("d")
    wide = digits.isdecimal() or not digits
    if not (percent and is_decimal and wide) or "%" in after or step == 0 or abs(last - first) > MAX_FILES:
        raise FileRefused(
            f"{header.name} names its data files as {pattern[:100]!r}, which lists none; it is damaged."
        )
    width = min(int(digits or 0), 20)
    numbers = range(first, last + (1 if step > 0 else -1), step)
    return [
        f"{before}{number:0{width}d}{after}" if width else f"{before}{number}{after}" for number in numbers
    ]


def _check_file(raw: RawValues, file: Path, count: int) -> None:
    """Refuse a file that cannot hold so many values, before anything is unpacked."""
    declared = declared_bytes((count,), raw.dtype.itemsize)
    size = file.stat().st_size
    if raw.encoding == "raw" and declared > size - max(raw.start, 0):
        raise FileRefused(f"{raw.name} is cut short: its header declares {declared} bytes, {size} are there.")
    if raw.encoding == "text" and 2 * count - 1 > size:
        raise FileRefused(f"{raw.name} is cut short: its header declares {count} numbers in {size} bytes.")
    if raw.encoding in ("gzip", "zlib"):
        check_ratio(declared, size, DEFLATE_MAX_RATIO, raw.name, HARMLESS_BYTES)
    if raw.encoding == "bzip2":
        check_ratio(declared, size, CODEC_MAX_RATIO, raw.name)


@contextmanager
def _unpacked(raw: RawValues, path: Path, n_bytes: int) -> Iterator[IO[bytes]]:
    """Open a data file at its first value."""
    with open(path, "rb") as file:
        file.seek(path.stat().st_size - n_bytes if raw.start == FROM_END else raw.start)
        for _ in range(raw.skip_lines):
            file.readline(MAX_HEADER_BYTES)
        stream: Any = OPENERS[raw.encoding](file)
        skipped = 0
        while skipped < raw.skip_bytes and (chunk := stream.read(min(CHUNK, raw.skip_bytes - skipped))):
            skipped += len(chunk)
        yield stream


def _read_binary(raw: RawValues, path: Path, into: Array) -> None:
    view = memoryview(into).cast("B")
    with _unpacked(raw, path, len(view)) as stream:
        filled = 0
        while filled < len(view) and (chunk := stream.read(min(CHUNK, len(view) - filled))):
            view[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
    if filled < len(view):
        raise FileRefused(f"{raw.name} is cut short: {filled} of {len(view)} bytes of its values are there.")


def _read_text(raw: RawValues, path: Path, into: Array) -> None:
    with _unpacked(raw, path, 0) as stream:
        words = stream.read(len(into) * TEXT_BYTES_PER_VALUE).split()
    if len(words) < len(into):
        raise FileRefused(f"{raw.name} is cut short: {len(words)} of {len(into)} numbers are there.")
    into[:] = np.array(words[: len(into)]).astype(np.float64 if into.dtype.kind == "f" else np.int64)


class _ZlibStream(BufferedIOBase):
    """A zlib stream, unpacked only as far as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._unpacker = zlib.decompressobj()
        self._packed = b""

    def read(self, size: int | None = -1) -> bytes:
        """Return at most ``size`` bytes; nothing at the end."""
        while not self._unpacker.eof:
            packed = self._packed or self._file.read(CHUNK)
            out = self._unpacker.decompress(packed, max(size or 0, 0))
            self._packed = self._unpacker.unconsumed_tail
            if out or not packed:
                return out
        return b""


OPENERS: dict[Encoding, Callable[[IO[bytes]], Any]] = {
    "raw": lambda file: file,
    "text": lambda file: file,
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": bz2.BZ2File,
    "zlib": _ZlibStream,
}
