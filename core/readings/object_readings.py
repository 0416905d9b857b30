"""Objects of a label file laid on the image they belong to: boxes with or without masks, or one label map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.errors import LabelError
from core.readings.label_values import BACKGROUND_NAMES, LabelMap
from core.readings.objects import BoxXyxy, FileImage, FileObject, Problem
from core.readings.outlines import rasterise_polygon
from core.readings.reading import Boxes, Mask, crop_shape
from core.readings.rle import crop_of_counts
from core.types import Array, ImageInfo, Label

INSIDE_PX = 1.0  # a box may reach this far out of its image by rounding, and is cut without a word


@dataclass(frozen=True)
class Laid:
    """What came of the objects of one case.

    Attributes:
        reading: boxes or a mask.
        problems: objects that were left out.
        notes: sentences about what was assumed or changed.
    """

    reading: Boxes | Mask
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Placed:
    """One object on its image: label value, plane, box in pixels, and its mask with the corner it lies at."""

    one: FileObject
    value: int
    plane: int
    box: BoxXyxy
    mask: tuple[Array, tuple[int, int]] | None


class _Left(Exception):
    """An object that is left out, with the reason; without one when nothing need be said."""


def to_boxes(
    images: Sequence[FileImage], info: ImageInfo, labels: tuple[Label, ...], label_map: LabelMap | None = None
) -> Laid:
    """Make boxes of the objects of one case. Those of no size, outside, or of unknown labels are named.

    Args:
        images: what the file says of the case: one entry, or one per plane of a stack.
        info: the image.
        labels: the project's label set.
        label_map: number of a class, or "any", to the name of a label; None goes by the classes' own names.

    Raises:
        LabelError: when the file speaks of an image of another size.
    """
    placed, problems, notes = _place_all(images, info, labels, label_map)
    placed = [_grown(entry) for entry in placed]
    crops = None
    if any(entry.mask is not None and not entry.one.crowd for entry in placed):
        crops = tuple(_crop(entry) for entry in placed)
        if any(entry.mask is None for entry in placed):
            notes.append("Some objects have a box but no mask; all of their box was taken for the mask.")
    scores = [entry.one.score for entry in placed]
    if any(score is not None for score in scores) and None in scores:
        notes.append("Some objects have a score and others have none; the scores were left out.")
    crowds = [entry.one.crowd for entry in placed]
    boxes = Boxes(
        np.array([entry.box for entry in placed], np.float32).reshape(-1, 4),
        np.array([entry.value for entry in placed], np.uint16),
        np.array([entry.plane for entry in placed], np.int32),
        np.array(scores, np.float32) if scores and None not in scores else None,
        crops,
        None,
        np.array(crowds) if any(crowds) else None,
    )
    return Laid(boxes, tuple(problems), tuple(notes))


def to_mask(
    images: Sequence[FileImage], info: ImageInfo, labels: tuple[Label, ...], label_map: LabelMap | None = None
) -> Laid:
    """Paint the outlines and masks of one case into a label map; where they overlap, the later one is seen.

    Raises:
        LabelError: when the file speaks of an image of another size, or an object has a box only.
    """
    placed, problems, notes = _place_all(images, info, labels, label_map)
    without = sum(entry.mask is None for entry in placed)
    if without:
        raise LabelError(
            f"{images[0].source} tells boxes without masks ({without} in this image), and this project needs "
            "masks; import it into a detection project."
        )
    highest = max((label.value for label in labels), default=0)
    array = np.zeros((info.slices, *info.spatial_shape[-2:]), np.uint8 if highest < 256 else np.uint16)
    overlapping = 0
    for entry in placed:
        crop, (left, top) = entry.mask if entry.mask is not None else (np.zeros((0, 0), bool), (0, 0))
        part = array[entry.plane, top : top + crop.shape[0], left : left + crop.shape[1]]
        below = part[crop]
        overlapping += int(np.count_nonzero((below != 0) & (below != entry.value)))
        part[crop] = entry.value
    if overlapping:
        notes.append(
            f"Objects of different labels overlap in {overlapping} pixels; the later one was taken there."
        )
    return Laid(Mask(array.reshape(info.spatial_shape)), tuple(problems), tuple(notes))


def _place_all(
    images: Sequence[FileImage], info: ImageInfo, labels: tuple[Label, ...], label_map: LabelMap | None
) -> tuple[list[_Placed], list[Problem], list[str]]:
    placed: list[_Placed] = []
    problems: list[Problem] = []
    unknown: Counter[str] = Counter()
    cut = 0
    for image in images:
        _check_size(image, info)
        for one in image.objects:
            value = value_of(one, labels, label_map)
            if value is None:
                unknown[one.label or f"class {one.number}"] += 1
            if not value:
                continue
            try:
                entry, was_cut = _place(one, value, image.plane or 0, info)
            except _Left as left:
                problems.append(Problem(f"{image.source}, {one.where}", str(left)))
                continue
            placed.append(entry)
            cut += was_cut
    names = ", ".join(label.name for label in labels)
    problems += [
        Problem(
            images[0].source,
            f"{count} {'object is' if count == 1 else 'objects are'} called {name!r}, which is no label of this "
            f"project ({names}); add the label or give a label map.",
        )
        for name, count in unknown.items()
    ]
    notes = (
        [f"{images[0].source}: {cut} boxes reached out of the image and were cut at its edge."] if cut else []
    )
    return placed, problems, notes


def _check_size(image: FileImage, info: ImageInfo) -> None:
    rows, columns = info.spatial_shape[-2:]
    if image.size is not None and image.size != (columns, rows):
        raise LabelError(
            f"{image.source} says that {image.name} has {image.size[0]} x {image.size[1]} pixels, the image has "
            f"{columns} x {rows}; the labels are of another image."
        )
    if image.plane is not None and image.plane >= info.slices:
        raise LabelError(
            f"{image.source} speaks of plane {image.plane + 1} of {image.name}, which has {info.slices}."
        )


def value_of(one: FileObject, labels: tuple[Label, ...], label_map: LabelMap | None) -> int | None:
    """Return the label value of an object; 0 for what is to be left out unseen, None for an unknown class."""
    name = one.label
    if label_map is not None:
        chosen = label_map.get(one.number) if one.number is not None else None
        name = chosen or label_map.get("any") or name
    exact = next((label.value for label in labels if label.name == name), None)
    if exact is not None:
        return exact
    if name.lower() in BACKGROUND_NAMES and label_map is not None:
        return 0
    folded = name.strip().casefold()
    return next((label.value for label in labels if label.name.casefold() == folded), None)


def _place(one: FileObject, value: int, plane: int, info: ImageInfo) -> tuple[_Placed, bool]:
    """Lay one object on its image; also tell whether its box was cut.

    Raises:
        _Left: when it has no size or lies outside.
    """
    rows, columns = info.spatial_shape[-2], info.spatial_shape[-1]
    if one.relative:
        one = _scaled(one, (columns, rows))
    mask = _mask_of(one, (rows, columns))
    box = one.box_xyxy or (_box_of(mask) if mask is not None else (0.0, 0.0, 0.0, 0.0))
    left, top, right, bottom = box
    shown = f"({left:g}, {top:g}) to ({right:g}, {bottom:g})"
    if right <= left or bottom <= top:
        raise _Left(f"Its box has no size: {shown}.")
    if right <= 0 or bottom <= 0 or left >= columns or top >= rows:
        raise _Left(f"Its box {shown} lies outside of the image of {columns} x {rows} pixels.")
    inside = np.array([max(left, 0), max(top, 0), min(right, columns), min(bottom, rows)], np.float32)
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        raise _Left(f"Its box has no size: {shown}.")
    was_cut = min(left, top) < -INSIDE_PX or right > columns + INSIDE_PX or bottom > rows + INSIDE_PX
    corners = tuple(inside.tolist())
    return _Placed(one, value, plane, (corners[0], corners[1], corners[2], corners[3]), mask), was_cut


def _scaled(one: FileObject, size: tuple[int, int]) -> FileObject:
    """Turn shares of width and height into pixels; a billionth of a pixel off a half is that half."""
    scale = np.array(size, np.float64)

    def pixels(values: Array) -> Array:
        exact = values * scale
        near = np.rint(exact * 2) / 2
        return np.where(np.abs(exact - near) < 1e-9 * scale, near, exact)

    box = one.box_xyxy
    if box is not None:
        corners = pixels(np.array(box).reshape(2, 2)).ravel().tolist()
        box = (corners[0], corners[1], corners[2], corners[3])
    return replace(one, box_xyxy=box, outlines=tuple(map(pixels, one.outlines)), relative=False)


def _mask_of(one: FileObject, shape: tuple[int, int]) -> tuple[Array, tuple[int, int]] | None:
    """Return (crop, its corner) of an object's mask; None where the file tells no mask.

    Raises:
        _Left: when its run lengths are of another image, or its mask marks no pixel.
    """
    if one.counts is not None:
        if sum(one.counts) != shape[0] * shape[1]:
            raise _Left("Its run lengths do not have the size of the image.")
        crop, corner = crop_of_counts(list(one.counts), shape)
        if not crop.size:
            raise _Left("Its mask marks no pixel.")
        return crop, corner
    if not one.outlines:
        return None
    corners = np.concatenate(one.outlines)
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, shape[::-1]).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, shape[::-1]).astype(int).tolist()
    crop = np.zeros((max(bottom - top, 0), max(right - left, 0)), bool)
    for outline in one.outlines if crop.size else ():
        crop |= rasterise_polygon(outline - (left, top), crop.shape)
    if not crop.any():
        raise _Left("Its outline encloses no pixel of the image.")
    return crop, (left, top)


def _box_of(mask: tuple[Array, tuple[int, int]]) -> BoxXyxy:
    """Return the box around the marked pixels of a crop."""
    crop, (left, top) = mask
    rows, columns = np.flatnonzero(crop.any(axis=1)), np.flatnonzero(crop.any(axis=0))
    return (
        float(left + columns[0]), float(top + rows[0]),
        float(left + columns[-1] + 1), float(top + rows[-1] + 1),
    )  # fmt: skip


def _grown(entry: _Placed) -> _Placed:
    """Let a box reach around its mask where the mask has pixels that the box does not touch."""
    if entry.mask is None:
        return entry
    left, top, right, bottom = _box_of(entry.mask)
    box = entry.box
    outside = (
        left < np.floor(box[0])
        or top < np.floor(box[1])
        or right > np.ceil(box[2])
        or bottom > np.ceil(box[3])
    )
    if not outside:
        return entry
    grown = (min(box[0], left), min(box[1], top), max(box[2], right), max(box[3], bottom))
    return replace(entry, box=grown)


def _crop(entry: _Placed) -> Array:
    """Return the mask of an object on the pixels that its box touches."""
    shape = crop_shape(np.array(entry.box))
    if entry.mask is None:
        return np.ones(shape, bool)
    result = np.zeros(shape, bool)
    crop, (left, top) = entry.mask
    x, y = left - int(np.floor(entry.box[0])), top - int(np.floor(entry.box[1]))
    rows, columns = slice(max(y, 0), y + crop.shape[0]), slice(max(x, 0), x + crop.shape[1])
    part = crop[max(-y, 0) :, max(-x, 0) :][: shape[0] - rows.start, : shape[1] - columns.start]
    result[rows.start : rows.start + part.shape[0], columns.start : columns.start + part.shape[1]] = part
    return result
