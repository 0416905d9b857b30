"""Steps of marking: what one stroke, box or measurement changed, so that it can be replayed, undone and kept.

A step is a list of patches. A patch replaces a rectangle of a label map, or one item (a box or a note), and holds
what was there before and what is there after. The browser makes steps, the store keeps them in order, and a reading
is the reading it started from with the patches applied: bit by bit what was seen on the screen.

Packed: ``SLM1``, uint32 length of the header, the header as JSON, then the runs of all masks as uint32, little
endian; a patch in the header names its runs by (first number, how many numbers). ``assets/viewer/steps.js`` does the
same.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from core.errors import LabelError
from core.types import Array

MAGIC = b"SLM1"
StepKind = Literal["do", "undo", "redo"]
MAX_BYTES = 512 * 2**20  # unpacked
Item = dict[str, Any]


@dataclass(frozen=True)
class MaskPatch:
    """A rectangle of plane ``z``: the runs (n, 2) that were there and that are there now."""

    z: int
    y: int
    x: int
    rows: int
    columns: int
    before: Array
    after: Array


@dataclass(frozen=True)
class ItemPatch:
    """One item by its name: what it was and what it is now; None stands for nothing."""

    id: str
    before: Item | None
    after: Item | None


@dataclass(frozen=True)
class Step:
    """What one act changed.

    Attributes:
        client: name of the browser tab that made it.
        number: counts the steps of that tab from 1; both together name the step.
        kind: "undo" and "redo" are steps, too; their patches hold what they put back.
        name: what was done, for people ("brush").
        patches: in the order to apply them.
    """

    client: str
    number: int
    kind: StepKind
    name: str
    patches: tuple[MaskPatch | ItemPatch, ...]


def pack_steps(steps: list[Step]) -> bytes:
    """Return steps as deflated bytes."""
    blobs: list[Array] = []
    place = 0

    def keep(runs: Array) -> list[int]:
        nonlocal place
        flat = np.ascontiguousarray(runs, "<u4").ravel()
        blobs.append(flat)
        place += flat.size
        return [place - flat.size, flat.size]

    entries = []
    for step in steps:
        patches: list[dict[str, Any]] = []
        for patch in step.patches:
            if isinstance(patch, ItemPatch):
                patches.append({"on": "item", "id": patch.id, "before": patch.before, "after": patch.after})
            else:
                where = {
                    "z": patch.z,
                    "y": patch.y,
                    "x": patch.x,
                    "rows": patch.rows,
                    "columns": patch.columns,
                }
                patches.append(
                    {"on": "mask", **where, "before": keep(patch.before), "after": keep(patch.after)}
                )
        entries.append(
            {
                "client": step.client,
                "number": step.number,
                "kind": step.kind,
                "name": step.name,
                "patches": patches,
            }
        )
    header = json.dumps({"steps": entries}, ensure_ascii=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 4)
    body = b"".join([MAGIC, struct.pack("<I", len(header)), header, *(blob.tobytes() for blob in blobs)])
    return zlib.compress(body, 1)


def unpack_steps(content: bytes) -> list[Step]:
    """Read steps from bytes that may come from a browser, deflated or (from a page that could not wait) as they are.

    Raises:
        LabelError: when they cannot be understood.
    """
    try:
        body = content if content[:4] == MAGIC else _inflated(content)
        if body[:4] != MAGIC:
            raise ValueError("they are no steps")
        (length,) = struct.unpack_from("<I", body, 4)
        header = json.loads(body[8 : 8 + length])
        numbers = np.frombuffer(body, "<u4", offset=8 + length)
        return [_read_step(entry, numbers) for entry in header["steps"]]
    except (ValueError, KeyError, TypeError, struct.error, zlib.error, RecursionError) as error:
        raise LabelError(f"The marks that were sent could not be read ({error}).") from error


def _inflated(content: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    body = unpacker.decompress(content, MAX_BYTES)
    if not unpacker.eof:
        raise ValueError("they are cut short, or too large")
    return body


def _read_step(entry: dict[str, Any], numbers: Array) -> Step:
    kind = entry["kind"]
    if kind not in ("do", "undo", "redo"):
        raise ValueError(f"a step cannot be of kind {kind!r}")
    patches = tuple(_read_patch(patch, numbers) for patch in entry["patches"])
    return Step(str(entry["client"])[:64], int(entry["number"]), kind, str(entry["name"])[:100], patches)


def _read_patch(entry: dict[str, Any], numbers: Array) -> MaskPatch | ItemPatch:
    if entry["on"] == "item":
        before, after = (_item(entry[key]) for key in ("before", "after"))
        return ItemPatch(str(entry["id"])[:64], before, after)
    z, y, x, rows, columns = (int(entry[key]) for key in ("z", "y", "x", "rows", "columns"))
    before_runs, after_runs = (_runs(entry[key], numbers, rows * columns) for key in ("before", "after"))
    return MaskPatch(z, y, x, rows, columns, before_runs, after_runs)


def _item(value: Any) -> Item | None:
    if value is not None and not isinstance(value, dict):
        raise ValueError("an item must be an object")
    return value


def _runs(place: list[int], numbers: Array, pixels: int) -> Array:
    first, count = int(place[0]), int(place[1])
    if first < 0 or count < 0 or count % 2 or first + count > len(numbers):
        raise ValueError("runs lie outside of what was sent")
    runs = numbers[first : first + count].reshape(-1, 2)
    if int(runs[:, 1].sum(dtype=np.uint64)) != pixels:
        raise ValueError("runs do not cover their rectangle")
    return runs
