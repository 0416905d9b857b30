"""Uploads on their way in: written to disk at once under names of our own. No Streamlit in here.

A staging folder ``HOME/staging/<id>`` holds ``images``, ``masks``, ``table`` and a list of what each file was
called by the person who sent it. Names that came with a file are text for the screen, never a path.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from core.errors import LabelError, StorageError
from core.imaging.formats import ARCHIVE_SUFFIXES, COMPANIONS, SUFFIXES

Kind = Literal["images", "masks", "table"]
KINDS: tuple[Kind, ...] = ("images", "masks", "table")
MANIFEST = "files.jsonl"
LABEL_ENDINGS = (".csv", ".json", ".xml", ".txt", ".yaml", ".yml")
# Endings tell a reader what to try; everything else is decided by the bytes.
ENDINGS = tuple(
    sorted(
        {
            *LABEL_ENDINGS,
            *ARCHIVE_SUFFIXES,
            *COMPANIONS,
            *(ending for endings in SUFFIXES.values() for ending in endings),
        },
        key=len,
        reverse=True,
    )
)
# Files that belong together by their names, such as brain.hdr and brain.img, get the same number.
PAIRED = (*COMPANIONS, *(ending for endings in COMPANIONS.values() for ending in endings))
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
        pairs = dict(pair for staged in self.files(kind) for pair in _pair_of(staged.display, staged.stored))
        for number, upload in enumerate(uploads, start=first):
            stored = f"{kind[0]}{number:06d}{ending_of(upload.name)}"
            for stem, own in _pair_of(display_name(upload.name), stored):
                other = f"{pairs.setdefault(stem, own)}{ending_of(upload.name)}"
                stored = stored if (target / other).exists() else other
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


def _pair_of(display: str, stored: str) -> Iterator[tuple[str, str]]:
    """Yield (what its sender called it, what it is stored as), both without their ending, for one file of a pair."""
    ending = ending_of(display)
    if ending in PAIRED:
        yield display[: -len(ending)], stored[: -len(ending)]


def display_name(name: str) -> str:
    """Return the last part of a sent name without control characters, at most 200 characters."""
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(character for character in last if character.isprintable()).strip()
    return kept[-200:] or "unnamed"


def own_name(place: str, names: list[str]) -> str:
    """Return what the person who uploaded calls a skipped file, which the job only knows by its place.

    Args:
        place: "file 3 (.dcm)" or "item 2, file 7"; any other name is returned as it is.
        names: the uploaded files in their order; only this session knows them.
    """
    match = re.fullmatch(r"(?:file|item) (\d+)(?:, (file \d+))?(?: \(\S+\))?", place)
    if match is None or not names:
        return place
    number, inner = int(match.group(1)), match.group(2)
    if len(names) == 1 and names[0].lower().endswith(".zip"):
        number, inner = 1, f"file {number}"
    if number > len(names):
        return place
    return f"{names[number - 1]}, {inner}" if inner else names[number - 1]


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
