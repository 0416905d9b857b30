"""A CSV table beside the images: which row belongs to which file, and what else it says of it."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import FileRefused
from core.readings.match import file_stem
from core.types import SPLITS

ROLES = ("file", "patient", "split", "label")
GUESSES: dict[str, tuple[str, ...]] = {
    "file": ("file", "filename", "file_name", "image", "image_id", "path", "id"),
    "patient": ("patient", "patient_id", "patientid", "subject", "participant_id"),
    "split": ("split", "subset", "partition"),
    "label": (),
}


@dataclass(frozen=True)
class Row:
    """What the table says of one file."""

    patient: str | None = None
    split: str | None = None
    label: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageTable:
    """Rows by file stem."""

    rows: dict[str, Row]

    def row_of(self, source: str) -> Row:
        """Return the row of a file (by the stem of its path), or an empty one."""
        return self.rows.get(file_stem(source), Row())


def read_table(path: Path, columns: dict[str, str] | None = None) -> ImageTable:
    """Read a CSV table.

    Args:
        path: a CSV file with a header line.
        columns: role ("file", "patient", "split", "label") to column name; usual names are found without it.

    Raises:
        FileRefused: when the file is not such a table; the sentence names the missing column.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = [name for name in (reader.fieldnames or []) if name]
            raw_rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileRefused(f"The table {path.name} cannot be read as CSV ({error}).") from error
    roles = _find_columns(header, columns or {}, path.name)
    rows: dict[str, Row] = {}
    for number, raw in enumerate(raw_rows, start=2):
        stem = file_stem((raw.get(roles["file"]) or "").strip())
        if stem:
            rows[stem] = _make_row(raw, roles, f"{path.name}, line {number}")
    return ImageTable(rows)


def _find_columns(header: list[str], given: dict[str, str], name: str) -> dict[str, str]:
    roles: dict[str, str] = {}
    for role, column in given.items():
        if role not in ROLES:
            raise FileRefused(f"Columns can be given for {', '.join(ROLES)}; {role!r} is none of them.")
        if column not in header:
            raise FileRefused(f"The table {name} has no column {column!r}; it has {', '.join(header)}.")
        roles[role] = column
    lower = {column.lower(): column for column in header}
    for role, guesses in GUESSES.items():
        found = next((lower[guess] for guess in guesses if guess in lower), None)
        if role not in roles and found:
            roles[role] = found
    if "file" not in roles:
        raise FileRefused(
            f"The table {name} has no column with file names; say which with --columns file=NAME "
            f"(it has {', '.join(header) or 'no header'})."
        )
    return roles


def _make_row(raw: dict[str, str | None], roles: dict[str, str], where: str) -> Row:
    def value(role: str) -> str | None:
        text = (raw.get(roles[role]) or "").strip() if role in roles else ""
        return text or None

    split = value("split")
    if split is not None and split not in SPLITS:
        raise FileRefused(f"The split must be one of {', '.join(SPLITS)}, got {split!r} ({where}).")
    used = set(roles.values())
    extra = {
        key: text.strip() for key, text in raw.items() if key and key not in used and text and text.strip()
    }
    return Row(value("patient"), split, value("label"), extra)
