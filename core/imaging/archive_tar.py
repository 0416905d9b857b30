"""Tar archives, packed or not, and single files packed with gzip, bzip2 or xz; read once, from start to end.

Headers are read here and not by ``tarfile``, which takes a name of gigabytes into memory when an archive has one.

Source: POSIX.1-2017, pax (ustar and pax formats); GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

from core.errors import FileRefused
from core.imaging.archive_members import (
    CHUNK,
    MAX_NAME_BYTES,
    PACKED,
    SAME_NAME,
    Budget,
    link_refused,
    new_file,
    target_of,
)
from core.imaging.found import Skipped

BLOCK = 512
GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
MAX_HEADER_BYTES = 2**20  # a long name, or the further facts of a member
XZ_MEMORY_BYTES = 2**27  # xz -9 needs 65 MB
FILES, FOLDERS = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE), (tarfile.DIRTYPE,)
LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
FACTS, FACTS_FOR_ALL = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE), (tarfile.XGLTYPE,)
LONG_NAME, LONG_LINK = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
DAMAGE = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, gzip.BadGzipFile)


class Stream(Protocol):
    """What gives bytes, unpacked."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes; nothing at the end."""
        ...


class _XzStream:
    """An xz stream whose unpacking takes no more memory than allowed, which lzma.LZMAFile cannot promise."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._unpacker = lzma.LZMADecompressor(memlimit=XZ_MEMORY_BYTES)

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; nothing at the end."""
        while True:
            if self._unpacker.eof:
                rest = self._unpacker.unused_data.lstrip(b"\0") or self._file.read(CHUNK).lstrip(b"\0")
                if not rest:
                    return b""
                self._unpacker = lzma.LZMADecompressor(memlimit=XZ_MEMORY_BYTES)
            else:
                rest = self._file.read(CHUNK) if self._unpacker.needs_input else b""
                if not rest and self._unpacker.needs_input:
                    raise EOFError
            if out := self._unpacker.decompress(rest, size):
                return out


UNPACKERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    GZIP: lambda file: gzip.GzipFile(fileobj=file),
    BZIP2: bz2.BZ2File,
    XZ: _XzStream,
}


def unpacker_of(start: bytes) -> Callable[[IO[bytes]], Any] | None:
    """Return what unpacks a file that begins so; None when it is not packed."""
    return next((unpack for magic, unpack in UNPACKERS.items() if start.startswith(magic)), None)


def begins_as_tar(block: bytes) -> bool:
    """True when a block is the header of a tar member: its check sum is right."""
    try:
        return len(block) == BLOCK and bool(tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape"))
    except tarfile.HeaderError:
        return False


def first_block(path: Path) -> bytes:
    """Return the first block of a file, unpacked if it is packed; less when there is less, or damage."""
    with open(path, "rb") as file:
        unpack = unpacker_of(file.read(6))
        file.seek(0)
        try:
            return _Blocks(unpack(file) if unpack else file).read(BLOCK)
        except (*DAMAGE, OSError):
            return b""


class _Blocks:
    """Reads whole lengths of a stream, and counts them."""

    def __init__(self, stream: Stream, budget: Budget | None = None) -> None:
        self._stream = stream
        self._budget = budget

    def read(self, size: int) -> bytes:
        """Return so many bytes, less at the end."""
        parts: list[bytes] = []
        while size > 0 and (chunk := self._stream.read(min(size, CHUNK))):
            parts.append(chunk)
            size -= len(chunk)
            if self._budget is not None:
                self._budget.count_bytes(len(chunk))
        return b"".join(parts)

    def read_all(self, size: int) -> bytes:
        """Return so many bytes and pass over what fills the block up.

        Raises:
            EOFError: when they are not there.
        """
        data = self.read(size)
        if len(data) < size or len(self.read(-size % BLOCK)) < -size % BLOCK:
            raise EOFError
        return data


def unpack_tar_into(path: Path, into: Path, budget: Budget) -> list[Skipped]:
    """Unpack a tar archive into a folder that is there; returns the members that could not be.

    Raises:
        FileRefused: for paths that leave the folder, links, devices, damage, sizes past the limits.
    """
    budget.packed += path.stat().st_size
    with open(path, "rb") as file:
        unpack = unpacker_of(file.read(6))
        file.seek(0)
        try:
            return _unpack_members(_Blocks(unpack(file) if unpack else file, budget), into, budget)
        except DAMAGE as error:
            raise _not_whole(path) from error
        except OSError as error:
            if error.errno is not None:  # the disk; bzip2 reports damage as an OSError without a number
                raise
            raise _not_whole(path) from error


def unpack_one_into(path: Path, into: Path, budget: Budget) -> list[Skipped]:
    """Unpack a single packed file into a folder that is there.

    Raises:
        FileRefused: for damage and sizes past the limits.
    """
    budget.packed += path.stat().st_size
    budget.count_members(1)
    target = target_of(_inner_name(path), into, budget.name) or into / "file"
    with open(path, "rb") as file, new_file(target) as out:
        unpack = unpacker_of(file.read(6))
        file.seek(0)
        if unpack is None or out is None:
            raise _not_whole(path)
        stream = _Blocks(unpack(file), budget)
        try:
            while chunk := stream.read(CHUNK):
                out.write(chunk)
        except DAMAGE as error:
            raise _not_whole(path) from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise _not_whole(path) from error
    return []


def _not_whole(path: Path) -> FileRefused:
    return FileRefused(f"{path.name} is damaged or cut short and was not unpacked; make it again.")


def _inner_name(path: Path) -> str:
    """Return the packed file's own name, as gzip keeps it; else the name of the archive without its ending."""
    with open(path, "rb") as file:
        head = file.read(BLOCK)
    if head.startswith(GZIP) and head[3:4] == b"\x08":  # a name and nothing else before the data (RFC 1952)
        name = head[10:].split(b"\0")[0].decode("latin-1").replace("\\", "/").rpartition("/")[2]
        if (
            name.isprintable()
            and 0 < len(name) <= MAX_NAME_BYTES // 2
            and name not in (".", "..")
            and ":" not in name
        ):
            return name
    return Path(path.name.removesuffix(PACKED)).stem


def _unpack_members(blocks: _Blocks, into: Path, budget: Budget) -> list[Skipped]:
    skipped: list[Skipped] = []
    facts_for_all: dict[str, str] = {}
    facts: dict[str, str] = {}
    while (block := blocks.read(BLOCK)) != bytes(BLOCK):
        member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if member.type in (*FACTS, *FACTS_FOR_ALL, LONG_NAME, LONG_LINK):
            read = _read_facts(blocks, member, budget.name)
            (facts_for_all if member.type in FACTS_FOR_ALL else facts).update(read)
            continue
        known = facts_for_all | facts
        facts = {}
        budget.count_members(1)
        _refuse_others(member, known, budget.name)
        size = int(known.get("size", member.size))
        if size < 0:
            raise ValueError(size)
        target = target_of(known.get("path", member.name), into, budget.name)
        if member.type in FILES and target is not None:
            skipped += _write_member(blocks, size, target, into)
    return skipped


def _read_facts(blocks: _Blocks, member: tarfile.TarInfo, name: str) -> dict[str, str]:
    """Return what an extra header says of the next member (or of all): its path, its size."""
    if not 0 <= member.size <= MAX_HEADER_BYTES:
        raise FileRefused(f"{name} holds a file name that is too long; shorten it and pack again.")
    data = blocks.read_all(member.size)
    if member.type == LONG_NAME:
        return {"path": data.split(b"\0")[0].decode("utf-8", "surrogateescape")}
    return {} if member.type == LONG_LINK else _pax_records(data)


def _pax_records(data: bytes) -> dict[str, str]:
    """Read records "LENGTH KEY=VALUE" (POSIX.1-2017, pax Extended Header)."""
    found: dict[str, str] = {}
    while data.strip(b"\0"):
        length, blank, _ = data.partition(b" ")
        if not blank or not length.isdigit() or not len(length) + 1 < int(length[:10]) <= len(data):
            raise ValueError("no pax record")
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[int(length) :]
    return found


def _refuse_others(member: tarfile.TarInfo, facts: dict[str, str], name: str) -> None:
    if member.type in LINKS:
        raise link_refused(name)
    is_sparse = member.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in facts)
    if is_sparse or member.type not in (*FILES, *FOLDERS):
        raise FileRefused(f"{name} holds a device, a sparse file or another thing that is no plain file.")


def _write_member(blocks: _Blocks, size: int, target: Path, into: Path) -> list[Skipped]:
    with new_file(target) as file:
        left = size
        while left > 0:
            chunk = blocks.read(min(left, CHUNK))
            if not chunk:
                raise EOFError
            if file is not None:
                file.write(chunk)
            left -= len(chunk)
        if len(blocks.read(-size % BLOCK)) < -size % BLOCK:
            raise EOFError
        return [] if file is not None else [Skipped(target.relative_to(into).as_posix(), SAME_NAME)]
