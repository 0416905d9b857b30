"""PGM and PPM pictures with their values as stored; Pillow would stretch 10 or 12 bits to 16.

Source: Netpbm, "pgm" and "ppm" format specifications, https://netpbm.sourceforge.net/doc/
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from core.errors import FileRefused
from core.imaging.limits import check_declared_size
from core.settings import Settings
from core.types import Array

MAGIC = (b"P2", b"P3", b"P5", b"P6")
HEAD_BYTES = 2**16
_NUMBER = rb"\s+(?:#[^\n]*\n\s*)*(\d+)"  # comments may stand before it
HEADER = re.compile(rb"P[2356]" + _NUMBER * 3 + rb"\s")


def is_netpbm(path: Path) -> bool:
    """Tell by its first bytes whether a file is PGM or PPM."""
    with open(path, "rb") as file:
        return file.read(2) in MAGIC


def read_netpbm(path: Path, settings: Settings) -> Array:
    """Return the values of the first picture, ``yx`` or ``yxc``, uint8 or uint16.

    Raises:
        FileRefused: when it is damaged, cut short or past the limits.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
        match = HEADER.match(head)
        if match is None:
            raise FileRefused(f"{path.name} is damaged: its first line gives no size.")
        width, height, largest = (int(word) for word in match.groups())
        if not 0 < largest < 2**16:
            raise FileRefused(f"{path.name} is damaged: its largest value is {largest}.")
        shape = (height, width, 3) if head[1:2] in b"36" else (height, width)
        wide = largest > 255
        check_declared_size(shape, 2 if wide else 1, path.name, settings)
        file.seek(match.end())
        count = int(np.prod(shape, dtype=object))
        if head[1:2] in b"56":
            values = np.frombuffer(file.read(count * (2 if wide else 1)), ">u2" if wide else "u1")
        else:
            values = np.array(file.read(count * 16).split()[:count], dtype=object).astype(np.int64)
    if len(values) < count or values.min() < 0 or values.max() > largest:
        raise FileRefused(f"{path.name} is damaged or cut short: not all of its values are there.")
    return values.astype(np.uint16 if wide else np.uint8).reshape(shape)
