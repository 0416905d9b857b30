"""A CSV table of boxes: one row per box; from and to files.

Columns: file, label, left, top, right, bottom, and perhaps score and slice (counted from 1). Corners are continuous
pixels from 0. A row with a file and nothing else is an image without objects. Tables with the usual other names of
these columns are read as well (filename, class, xmin, ymin, xmax, ymax).
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from core.readings.export import safe_cell
from core.readings.label_table import Columns, header_of, own_text, table_rows
from core.readings.objects import (
    FileImage,
    FileObject,
    LabelFile,
    Problem,
    as_number,
    number_text,
    read_label_text,
)

COLUMNS = ("file", "label", "left", "top", "right", "bottom", "score", "slice")
CORNERS = ("left", "top", "right", "bottom")
SYNONYMS: dict[str, tuple[str, ...]] = {
    "file": ("file", "filename", "file_name", "image", "image_name", "image_id", "path", "case"),
    "label": ("label", "class", "category", "class_name", "name"),
    "left": ("left", "xmin", "x_min", "x1"),
    "top": ("top", "ymin", "y_min", "y1"),
    "right": ("right", "xmax", "x_max", "x2"),
    "bottom": ("bottom", "ymax", "y_max", "y2"),
    "score": ("score", "confidence", "conf", "probability"),
    "slice": ("slice", "frame"),
}
NEEDED = ("file", "label", *CORNERS)
TABLE = Columns(SYNONYMS, NEEDED)


def is_box_table(text: str) -> bool:
    """Tell by its first line whether a text is a table of boxes."""
    return set(NEEDED) <= set(TABLE.places(header_of(text)))


def read_box_table(path: Path, name: str) -> LabelFile:
    """Read a table of boxes. What cannot be used is named, the rest comes in.

    Raises:
        FileRefused: when it has not the columns of one.
    """
    found, objects = LabelFile(), defaultdict[tuple[str, int | None], list[FileObject]](list)
    for number, cells in table_rows(read_label_text(path, name), name, TABLE):
        _take_row(cells, (name, number), (objects, found.problems))
    found.images = [
        FileImage(file, name, tuple(boxes), plane=plane) for (file, plane), boxes in objects.items()
    ]
    return found


def _take_row(
    cells: dict[str, str],
    at: tuple[str, int],
    into: tuple[dict[tuple[str, int | None], list[FileObject]], list[Problem]],
) -> None:
    objects, problems = into
    file, where = own_text(cells["file"]), f"row {at[1]}"
    if not any(cells.values()):
        return
    plane = as_number(cells.get("slice", "") or "0")
    corners = [as_number(cells[corner]) for corner in CORNERS]
    score = as_number(cells["score"]) if cells.get("score") else None
    empty = not any(cells[column] for column in NEEDED[1:])
    reason = None
    if not file:
        reason = "It names no file."
    elif plane is None or plane < 0 or plane != int(plane):
        reason = "Its slice must be a whole number from 1."
    elif not empty and (not cells["label"] or any(corner is None for corner in corners)):
        reason = "It needs a label and four finite numbers: left, top, right, bottom."
    elif cells.get("score") and (score is None or not 0 <= score <= 1):
        reason = "Its score must lie between 0 and 1."
    if reason is not None:
        problems.append(Problem(f"{at[0]}, {where}", reason))
        return
    boxes = objects[file, int(plane or 0) - 1 if plane else None]
    if not empty:
        left, top, right, bottom = (corner or 0.0 for corner in corners)
        label = own_text(cells["label"])
        boxes.append(FileObject(label, where, box_xyxy=(left, top, right, bottom), score=score))


def table_text(images: Iterable[FileImage]) -> str:
    """Write images with boxes as a table; scores and slices have columns only where there are some."""
    rows = [row for image in images for row in _rows(image)]
    kept = [
        place for place, column in enumerate(COLUMNS) if column in NEEDED or any(row[place] for row in rows)
    ]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([COLUMNS[place] for place in kept])
    writer.writerows([row[place] for place in kept] for row in rows)
    return out.getvalue()


def _rows(image: FileImage) -> Iterator[list[str]]:
    file, plane = str(safe_cell(image.name)), "" if image.plane is None else str(image.plane + 1)
    if not image.objects:
        yield [file, "", "", "", "", "", "", plane]
    for one in image.objects:
        corners = [number_text(corner) for corner in one.box_xyxy or ()]
        score = "" if one.score is None else number_text(one.score)
        yield [file, str(safe_cell(one.label)), *corners, score, plane]
