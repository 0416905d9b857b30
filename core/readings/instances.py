"""Instance label maps: each number in a picture or volume is one object; from and to boxes with masks.

In a volume the pixels of one number are one finding: a box per slice, all with the same group. Where objects overlap, a
label map can hold only one of them in a pixel: the later one is written. What a number stands for is told by
``instances.csv`` beside the maps (file, value, label, score), or by one label for all.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import FileRefused, LabelError
from core.readings.label_values import LabelMap, StoredValues, to_label_map, whole_numbers
from core.readings.match import file_stem
from core.readings.objects import as_number, number_text, read_label_text
from core.readings.reading import Boxes
from core.types import Array, ImageInfo, Label

TABLE_NAME = "instances.csv"
TABLE_COLUMNS = ("file", "value", "label", "score")
MAX_INSTANCES = 65535
ONE_OF_MANY = 2  # from so many different numbers on, a map of one label holds objects by number

InstanceNames = dict[str, dict[int, tuple[str, float | None]]]  # file stem -> number -> (label, score)


@dataclass(frozen=True)
class Instances:
    """Objects found in a label map, and sentences about what was assumed."""

    boxes: Boxes
    notes: tuple[str, ...]


def boxes_of_instances(array: Array, values: dict[int, int], scores: dict[int, float] | None = None) -> Boxes:
    """Make a box with mask of each number, on each plane where it lies.

    Args:
        array: whole numbers, yx or zyx or tyx; 0 is background.
        values: number to label value; numbers that are missing here are left out.
        scores: number to score, where a model made the map.
    """
    from scipy import ndimage  # slow to import, and pages only name the formats

    planes = array if array.ndim == 3 else array[None]
    rows: list[tuple[int, int, int, slice, slice]] = []
    crops = []
    numbers = np.array(sorted(values), dtype=array.dtype)
    for plane, part in enumerate(planes):
        dense = np.searchsorted(numbers, part) + 1
        dense[~np.isin(part, numbers)] = 0
        for place, found in enumerate(ndimage.find_objects(dense, len(numbers))):
            if found is not None:
                rows.append((int(numbers[place]), plane, place, found[0], found[1]))
                crops.append(dense[found] == place + 1)
    corners = [(x.start, y.start, x.stop, y.stop) for _, _, _, y, x in rows]
    return Boxes(
        np.array(corners, np.float32).reshape(-1, 4),
        np.array([values[row[0]] for row in rows], np.uint16),
        np.array([row[1] for row in rows], np.int32),
        None if scores is None else np.array([scores[row[0]] for row in rows], np.float32),
        tuple(crops),
        np.array([row[2] + 1 for row in rows], np.int32) if array.ndim == 3 else None,
    )


def instances_to_boxes(
    stored: StoredValues,
    labels: tuple[Label, ...],
    label_map: LabelMap | None,
    named: tuple[str, dict[int, tuple[str, float | None]] | None],
) -> Instances:
    """Read each number of a map as one object.

    Args:
        stored: the numbers on the image's grid.
        labels: the project's label set.
        label_map: {"any": NAME} for one label, or number to name.
        named: what to call the file, and the table's (label, score) of its numbers where there is a table.

    Raises:
        LabelError: when it is not told what the numbers stand for, or there are too many.
    """
    name, table = named
    if stored.lossy:
        raise LabelError(f"{name} is a JPEG, which blurs numbers; save label maps as PNG, TIFF or NIfTI.")
    array = whole_numbers(stored.array, name)
    numbers = [number for number in np.unique(array).tolist() if number != 0]
    if len(numbers) > MAX_INSTANCES or (numbers and numbers[0] < 0):
        raise LabelError(f"{name} must hold whole numbers from 0, at most {MAX_INSTANCES} of them.")
    by_name = {label.name: label.value for label in labels}
    values: dict[int, int] = {}
    for number in numbers:
        told = (table or {}).get(number, ("", None))[0]
        wanted = told or _by_map(number, label_map) or (labels[0].name if len(labels) == 1 else "")
        if not wanted:
            raise LabelError(
                f"{name} tells objects by number but not of what; give a label map such as any={labels[0].name}."
            )
        if wanted not in by_name:
            raise LabelError(
                f"{name} holds {wanted!r}, which is no label of this project ({', '.join(by_name)})."
            )
        values[number] = by_name[wanted]
    found = {number: (table or {}).get(number, ("", None))[1] for number in numbers}
    scores = {number: score for number, score in found.items() if score is not None}
    complete = scores if scores and len(scores) == len(numbers) else None
    return Instances(boxes_of_instances(array, values, complete), ())


def parts_to_boxes(
    stored: StoredValues, info: ImageInfo, labels: tuple[Label, ...], label_map: LabelMap | None, name: str
) -> Instances:
    """Read a semantic mask: the connected parts of each label are its objects.

    Pixels that touch at a corner belong to one part; in volumes parts are connected in space.

    Raises:
        LabelError: for a number that no label stands for.
    """
    from scipy import ndimage

    array, notes = to_label_map(stored, labels, label_map, name)
    numbered = np.zeros(array.shape, np.int32)
    values: dict[int, int] = {}
    together = [slice(None)] if info.layout[0] != "t" else range(len(array))
    for label in labels:
        for part in together:
            marked = array[part] == label.value
            parts, count = ndimage.label(marked, np.ones((3,) * marked.ndim))
            numbered[part][marked] = parts[marked] + len(values)
            values |= {len(values) + 1 + number: label.value for number in range(count)}
    what = f"{name}: connected parts became objects ({len(values)}); things that touch are one."
    return Instances(boxes_of_instances(numbered, values), (*notes, what))


def holds_instances(stored: StoredValues, labels: tuple[Label, ...], label_map: LabelMap | None) -> bool:
    """Tell whether a map's numbers count objects rather than name labels.

    They do when all of them stand for one label (a label map with "any", or a project of one label) and there are
    several of them that no label stands for.
    """
    if stored.lossy or stored.array.dtype.kind not in "iu":
        return False
    numbers = set(np.unique(stored.array).tolist()) - {0}
    if label_map is not None:
        return "any" in label_map and len(numbers - set(label_map)) >= ONE_OF_MANY
    known = {label.value for label in labels} | {255}
    return len(labels) == 1 and len(numbers) >= ONE_OF_MANY and bool(numbers - known)


def _by_map(number: int, label_map: LabelMap | None) -> str:
    if label_map is None:
        return ""
    return label_map.get(number) or label_map.get("any") or ""


def instance_map(boxes: Boxes, info: ImageInfo) -> tuple[Array, dict[int, int]]:
    """Write objects into a label map; returns it and number -> number of the (first) box behind it.

    Boxes of one group share a number. The map has 16 bits.

    Raises:
        LabelError: when objects have boxes only, or there are more than a 16-bit map can count.
    """
    if boxes.crops is None and len(boxes):
        raise LabelError(
            "A label map needs masks and these objects have boxes only; export coco, voc, yolo or csv."
        )
    array = np.zeros((info.slices, *info.spatial_shape[-2:]), np.uint16)
    numbers: dict[int, int] = {}
    of_group: dict[int, int] = {}
    for place, crop in enumerate(boxes.crops or ()):
        group = None if boxes.groups is None else int(boxes.groups[place])
        number = of_group.get(group, 0) if group is not None else 0
        if not number:
            number = len(numbers) + 1
            if number > MAX_INSTANCES:
                raise LabelError(
                    f"A label map counts {MAX_INSTANCES} objects at most, there are more; export coco."
                )
            numbers[number] = place
            of_group |= {} if group is None else {group: number}
        left, top = np.floor(boxes.box_xyxy[place, :2]).astype(int).tolist()
        plane = int(boxes.planes[place])
        array[plane, top : top + crop.shape[0], left : left + crop.shape[1]][crop] = number
    return array.reshape(info.spatial_shape), numbers


def read_instance_table(path: Path, name: str) -> InstanceNames:
    """Read ``instances.csv``.

    Raises:
        FileRefused: when it has not its columns.
    """
    rows = csv.DictReader(io.StringIO(read_label_text(path, name)))
    if not {"file", "value", "label"} <= set(rows.fieldnames or ()):
        raise FileRefused(f"The table {name} needs the columns file, value and label.")
    names: InstanceNames = {}
    for row in rows:
        value, score = as_number(row["value"] or ""), as_number(row.get("score") or "")
        if value is not None and row["file"] and row["label"]:
            names.setdefault(file_stem(row["file"]), {})[int(value)] = (row["label"], score)
    return names


def instance_rows(
    file: str, boxes: Boxes, numbers: dict[int, int], labels: tuple[Label, ...]
) -> list[list[str]]:
    """Return the table's rows for one map."""
    names = {label.value: label.name for label in labels}
    rows = []
    for number, place in numbers.items():
        score = "" if boxes.scores is None else number_text(float(boxes.scores[place]))
        rows.append([file, str(number), names.get(int(boxes.labels[place]), ""), score])
    return rows


def instance_table_text(rows: Sequence[Sequence[str]]) -> str:
    """Write ``instances.csv``."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(TABLE_COLUMNS)
    writer.writerows(rows)
    return out.getvalue()
