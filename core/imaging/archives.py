"""Zip archives, unpacked as if somebody meant harm: paths, links, counts and sizes are all checked."""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import FileRefused, StorageError
from core.imaging.found import Skipped
from core.imaging.limits import announce, check_ratio, readable_size
from core.settings import Settings

CHUNK = 2**20
# Blank images deflate up to 1032:1; a whole archive at 200:1 holds nothing worth importing.
ARCHIVE_MAX_RATIO = 200
ARCHIVE_HARMLESS_BYTES = 2**28
MEMBER_BYTES = 2**14  # making a file takes as long as writing so many bytes
ZIP_MAGIC = b"PK\x03\x04"


@dataclass
class Budget:
    """What may still be unpacked; shared by an archive and the archives inside it."""

    settings: Settings
    name: str
    members: int = 0
    written: int = 0
    packed: int = 0

    def count_members(self, more: int) -> None:
        """Refuse when the members are too many."""
        self.members += more
        if self.members > self.settings.max_archive_members:
            raise FileRefused(
                f"{self.name} holds more than {self.settings.max_archive_members} files; split it into parts."
            )

    def count_bytes(self, more: int) -> None:
        """Refuse when the unpacked bytes are too many, or too many for what was packed."""
        self.written += more
        if self.written > self.settings.max_archive_bytes:
            limit = readable_size(self.settings.max_archive_bytes)
            raise FileRefused(f"{self.name} unpacks to more than the limit of {limit}; split it into parts.")
        check_ratio(self.written, self.packed, ARCHIVE_MAX_RATIO, self.name, ARCHIVE_HARMLESS_BYTES)
        announce(self.written + MEMBER_BYTES * self.members)


@dataclass(frozen=True)
class Unpacked:
    """The folder an archive went to, and the members that could not be unpacked."""

    folder: Path
    skipped: tuple[Skipped, ...] = field(default_factory=tuple)


def is_zip(path: Path) -> bool:
    """True when the file begins as a zip archive does, or is an empty one."""
    with open(path, "rb") as file:
        start = file.read(4)
    return start in (ZIP_MAGIC, b"PK\x05\x06")


def unpack_zip(path: Path, into: Path, settings: Settings) -> Unpacked:
    """Unpack an archive, and archives inside it once, into an empty folder.

    Args:
        path: the archive.
        into: folder to be made; nothing is ever written outside it.
        settings: limits on members, bytes and ratio, held while unpacking whatever the archive declares.

    Raises:
        FileRefused: for paths that leave the folder, links, passwords, sizes past the limits; nothing stays.
        StorageError: when the disk is full; nothing stays.
    """
    budget = Budget(settings, path.name)
    into.mkdir(parents=True)
    try:
        skipped = _unpack(path, into, budget)
        for inner in sorted(item for item in into.rglob("*") if item.is_file() and is_zip(item)):
            skipped += _unpack_inner(inner, into, budget)
    except BaseException as error:
        shutil.rmtree(into, ignore_errors=True)
        if isinstance(error, OSError):
            raise StorageError(
                f"{path.name} could not be unpacked ({error.strerror}); check the disk."
            ) from error
        raise
    return Unpacked(into, tuple(skipped))


def _unpack_inner(inner: Path, root: Path, budget: Budget) -> list[Skipped]:
    """Replace an archive inside the archive by a folder of the same name."""
    packed = inner.with_name(f"{inner.name}.packed")
    shown = inner.relative_to(root).as_posix()
    inner.rename(packed)
    inner.mkdir()
    try:
        found = _unpack(packed, inner, budget)
    finally:
        packed.unlink()
    return [Skipped(f"{shown}/{item.source}", item.reason) for item in found]


def _unpack(path: Path, into: Path, budget: Budget) -> list[Skipped]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, UnicodeError) as error:
        raise FileRefused(f"{path.name} is not a whole zip archive; make it again.") from error
    with archive:
        members = archive.infolist()
        budget.count_members(len(members))
        budget.packed += path.stat().st_size
        targets = [(member, _target(member, into, budget.name)) for member in members]
        skipped = []
        for member, target in targets:
            if target is not None and not member.is_dir():
                reason = _write_member(archive, member, target, budget)
                skipped += [Skipped(target.relative_to(into).as_posix(), reason)] if reason else []
    return skipped


def _target(member: zipfile.ZipInfo, into: Path, name: str) -> Path | None:
    """Return where a member goes, None for the folder itself; refuse the archive when that lies elsewhere."""
    raw = member.filename.replace("\\", "/")
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    if raw.startswith("/") or ".." in parts or any(":" in part or "\0" in part for part in parts):
        raise FileRefused(f"{name} holds a path that leads out of the archive; it was not unpacked.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise FileRefused(f"{name} holds a link to another file; pack the files themselves.")
    if member.flag_bits & 0x1:
        raise FileRefused(f"{name} is protected by a password; unpack it first.")
    if any(len(part.encode(errors="replace")) > 200 for part in parts) or len(parts) > 40:
        raise FileRefused(f"{name} holds a file name that is too long; shorten it and pack again.")
    return into.joinpath(*parts) if parts else None


def _write_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, budget: Budget) -> str:
    """Write one member and return "", or the reason why it was left out."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = open(target, "xb")  # noqa: SIM115 - closed below; opening has errors of its own
    except (FileExistsError, NotADirectoryError):
        return "two members of the archive have the same name; the first was kept."
    with file:
        try:
            with archive.open(member) as stream:
                while chunk := stream.read(CHUNK):
                    budget.count_bytes(len(chunk))
                    file.write(chunk)
            return ""
        except OSError as error:
            if error.errno is not None:  # the disk; bzip2 reports damage as an OSError without a number
                raise
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError):
            pass
    target.unlink()
    return "this member of the archive is damaged or packed in an unknown way."
