"""Zip archives, unpacked member by member."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from pathlib import Path

from core.errors import FileRefused
from core.imaging.archive_members import CHUNK, DAMAGED, SAME_NAME, Budget, link_refused, new_file, target_of
from core.imaging.found import Skipped

MAGIC, EMPTY_MAGIC = b"PK\x03\x04", b"PK\x05\x06"


def unpack_zip_into(path: Path, into: Path, budget: Budget) -> list[Skipped]:
    """Unpack a zip archive into a folder that is there; returns the members that could not be.

    Raises:
        FileRefused: for paths that leave the folder, links, passwords, sizes past the limits.
    """
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
    target = target_of(member.filename, into, name)
    if stat.S_ISLNK(member.external_attr >> 16):
        raise link_refused(name)
    if member.flag_bits & 0x1:
        raise FileRefused(f"{name} is protected by a password; unpack it first.")
    return target


def _write_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, budget: Budget) -> str:
    """Write one member and return "", or the reason why it was left out."""
    with new_file(target) as file:
        if file is None:
            return SAME_NAME
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
    return DAMAGED
