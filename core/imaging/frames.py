"""Planes on their way to the browser: a header of 24 bytes, then the values, everything little endian.

========  ======  ====================================================================
bytes     type    meaning
========  ======  ====================================================================
0-3               ``SLF1``
4-7       uint32  index of the plane
8-11      uint32  rows
12-15     uint32  columns
16        uint8   channels (last axis); 1 for grey
17        uint8   type of the values, see ``WIRE_TYPES``
18        uint8   0: values follow as they are, 1: deflated (zlib)
19        uint8   0: one value per pixel, 1: runs (see ``core.readings.runs``)
20-23     uint32  number of bytes that follow
========  ======  ====================================================================

Several frames may follow one another. ``assets/viewer/frames.js`` reads the same.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from core.types import Array

MAGIC = b"SLF1"
HEADER = struct.Struct("<4sIIIBBBBI")
WIRE_TYPES = ("uint8", "int16", "uint16", "int32", "float32", "uint32")
FASTEST = 1  # zlib level: the line is a loopback or a hospital's network, not a modem


@dataclass(frozen=True)
class Frame:
    """One plane as it came: values of shape (rows, columns), (rows, columns, channels), or runs (n, 2)."""

    index: int
    shape: tuple[int, int]
    values: Array
    is_runs: bool = False


def wire_type(dtype: np.dtype | str) -> str:
    """Return the type that values travel in: their own where the browser has it, else float32."""
    name = np.dtype(dtype).name
    return name if name in WIRE_TYPES[:5] else "float32"


def pack_frame(frame: Frame, deflate: bool = False) -> bytes:
    """Return one plane as bytes.

    Args:
        frame: values of a type in ``WIRE_TYPES``, or of one that ``wire_type`` turns into such.
        deflate: True makes it smaller, for slow lines and for runs.
    """
    rows, columns = frame.shape
    values = frame.values
    kind = "uint32" if frame.is_runs else wire_type(values.dtype)
    raw = np.ascontiguousarray(values, dtype=np.dtype(kind).newbyteorder("<"))
    channels = raw.shape[2] if raw.ndim == 3 else 1
    body = zlib.compress(raw.data, FASTEST) if deflate else raw.tobytes()
    number = WIRE_TYPES.index(kind)
    head = HEADER.pack(MAGIC, frame.index, rows, columns, channels, number, deflate, frame.is_runs, len(body))
    return head + body


def unpack_frames(content: bytes) -> Iterator[Frame]:
    """Yield the frames in ``content``.

    Raises:
        ValueError: when it is cut short or no frame.
    """
    place = 0
    while place < len(content):
        if len(content) - place < HEADER.size:
            raise ValueError("a frame is cut short.")
        magic, index, rows, columns, channels, number, deflated, is_runs, n_bytes = HEADER.unpack_from(
            content, place
        )
        place += HEADER.size
        body = content[place : place + n_bytes]
        if magic != MAGIC or len(body) != n_bytes or number >= len(WIRE_TYPES):
            raise ValueError("this is no frame, or it is cut short.")
        place += n_bytes
        values = np.frombuffer(
            zlib.decompress(body) if deflated else body, np.dtype(WIRE_TYPES[number]).newbyteorder("<")
        )
        shape = (-1, 2) if is_runs else (rows, columns) if channels == 1 else (rows, columns, channels)
        yield Frame(index, (rows, columns), values.reshape(shape), bool(is_runs))
