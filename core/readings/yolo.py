"""YOLO text labels: one file per image, one line per object; from and to files.

A line is "class x y width height" (centre and size as shares of the image) or "class x1 y1 x2 y2 x3 y3 ..." (an
outline, as shares); a further number at the end is the score. Names of classes stand in ``data.yaml`` or
``classes.txt``. An empty file is an image without objects.

Shares are written with all digits of a double, so that boxes come back to within a billionth of a pixel (exactly, where
they lie on whole or half pixels) and masks exactly. An outline with holes or several parts is written as one line that
runs to each part and back along the same way, as Ultralytics does.

Source: Ultralytics documentation, "Detection dataset format" and "Segmentation dataset format".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.errors import FileRefused
from core.readings.objects import (
    MAX_CORNERS,
    MAX_OBJECTS,
    FileImage,
    FileObject,
    LabelFile,
    Problem,
    as_number,
    read_label_text,
)
from core.types import Array

NAME_FILES = ("classes.txt", "obj.names", "labels.txt")
MAX_NAMES = 100_000
_LINE = re.compile(r"\s*\d+(\s+[-+0-9.eE]+){4,}\s*")


def is_yolo(text: str) -> bool:
    """Tell by its first line with words whether a text has YOLO's form; an empty one has."""
    first = next((line for line in text.splitlines() if line.strip()), None)
    return first is None or bool(_LINE.fullmatch(first))


def is_names_file(path: Path) -> bool:
    """Tell by its name whether a file lists names of classes."""
    return path.name.lower() in NAME_FILES or path.suffix.lower() in (".yaml", ".yml")


def read_yolo(path: Path, name: str, names: dict[int, str]) -> LabelFile:
    """Read the labels of one image. What cannot be used is named, the rest comes in.

    Args:
        path: the file.
        name: what to call it in sentences; its stem is the image's name.
        names: number of a class to its name; a class without a name keeps its number.

    Raises:
        FileRefused: when it is too large or no text.
    """
    found = LabelFile()
    lines = read_label_text(path, name).splitlines()
    if len(lines) > MAX_OBJECTS:
        raise FileRefused(f"{name} has more than {MAX_OBJECTS:,} lines; split it.")
    objects = []
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        one = _object(line.split(), f"line {place}", names)
        if one is None:
            reason = "A line must be: class x y width height, or class x1 y1 x2 y2 x3 y3 ..., as shares from 0 to 1."
            found.problems.append(Problem(f"{name}, line {place}", reason))
        else:
            objects.append(one)
    found.images.append(FileImage(name, name, tuple(objects)))
    return found


def _object(words: Sequence[str], where: str, names: dict[int, str]) -> FileObject | None:
    if len(words) < 5 or len(words) > 2 * MAX_CORNERS or not words[0].isdecimal() or len(words[0]) > 9:
        return None
    number = int(words[0])
    numbers = [as_number(word) for word in words[1:]]
    if any(one is None for one in numbers):
        return None
    values = [one for one in numbers if one is not None]
    score = values.pop() if len(values) % 2 else None
    if score is not None and not 0 <= score <= 1:
        return None
    label = names.get(number, "")
    if len(values) == 4:
        x, y, width, height = values
        if width < 0 or height < 0:
            return None
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return FileObject(label, where, number, box, score=score, relative=True)
    outline = np.array(values).reshape(-1, 2)
    return FileObject(label, where, number, outlines=(outline,), score=score, relative=True)


def read_names(path: Path, name: str) -> dict[int, str]:
    """Read names of classes from a YAML file with ``names``, or from a text file with one name per line.

    Raises:
        FileRefused: when it has no names.
    """
    text = read_label_text(path, name, limit=2**20)
    if path.suffix.lower() not in (".yaml", ".yml"):
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
    import yaml

    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FileRefused(f"{name} is no whole YAML file; export it again.") from error
    names = data.get("names") if isinstance(data, dict) else None
    rows = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ()
    found = {}
    for key, value in rows:
        if isinstance(key, int) and 0 <= key < MAX_NAMES and isinstance(value, (str, int)):
            found[key] = str(value)
    if not found:
        raise FileRefused(f"{name} has no names of classes; give it a list called names.")
    return found


def yolo_line(number: int, one: FileObject, size: tuple[int, int]) -> str:
    """Write one object: its outline where it has one, else its box.

    Args:
        number: of its class, from 0.
        one: an object in pixels; several outlines are joined to one.
        size: (width, height) of the image.
    """
    scale = np.array(size, np.float64)
    if one.outlines:
        values = (joined_outline(one.outlines) / scale).ravel().tolist()
    else:
        left, top, right, bottom = np.asarray(one.box_xyxy, np.float64).tolist()
        width, height = scale.tolist()
        values = [
            (left + right) / 2 / width, (top + bottom) / 2 / height,
            (right - left) / width, (bottom - top) / height,
        ]  # fmt: skip
    if one.score is not None:
        values.append(float(one.score))
    return " ".join([str(number), *(repr(value) for value in values)])


def joined_outline(outlines: Sequence[Array]) -> Array:
    """Join closed outlines to one that runs to each further one and back along the same way.

    By the even-odd rule it encloses what the parts do: the ways, run twice, enclose nothing.
    """
    joined = np.asarray(outlines[0], np.float64)
    for part in outlines[1:]:
        part = np.asarray(part, np.float64)
        apart = ((joined[:, None] - part[None]) ** 2).sum(axis=-1)
        here, there = np.unravel_index(int(apart.argmin()), apart.shape)
        loop = np.concatenate([part[there:], part[: there + 1]])
        joined = np.concatenate([joined[: here + 1], loop, joined[here:]])
    return joined


def names_text(names: Sequence[str]) -> str:
    """Write ``data.yaml`` with the names of classes."""
    import yaml

    return yaml.safe_dump(
        {"path": ".", "nc": len(names), "names": dict(enumerate(names))}, allow_unicode=True, sort_keys=False
    )
