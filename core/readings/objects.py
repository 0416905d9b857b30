"""Objects as label files tell them, before they are laid on an image: the one form that all formats are read into.

Coordinates are pixels of the image, continuous: the pixel in column i covers [i, i + 1), so that a box around the
pixels 3 and 4 reaches from 3.0 to 5.0. What a format says otherwise (VOC counts pixels from 1 and includes the last,
YOLO tells shares of the image) is turned into this where it is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import FileRefused
from core.imaging.limits import readable_size
from core.types import Array

MAX_TEXT_BYTES = 256 * 2**20
MAX_OBJECTS = 2_000_000  # of one file
MAX_CORNERS = 100_000  # of one outline
BoxXyxy = tuple[float, float, float, float]
_PLANE_NAME = re.compile(r"(?P<case>.+)_z(?P<number>\d{1,6})")


@dataclass(frozen=True)
class FileObject:
    """One object as a file tells it.

    Attributes:
        label: name of its class; "" where the file has only ``number``.
        where: its place in the file, such as "annotation 12".
        number: number of its class in the file; None where there is none.
        box_xyxy: left, top, right, bottom; None where only an outline or a mask is told.
        outlines: (n, 2) corners each, x then y; what any of them encloses belongs to the object.
        counts: run lengths down the columns of its mask on the whole image; None where there is none.
        score: how sure a model is, 0 to 1; None for a person's.
        crowd: True when it stands for a crowd of objects that nobody counted.
        relative: True when coordinates are shares of the image's width and height.
    """

    label: str
    where: str
    number: int | None = None
    box_xyxy: BoxXyxy | None = None
    outlines: tuple[Array, ...] = ()
    counts: tuple[int, ...] | None = None
    score: float | None = None
    crowd: bool = False
    relative: bool = False


@dataclass(frozen=True)
class FileImage:
    """What a label file says about one image, or one plane of a stack.

    Attributes:
        name: the image as the file calls it; may have folders and an ending.
        source: the label file, as the user knows it.
        objects: what is in it; empty for an image that was looked at and holds none.
        size: (width, height) the file gives; None when it gives none.
        plane: the slice or frame, from 0; None for a single image.
    """

    name: str
    source: str
    objects: tuple[FileObject, ...]
    size: tuple[int, int] | None = None
    plane: int | None = None


@dataclass(frozen=True)
class Problem:
    """Something of a label file that did not come in, and why, in one sentence."""

    where: str
    reason: str


@dataclass
class LabelFile:
    """Everything read from one label file."""

    images: list[FileImage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_label_text(path: Path, name: str, limit: int = MAX_TEXT_BYTES) -> str:
    """Read a text file of labels.

    Raises:
        FileRefused: when it is larger than ``limit`` or no text.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise FileRefused(
                f"{name} has {readable_size(size)}, label files may have {readable_size(limit)}; split it."
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileRefused(f"{name} is no text in UTF-8; save it as UTF-8 and import it again.") from error
    except OSError as error:
        raise FileRefused(f"{name} cannot be read ({error.strerror}).") from error


def finite_numbers(values: Any, count: int | None = None) -> list[float] | None:
    """Return a list of finite numbers as floats, or None when it is anything else."""
    if not isinstance(values, Sequence) or isinstance(values, str) or (count and len(values) != count):
        return None
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return None
    try:
        numbers = [float(value) for value in values]
    except OverflowError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def as_number(text: str) -> float | None:
    """Return a finite number written as text, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def plane_name(case: str, plane: int) -> str:
    """Return what one plane of a stack is called in formats that know single images only: "ct1_z0012"."""
    return f"{case}_z{plane + 1:04d}"


def split_plane_name(stem: str) -> tuple[str, int] | None:
    """Return (case, plane from 0) of a name made by ``plane_name``, or None."""
    found = _PLANE_NAME.fullmatch(stem)
    if found is None or int(found["number"]) < 1:
        return None
    return found["case"], int(found["number"]) - 1


def number_text(value: float) -> str:
    """Write a number so that reading it as float32 gives the same one again; whole numbers without a point."""
    if float(value).is_integer():
        return str(int(value))
    return str(np.float32(value)) if float(np.float32(value)) == value else repr(float(value))
