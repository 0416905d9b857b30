"""Readings at rest: one compressed ``.npz`` per version; probabilities lie in an entry of their own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.errors import StorageError
from core.imaging.stored import hash_array
from core.readings.reading import Boxes, Mask, Reading, ReadingKind, RestoredImage
from core.types import Array, info_from_json, info_to_json

Entries = dict[str, Array]
OPTIONAL_COLUMNS = ("scores", "groups", "crowds")  # of boxes


class Form(NamedTuple):
    """How one kind of reading lies in a file: to named arrays and back.

    ``heavy`` names entries that are read only by those who ask for probabilities.
    """

    to_entries: Callable[[Any], Entries]
    from_entries: Callable[[Entries], Reading]
    heavy: tuple[str, ...] = ()


def _entries_of_mask(mask: Mask) -> Entries:
    entries = {"labels": mask.array}
    return entries if mask.probabilities is None else entries | {"probabilities": mask.probabilities}


def _mask_from(entries: Entries) -> Mask:
    return Mask(entries["labels"], entries.get("probabilities"))


def _entries_of_boxes(boxes: Boxes) -> Entries:
    entries: Entries = {"box_xyxy": boxes.box_xyxy, "box_labels": boxes.labels, "box_planes": boxes.planes}
    for name in OPTIONAL_COLUMNS:
        column = getattr(boxes, name)
        if column is not None:
            entries[f"box_{name}"] = column
    if boxes.threshold is not None:
        entries["box_threshold"] = np.array(boxes.threshold, np.float64)
    if boxes.crops is not None:
        bits = [crop.ravel() for crop in boxes.crops]
        entries["crop_bits"] = np.packbits(np.concatenate(bits)) if bits else np.zeros(0, np.uint8)
        entries["crop_shapes"] = np.array([crop.shape for crop in boxes.crops], np.int32).reshape(-1, 2)
    return entries


def _boxes_from(entries: Entries) -> Boxes:
    crops: tuple[Array, ...] | None = None
    if "crop_shapes" in entries:
        shapes = entries["crop_shapes"]
        sizes = shapes.prod(axis=1)
        bits = np.unpackbits(entries["crop_bits"], count=int(sizes.sum())).astype(bool)
        parts = np.split(bits, np.cumsum(sizes)[:-1]) if len(sizes) else []
        crops = tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
    columns = (entries["box_xyxy"], entries["box_labels"], entries["box_planes"])
    scores, groups, crowds = (entries.get(f"box_{name}") for name in OPTIONAL_COLUMNS)
    threshold = float(entries["box_threshold"]) if "box_threshold" in entries else None
    return Boxes(*columns, scores, crops, groups, crowds, threshold)


def _entries_of_restored(restored: RestoredImage) -> Entries:
    words = json.dumps({"info": info_to_json(restored.info), "facts": dict(restored.facts)}, sort_keys=True)
    entries: Entries = {"restored": restored.array, "about": np.frombuffer(words.encode(), np.uint8)}
    return entries if restored.spread is None else entries | {"spread": restored.spread}


def _restored_from(entries: Entries) -> RestoredImage:
    about = json.loads(entries["about"].tobytes())
    return RestoredImage(
        entries["restored"], info_from_json(about["info"]), entries.get("spread"), about["facts"]
    )


# The first entry of a file tells its kind.
FORMS: dict[ReadingKind, Form] = {
    "mask": Form(_entries_of_mask, _mask_from, heavy=("probabilities",)),
    "boxes": Form(_entries_of_boxes, _boxes_from),
    "restored": Form(_entries_of_restored, _restored_from, heavy=("spread",)),
}
MARKS: dict[str, ReadingKind] = {"labels": "mask", "box_xyxy": "boxes", "restored": "restored"}


def write_reading(reading: Reading, path: Path) -> None:
    """Write a reading under a temporary name, flush it to disk, then rename.

    Raises:
        StorageError: when the disk cannot take it; nothing half-written stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **FORMS[reading.kind].to_entries(reading))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(
            f"The reading could not be stored ({error.strerror}). Free some disk space and try again."
        ) from error


def read_reading(path: Path, with_probabilities: bool = True) -> Reading:
    """Read a stored reading; without probabilities this is fast and small.

    Raises:
        ValueError: when the file holds no kind of reading.
    """
    with np.load(path, allow_pickle=False) as file:
        kind = next((MARKS[name] for name in file.files if name in MARKS), None)
        if kind is None:
            raise ValueError("the file holds no reading.")
        form = FORMS[kind]
        wanted = [name for name in file.files if with_probabilities or name not in form.heavy]
        return form.from_entries({name: file[name] for name in wanted})


def read_mask(path: Path, with_probabilities: bool = True) -> Mask:
    """Read a stored reading that must be a mask.

    Raises:
        ValueError: when it is another kind of reading.
    """
    reading = read_reading(path, with_probabilities)
    if not isinstance(reading, Mask):
        raise ValueError(f"a mask is needed here, the file holds {reading.kind}.")
    return reading


def hash_reading(reading: Reading) -> str:
    """SHA-256 of what the reading says; equal readings have equal hashes."""
    digest = hashlib.sha256()
    for name, array in FORMS[reading.kind].to_entries(reading).items():
        digest.update(f"{name} {hash_array(array)}".encode())
    return digest.hexdigest()
