"""What tables of labels share: CSV with a header whose columns have several usual names, row by row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.errors import FileRefused
from core.readings.export import FORMULA_STARTS
from core.readings.objects import MAX_OBJECTS

Synonyms = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Columns:
    """The columns of a kind of table.

    Attributes:
        synonyms: column -> the names it may have, in lower case.
        needed: columns without which it is another file.
    """

    synonyms: Synonyms
    needed: tuple[str, ...]

    def places(self, header: list[str]) -> dict[str, int]:
        """Return column -> its place in a header."""
        lowered = [cell.strip().lower() for cell in header]
        found = {}
        for column, names in self.synonyms.items():
            place = next((lowered.index(name) for name in names if name in lowered), None)
            if place is not None:
                found[column] = place
        return found


def header_of(text: str) -> list[str]:
    """Return the cells of a text's first line."""
    first = text.split("\n", 1)[0]
    return next(csv.reader([first], delimiter=_delimiter(first)), [])


def table_rows(text: str, name: str, columns: Columns) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (number of the row, column -> text) for each row under the header.

    Raises:
        FileRefused: when a needed column is missing, or it is no CSV, or too long.
    """
    try:
        rows = csv.reader(io.StringIO(text), delimiter=_delimiter(text.split("\n", 1)[0]))
        places = columns.places(next(rows, []))
        missing = [column for column in columns.needed if column not in places]
        if missing:
            needed = ", ".join(columns.needed)
            raise FileRefused(f"The table {name} has no column {missing[0]}; it needs {needed}.")
        for number, row in enumerate(rows, start=2):
            if number > MAX_OBJECTS:
                raise FileRefused(f"{name} has more than {MAX_OBJECTS:,} rows; split it.")
            yield number, {column: row[at].strip() if at < len(row) else "" for column, at in places.items()}
    except csv.Error as error:
        raise FileRefused(f"The table {name} cannot be read as CSV ({error}).") from error


def own_text(cell: str) -> str:
    """Take off the apostrophe that ``safe_cell`` put before text that looks like a formula."""
    return cell[1:] if cell.startswith("'") and cell[1:].lstrip(" ").startswith(FORMULA_STARTS) else cell


def _delimiter(line: str) -> str:
    return max((",", ";", "\t"), key=line.count)
