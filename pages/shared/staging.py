"""Uploads on their way in: written to disk at once under names of our own. No Streamlit in here.

A staging folder ``HOME/staging/<id>`` holds ``images``, ``masks``, ``table`` and a list of what each file was
called by the person who sent it. Names that came with a file are text for the screen, never a path.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from core.errors import LabelError, StorageError

Kind = Literal["images", "masks", "table"]
KINDS: tuple[Kind, ...] = ("images", "masks", "table")
KEEP_DAYS = 7.0
MANIFEST = "files.jsonl"
# Endings tell a reader what to try; everything else is decided by the bytes.
ENDINGS = (
    ".nii.gz", ".nii", ".dcm", ".dicom", ".ima", ".zip", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp",
    ".csv", ".json", ".xml", ".txt", ".yaml", ".yml",
)  # fmt: skip
_ID = re.compile(r"[0-9a-f]{24}")


class Upload(NamedTuple):
    """One file as the browser sent it."""

    name: str
    stream: BinaryIO


@dataclass(frozen=True)
class StagedFile:
    """One file that lies in a staging folder. ``display`` is what its sender called it."""

    kind: Kind
    stored: str
    display: str
    n_bytes: int


class Staging:
    """One import in preparation."""

    def __init__(self, home: Path, number: str | None = None) -> None:
        if number is None or not _ID.fullmatch(number):
            number = secrets.token_hex(12)
        self.id = number
        self.folder = home / "staging" / number

    def add(self, kind: Kind, uploads: Iterable[Upload]) -> None:
        """Write uploads to disk under generated names and note what they were called.

        Raises:
            StorageError: when the disk is full; the file that did not fit is not listed.
        """
        target = self.folder / kind
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        first = len(self.files()) + 1
        for number, upload in enumerate(uploads, start=first):
            stored = f"{kind[0]}{number:06d}{ending_of(upload.name)}"
            path = target / stored
            try:
                with open(path, "wb") as file:
                    shutil.copyfileobj(upload.stream, file, 2**20)
                    n_bytes = file.tell()
            except OSError as error:
                path.unlink(missing_ok=True)
                raise StorageError(
                    f"The upload could not be stored ({error.strerror}). Free some disk space and try again."
                ) from error
            self._note(StagedFile(kind, stored, display_name(upload.name), n_bytes))

    def _note(self, staged: StagedFile) -> None:
        with open(self.folder / MANIFEST, "a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(staged)) + "\n")

    def files(self, kind: Kind | None = None) -> list[StagedFile]:
        """Return what lies here, in the order it came."""
        path = self.folder / MANIFEST
        if not path.is_file():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [StagedFile(**json.loads(line)) for line in lines if line]
        return [staged for staged in found if kind is None or staged.kind == kind]

    def path_of(self, staged: StagedFile) -> Path:
        """Return where a staged file lies."""
        return self.folder / staged.kind / staged.stored

    def display_names(self) -> dict[str, str]:
        """Return stored file name -> the name its sender gave it."""
        return {staged.stored: staged.display for staged in self.files()}

    def labels_path(self) -> Path | None:
        """Return what the import should take masks from: the one zip, else the folder; None without masks."""
        masks = self.files("masks")
        if not masks:
            return None
        return self.path_of(masks[0]) if len(masks) == 1 else self.folder / "masks"

    def discard(self) -> None:
        """Delete everything in here."""
        shutil.rmtree(self.folder, ignore_errors=True)


def ending_of(name: str) -> str:
    """Return a known file ending of a name, in lower case; empty for any other."""
    lowered = name.lower()
    return next((ending for ending in ENDINGS if lowered.endswith(ending)), "")


def display_name(name: str) -> str:
    """Return the last part of a sent name without control characters, at most 200 characters."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(character for character in last if character.isprintable()).strip()
    return kept[-200:] or "unnamed"


def remove_old(home: Path, now: float | None = None) -> None:
    """Delete staging folders that nobody touched for a week."""
    limit = (now or time.time()) - KEEP_DAYS * 86400
    folder = home / "staging"
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False) and entry.stat().st_mtime < limit:
            shutil.rmtree(entry.path, ignore_errors=True)


def parse_label_map(text: str) -> dict[str, str] | None:
    """Read "1=nerve, 2=vessel" or "any=nucleus"; None for nothing.

    Raises:
        LabelError: when a part is not ``number=label`` or ``any=label``.
    """
    parts = [part.strip() for part in re.split(r"[,\n;]", text) if part.strip()]
    pairs: dict[str, str] = {}
    for part in parts:
        value, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not name or not (value == "any" or value.isdecimal()):
            raise LabelError(f"The label map needs parts such as 1=nerve or any=nucleus, got {part!r}.")
        if value in pairs:
            raise LabelError(f"The value {value} stands twice in the label map.")
        pairs[value] = name
    return pairs or None
