"""What all archives share: where a member may go, and how much may still be unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core.errors import FileRefused
from core.imaging.limits import announce, check_ratio, readable_size
from core.settings import Settings

CHUNK = 2**20
# Blank images deflate up to 1032:1; a whole archive at 200:1 holds nothing worth importing.
ARCHIVE_MAX_RATIO = 200
ARCHIVE_HARMLESS_BYTES = 2**28
MEMBER_BYTES = 2**14  # making a file takes as long as writing so many bytes
MAX_NAME_BYTES, MAX_DEPTH = 200, 40
PACKED = ".packed"  # ending of an inner archive while it is unpacked
SAME_NAME = "two members of the archive have the same name; the first was kept."
DAMAGED = "this member of the archive is damaged or packed in an unknown way."


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


def target_of(member: str, into: Path, name: str) -> Path | None:
    """Return where a member goes, None for the folder itself.

    Args:
        member: the path that the archive gives.
        into: the folder that all goes to.
        name: what to call the archive in a sentence.

    Raises:
        FileRefused: when the path leads elsewhere.
    """
    raw = member.replace("\\", "/")
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    if raw.startswith("/") or ".." in parts or any(":" in part or "\0" in part for part in parts):
        raise FileRefused(f"{name} holds a path that leads out of the archive; it was not unpacked.")
    if len(parts) > MAX_DEPTH or any(len(part.encode(errors="replace")) > MAX_NAME_BYTES for part in parts):
        raise FileRefused(f"{name} holds a file name that is too long; shorten it and pack again.")
    return into.joinpath(*parts) if parts else None


def link_refused(name: str) -> FileRefused:
    """Return the refusal of an archive with links: what they lead to is not in the archive."""
    return FileRefused(f"{name} holds a link to another file; pack the files themselves.")


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes] | None]:
    """Open a member's file for writing; None when there is one of that name (or of the same letters, on some disks)."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = open(target, "xb")  # noqa: SIM115 - closed below; opening has errors of its own
    except (FileExistsError, NotADirectoryError):
        yield None
        return
    with file:
        yield file
