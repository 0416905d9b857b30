"""COCO JSON: boxes, polygons, run-length masks, crowds; from and to files.

COCO's coordinates are continuous and count from 0, as ours. A box is [left, top, width, height]. A mask is a list of
polygons whose union it is, or run lengths down the columns, plain or compressed. Stacks are written as one image per
plane, with the keys "case" and "plane" besides.

Source: COCO data format (cocodataset.org, "Data format"), pycocotools ``maskApi.c``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import FileRefused
from core.readings.objects import (
    MAX_CORNERS,
    MAX_OBJECTS,
    BoxXyxy,
    FileImage,
    FileObject,
    LabelFile,
    Problem,
    finite_numbers,
    read_label_text,
)
from core.readings.rle import counts_of_text
from core.types import Array

PARTS = ("images", "annotations", "categories")
MAX_SIDE = 10_000_000


class _Unfit(Exception):
    """An annotation that cannot be used, with the reason."""


def is_coco(text: str) -> bool:
    """Tell by its beginning and its keys whether a text is COCO JSON."""
    return text.lstrip()[:1] == "{" and all(f'"{part}"' in text for part in ("images", "annotations"))


def read_coco(path: Path, name: str) -> LabelFile:
    """Read a COCO file. What cannot be used is named, the rest comes in.

    Args:
        path: the file.
        name: what to call it in sentences.

    Raises:
        FileRefused: when it is no COCO file at all.
    """
    return coco_from_text(read_label_text(path, name), name)


def coco_from_text(text: str, name: str) -> LabelFile:
    """Read COCO JSON from text; see ``read_coco``."""
    data = _parse(text, name)
    found = LabelFile()
    images = {row["id"]: row for row in data["images"] if _is_image(row, name, found)}
    categories = {row["id"]: str(row["name"]) for row in data["categories"] if _is_category(row, name, found)}
    objects: dict[int, list[FileObject]] = defaultdict(list)
    for place, row in enumerate(data["annotations"], start=1):
        where = f"annotation {row['id'] if isinstance(row, dict) and 'id' in row else place}"[:80]
        try:
            image, one = _object(row, where, images, categories)
            objects[image].append(one)
        except _Unfit as unfit:
            found.problems.append(Problem(f"{name}, {where}", str(unfit)))
    found.images = [_image(row, name, tuple(objects[number])) for number, row in images.items()]
    return found


def _parse(text: str, name: str) -> dict[str, list[Any]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileRefused(f"{name} is no whole JSON file; export it again.") from error
    if isinstance(data, list):
        raise FileRefused(
            f"{name} is a list of COCO results, which names no images; give a file with images, annotations "
            "and categories."
        )
    missing = [part for part in PARTS if not (isinstance(data, dict) and isinstance(data.get(part), list))]
    if missing:
        raise FileRefused(f"{name} is no COCO file: it has no list of {', '.join(missing)}.")
    if max(len(data[part]) for part in PARTS) > MAX_OBJECTS:
        raise FileRefused(f"{name} holds more than {MAX_OBJECTS:,} entries; split it into parts.")
    return {part: data[part] for part in PARTS}


def _is_whole(value: Any, low: int = 0, high: int = 2**63) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < high


def _is_image(row: Any, name: str, found: LabelFile) -> bool:
    if isinstance(row, dict) and _is_whole(row.get("id"), -(2**63)) and isinstance(row.get("file_name"), str):
        return True
    found.problems.append(Problem(f"{name}, an image", "An image needs a number (id) and a file_name."))
    return False


def _is_category(row: Any, name: str, found: LabelFile) -> bool:
    if (
        isinstance(row, dict)
        and _is_whole(row.get("id"), -(2**63))
        and isinstance(row.get("name"), (str, int))
    ):
        return True
    found.problems.append(Problem(f"{name}, a category", "A category needs a number (id) and a name."))
    return False


def _image(row: dict[str, Any], name: str, objects: tuple[FileObject, ...]) -> FileImage:
    size = row.get("width"), row.get("height")
    known = all(_is_whole(side, 1, MAX_SIDE) for side in size)
    case, plane = row.get("case"), row.get("plane")
    in_stack = isinstance(case, str) and _is_whole(plane, 0, MAX_SIDE)
    return FileImage(
        str(case) if in_stack else row["file_name"],
        name,
        objects,
        (int(size[0]), int(size[1])) if known else None,  # type: ignore[arg-type]
        plane if in_stack else None,
    )


def _object(
    row: Any, where: str, images: dict[int, dict[str, Any]], categories: dict[int, str]
) -> tuple[int, FileObject]:
    """Read one annotation; returns the image's id and the object."""
    if not isinstance(row, dict):
        raise _Unfit("An annotation must be an object with image_id, category_id and bbox.")
    image, category = row.get("image_id"), row.get("category_id")
    if not isinstance(image, int) or image not in images:
        raise _Unfit(f"Its image {_shown(image)} is not among the file's images.")
    if not isinstance(category, int) or category not in categories:
        raise _Unfit(f"Its category {_shown(category)} is not among the file's categories.")
    outlines, counts = _mask(row.get("segmentation"), images[image])
    box = _box(row.get("bbox"))
    if box is None and not outlines and counts is None:
        raise _Unfit("It has neither a box nor a mask.")
    return image, FileObject(
        categories[category], where, category, box, outlines, counts, _score(row.get("score")),
        row.get("iscrowd") in (1, True),
    )  # fmt: skip


def _box(given: Any) -> BoxXyxy | None:
    if given is None or given == []:
        return None
    numbers = finite_numbers(given, 4)
    if numbers is None:
        raise _Unfit("Its bbox must be 4 finite numbers: left, top, width, height.")
    left, top, width, height = numbers
    if width < 0 or height < 0:
        raise _Unfit(f"Its box has a negative size ({width:g} x {height:g}).")
    return left, top, left + width, top + height


def _score(given: Any) -> float | None:
    if given is None:
        return None
    numbers = finite_numbers([given])
    if numbers is None or not 0 <= numbers[0] <= 1:
        raise _Unfit("Its score must lie between 0 and 1.")
    return numbers[0]


def _mask(given: Any, image: dict[str, Any]) -> tuple[tuple[Array, ...], tuple[int, ...] | None]:
    """Return (outlines, run lengths) of a segmentation."""
    if given is None or given == []:
        return (), None
    if isinstance(given, dict):
        return (), _counts(given, image)
    if not isinstance(given, list):
        raise _Unfit("Its segmentation must be a list of polygons or run lengths.")
    polygons = given if isinstance(given[0], list) else [given]
    outlines = []
    for polygon in polygons:
        numbers = finite_numbers(polygon)
        if numbers is None or len(numbers) % 2 or len(numbers) < 6 or len(numbers) > 2 * MAX_CORNERS:
            raise _Unfit("A polygon must be at least 3 corners x, y of finite numbers.")
        outlines.append(np.array(numbers).reshape(-1, 2))
    return tuple(outlines), None


def _counts(given: dict[str, Any], image: dict[str, Any]) -> tuple[int, ...]:
    size, counts = given.get("size"), given.get("counts")
    sides = image.get("height"), image.get("width")
    if not (isinstance(size, list) and len(size) == 2 and all(_is_whole(side, 1, MAX_SIDE) for side in size)):
        raise _Unfit("Run lengths need the size [height, width] of their image.")
    if all(_is_whole(side) for side in sides) and list(sides) != size:
        raise _Unfit(
            f"Its run lengths are of an image of {size[1]} x {size[0]} pixels, the file says {sides[1]} x {sides[0]}."
        )
    if isinstance(counts, str):
        try:
            counts = counts_of_text(counts)
        except ValueError as error:
            raise _Unfit(f"Its compressed run lengths cannot be read: {error}") from error
    if not (isinstance(counts, list) and all(_is_whole(count) for count in counts)):
        raise _Unfit("Run lengths must be whole numbers, or their compressed text.")
    if sum(counts) != size[0] * size[1]:
        raise _Unfit(f"Its run lengths must add up to {size[0] * size[1]} pixels, they give {sum(counts)}.")
    return tuple(counts)


def _shown(value: Any) -> str:
    return str(value)[:40]
