"""A CSV table of classes: one row per class of an image or of a slice; from and to files.

Columns: file, label, and perhaps slice (counted from 1; empty for the whole image). A row with a file and nothing
else is an image without a class. The usual other names of these columns are read as well (filename, image, class).
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import LabelError
from core.readings.box_export import image_file
from core.readings.box_table import SYNONYMS as BOX_SYNONYMS
from core.readings.export import ExportItem, safe_cell, with_file_names, write_text
from core.readings.label_table import Columns, header_of, own_text, table_rows
from core.readings.label_values import LabelMap
from core.readings.notes import WHOLE_IMAGE, Note
from core.readings.object_readings import value_of
from core.readings.objects import FileImage, FileObject, LabelFile, Problem, read_label_text
from core.types import ImageInfo, Label

CLASSES_FILE = "classes.csv"
COLUMNS = ("file", "slice", "label")
SYNONYMS: dict[str, tuple[str, ...]] = {
    "file": BOX_SYNONYMS["file"],
    "label": ("label", "class", "class_name"),
    "slice": BOX_SYNONYMS["slice"],
}
NEEDED = ("file", "label")
TABLE = Columns(SYNONYMS, NEEDED)


@dataclass(frozen=True)
class Classes:
    """Classes of one case.

    Attributes:
        notes: one per class, by the name that the viewer gives it; none for an image without a class.
        unknown: names that are no labels of the project.
    """

    notes: dict[str, Note]
    unknown: tuple[str, ...]


def is_class_table(text: str) -> bool:
    """Tell by its first line whether a text is a table of classes and nothing else."""
    header = header_of(text)
    found = TABLE.places(header)
    return set(NEEDED) <= set(found) and len(found) == len(header)


def read_class_table(path: Path, name: str) -> LabelFile:
    """Read a table of classes. Rows that cannot be used are named, the rest comes in.

    Raises:
        FileRefused: when it has not the columns of one.
    """
    found = LabelFile()
    classes = defaultdict[tuple[str, int | None], list[FileObject]](list)
    for number, cells in table_rows(read_label_text(path, name), name, TABLE):
        reason = _take_row(cells, f"row {number}", classes)
        if reason is not None:
            found.problems.append(Problem(f"{name}, row {number}", reason))
    found.images = [
        FileImage(file, name, tuple(some), plane=plane) for (file, plane), some in classes.items()
    ]
    return found


def _take_row(
    cells: dict[str, str], where: str, classes: dict[tuple[str, int | None], list[FileObject]]
) -> str | None:
    """Take a row in; return why not when it cannot be used."""
    if not any(cells.values()):
        return None
    file, label, plane = own_text(cells["file"]), own_text(cells["label"]), cells.get("slice", "")
    if not file:
        return "It names no file."
    if plane and not (plane.isascii() and plane.isdigit() and 0 < int(plane) < 10**6):
        return "Its slice must be a whole number from 1, or empty for the whole image."
    if plane and not label:
        return "It names a slice but no label."
    here = classes[file, int(plane) - 1 if plane else None]
    if label:
        number = int(label) if label.isascii() and label.isdigit() and len(label) < 10 else None
        here.append(FileObject(label, where, number))
    return None


def to_classes(
    images: Iterable[FileImage], info: ImageInfo, labels: tuple[Label, ...], label_map: LabelMap | None = None
) -> Classes:
    """Make notes of the classes of one case.

    Args:
        images: what the table says of the case: of the whole image, and of its slices.
        info: the image.
        labels: the project's label set.
        label_map: number of a class, or "any", to the name of a label; None goes by the classes' own names.

    Raises:
        LabelError: when a slice is not in the image.
    """
    notes: dict[str, Note] = {}
    unknown: dict[str, None] = {}
    for image in images:
        if image.plane is not None and image.plane >= info.slices:
            raise LabelError(
                f"{image.source} speaks of slice {image.plane + 1} of {image.name}, which has {info.slices}."
            )
        plane = WHOLE_IMAGE if image.plane is None or info.slices == 1 else image.plane
        for one in image.objects:
            value = value_of(one, labels, label_map)
            if value is None:
                unknown[one.label] = None
            elif value:
                notes[note_name(plane, value)] = Note("class", (), "z", plane, value)
    return Classes(notes, tuple(unknown))


def note_name(plane: int, label: int) -> str:
    """Return the name that the viewer gives the note of a class (``assets/viewer/workbench.js``)."""
    return f"class {plane} {label}"


def export_classes(items: Iterable[ExportItem], labels: tuple[Label, ...], out: Path) -> list[Path]:
    """Write ``classes.csv``: one row per class of an image or slice, and one for an image without any.

    Raises:
        StorageError: when the folder cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for item_name, item in with_file_names(items):
        file = safe_cell(image_file(item_name, item))
        rows = list(_rows(item, labels)) or [("", "")]
        writer.writerows([file, plane, safe_cell(label)] for plane, label in rows)
    path = out / CLASSES_FILE
    write_text(path, text.getvalue())
    return [path]


def _rows(item: ExportItem, labels: tuple[Label, ...]) -> Iterator[tuple[str, str]]:
    """Yield (slice from 1 or empty, label) of the classes of stored slices and of the whole image, in their order."""
    names = {label.value: label.name for label in labels}
    classes = [note for note in item.notes.values() if note.kind == "class" and note.axis == "z"]
    for note in sorted(classes, key=lambda note: (note.plane, note.label)):
        if note.label in names:
            yield "" if note.plane == WHOLE_IMAGE else str(note.plane + 1), names[note.label]
