"""The files below a folder, whatever lies there: nothing is opened, nothing is followed out of it or in circles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}
MAX_DEPTH = 64
NO_FILE = "This is a pipe, a device, a socket or a link that leads nowhere; only files can be read."
FOLDER_LINK = "This is a link to a folder, which is not followed; add that folder itself."
TOO_DEEP = f"The folder lies more than {MAX_DEPTH} folders deep; move it up and add it again."


@dataclass(frozen=True)
class Passed:
    """Something that was passed over, with the reason in one sentence."""

    path: Path
    reason: str


def files_below(root: Path) -> Iterator[Path | Passed]:
    """Yield the files below a folder, those of each folder before its subfolders, sorted by name.

    Hidden files and those that systems leave behind are left out without a word.
    """
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted((entry for entry in listing if not is_clutter(entry.name)), key=_name)
        except OSError as error:
            yield Passed(folder, f"The folder cannot be opened ({error.strerror}).")
            continue
        folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                reason = why_no_file(Path(entry.path))
                yield Passed(Path(entry.path), reason) if reason else Path(entry.path)
        if depth >= MAX_DEPTH:
            yield from (Passed(path, TOO_DEEP) for path in folders)
        else:
            waiting += [(path, depth + 1) for path in reversed(folders)]


def why_no_file(path: Path) -> str:
    """Return "" for a file that can be opened, else why it cannot."""
    try:
        if path.is_file():
            return ""
        return FOLDER_LINK if path.is_dir() else NO_FILE
    except OSError as error:
        return f"This cannot be looked at ({error.strerror})."


def is_clutter(name: str) -> bool:
    """True for hidden files and for what systems leave behind."""
    return name.startswith(".") or name.lower() in CLUTTER


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
