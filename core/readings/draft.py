"""A reading while it is being marked: what it started from, with steps applied one after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import LabelError
from core.readings.notes import Note, Notes, misfit_of_note, note_from_json
from core.readings.reading import Boxes, Mask, Reading, ReadingKind, crop_shape, no_boxes
from core.readings.runs import decode_runs, encode_runs
from core.readings.steps import Item, ItemPatch, MaskPatch, Step
from core.types import Array, ImageInfo, Label

BOX = "box"


@dataclass(frozen=True)
class Ground:
    """What steps must fit: the image, the labels that may be used, the kind of reading."""

    info: ImageInfo
    labels: tuple[Label, ...]
    kind: ReadingKind


@dataclass
class Draft:
    """A reading in the making. Give it arrays of its own: steps change them in place.

    Attributes:
        ground: what the steps must fit.
        array: the label map; empty (0 planes) for boxes.
        boxes: name -> box item, in order.
        notes: name -> note.
    """

    ground: Ground
    array: Array
    boxes: dict[str, Item] = field(default_factory=dict)
    notes: dict[str, Note] = field(default_factory=dict)

    def apply(self, step: Step) -> None:
        """Change the reading as a step says; the step has been checked."""
        for patch in step.patches:
            if isinstance(patch, MaskPatch):
                block = decode_runs(patch.after, (patch.rows, patch.columns), self.array.dtype)
                rows, columns = slice(patch.y, patch.y + patch.rows), slice(patch.x, patch.x + patch.columns)
                self._plane(patch.z)[rows, columns] = block
            else:
                self._put(patch)

    def _plane(self, z: int) -> Array:
        return self.array if self.array.ndim == 2 else self.array[z]

    def _put(self, patch: ItemPatch) -> None:
        held: dict[str, Any] = self.boxes if _is_box(patch.after or patch.before or {}) else self.notes
        if patch.after is None:
            held.pop(patch.id, None)
        else:
            held[patch.id] = patch.after if _is_box(patch.after) else note_from_json(patch.after)

    def reading(self) -> Reading:
        """Return the reading as it is now."""
        return Mask(self.array) if self.ground.kind == "mask" else boxes_from_items(self.boxes.values())


def start_draft(ground: Ground, reading: Reading | None, notes: Notes, box_ids: list[str]) -> Draft:
    """Return a draft that starts from a reading (None: from nothing); probabilities and scores stay behind."""
    largest = max((label.value for label in ground.labels), default=0)
    dtype = np.uint8 if largest < 256 else np.uint16
    if ground.kind == "boxes":
        boxes = reading if isinstance(reading, Boxes) else no_boxes()
        return Draft(ground, np.zeros((0, 0), dtype), items_from_boxes(boxes, box_ids), dict(notes))
    if isinstance(reading, Mask):
        array = np.array(reading.array, np.promote_types(dtype, reading.array.dtype))
    else:
        array = np.zeros(ground.info.spatial_shape, dtype)
    return Draft(ground, array, {}, dict(notes))


def check_step(step: Step, ground: Ground) -> None:
    """Refuse a step that does not fit.

    Raises:
        LabelError: naming what does not fit.
    """
    known = {0, *(label.value for label in ground.labels)}
    for patch in step.patches:
        misfit = _misfit_of_mask(patch, ground, known) if isinstance(patch, MaskPatch) else None
        if isinstance(patch, ItemPatch) and patch.after is not None:
            misfit = _misfit_of_item(patch.after, ground, known)
        if misfit is not None:
            raise LabelError(misfit)


def _misfit_of_mask(patch: MaskPatch, ground: Ground, known: set[int]) -> str | None:
    if ground.kind != "mask":
        return "This project's readings are boxes; nothing can be painted."
    rows, columns = ground.info.spatial_shape[-2:]
    inside = 0 <= patch.z < ground.info.slices and min(patch.y, patch.x) >= 0 < min(patch.rows, patch.columns)
    if not inside or patch.y + patch.rows > rows or patch.x + patch.columns > columns:
        return "A mark reaches out of the image."
    unknown = set(np.unique(patch.after[:, 0]).tolist()) - known
    if unknown:
        return f"A mark has the label {min(unknown)}, which this project does not have (any more)."
    return None


def _misfit_of_item(item: Item, ground: Ground, known: set[int]) -> str | None:
    label = item.get("label", 0)
    if label not in known:
        return f"A mark has the label {label}, which this project does not have (any more)."
    if not _is_box(item):
        return misfit_of_note(note_from_json(item), ground.info)
    if ground.kind != "boxes":
        return "This project's readings are masks; a box must be filled."
    try:
        return boxes_from_items([item]).misfit(ground.info)
    except (KeyError, TypeError, ValueError) as error:
        return f"A box could not be read ({error})."


def _is_box(item: Mapping[str, Any]) -> bool:
    return item.get("kind") == BOX


def items_from_boxes(boxes: Boxes, ids: list[str] | None = None) -> dict[str, Item]:
    """Return boxes as items by name: the names given, or "b0", "b1" ... where they do not fit."""
    names = (
        ids if ids is not None and len(ids) == len(boxes) else [f"b{number}" for number in range(len(boxes))]
    )
    items: dict[str, Item] = {}
    for number, name in enumerate(names):
        item: Item = {
            "kind": BOX,
            "label": int(boxes.labels[number]),
            "plane": int(boxes.planes[number]),
            "box": [float(value) for value in boxes.box_xyxy[number]],
        }
        if boxes.scores is not None:
            item["score"] = float(boxes.scores[number])
        if boxes.crops is not None:
            item["crop"] = encode_runs(boxes.crops[number]).ravel().tolist()
        if boxes.crowds is not None and boxes.crowds[number]:
            item["crowd"] = True
        if boxes.groups is not None:
            item["group"] = int(boxes.groups[number])
        items[name] = item
    return items


def boxes_from_items(items: Any) -> Boxes:
    """Return items as boxes; scores are a model's and stay behind, an object without a crop fills its box.

    Crowds stay crowds. Findings stay joined through slices as long as every box belongs to one.

    Raises:
        ValueError: when an item is no box.
    """
    kept = list(items)
    if not kept:
        return no_boxes()
    box_xyxy = np.array([[float(value) for value in item["box"]] for item in kept], np.float32)
    if not math.isfinite(float(box_xyxy.sum())) or box_xyxy.shape[1:] != (4,):
        raise ValueError("a box needs four finite numbers")
    crops = None
    if any(item.get("crop") for item in kept):
        crops = tuple(_crop_of(item, crop_shape(box)) for item, box in zip(kept, box_xyxy, strict=True))
    labels = np.array([int(item["label"]) for item in kept], np.uint16)
    planes = np.array([int(item["plane"]) for item in kept], np.int32)
    crowds = np.array([item.get("crowd") is True for item in kept], np.bool_)
    joined = all(int(item.get("group", 0)) > 0 for item in kept)
    groups = np.array([int(item["group"]) for item in kept], np.int32) if joined else None
    return Boxes(box_xyxy, labels, planes, None, crops, groups, crowds if crowds.any() else None)


def _crop_of(item: Item, shape: tuple[int, int]) -> Array:
    runs = item.get("crop")
    if not runs:
        return np.ones(shape, np.bool_)
    return decode_runs(np.asarray(runs, np.uint32), shape, np.uint8).astype(np.bool_)
