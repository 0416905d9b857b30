"""What a promptable network learns from: objects in pieces of images, and the clicks and boxes a person might give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from core.assist.levels import measure_levels, to_rgb_bytes
from core.assist.prompting import BOTTOM_RIGHT, NEGATIVE, PADDING, POSITIVE, TOP_LEFT
from core.readings.instances import instance_map
from core.readings.reading import Boxes, Mask, Reading
from core.types import Array, Image, ImageInfo

MOST_PX = 2048  # longer side of a plane that is kept; larger ones are reduced
PLANES_PER_CASE = 12
MOST_BYTES = 1_500_000_000
LEAST_AREA = 12  # pixels of an object on the network's square
POINTS = 6  # most points of one prompt, with the two corners of a box
BOX_SHARE = 0.35
RING = 0.3  # outside clicks lie up to so many times the object's size away


@dataclass(frozen=True)
class Plane:
    """One plane of a case with its objects.

    Attributes:
        rgb: uint8 (h, w, 3).
        objects: int32 (h, w), a number for each object, 0 between them.
        numbers: of the objects there are.
    """

    rgb: npt.NDArray[np.uint8]
    objects: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Sample:
    """A square picture (side, side, 3) and objects on it (k, side, side)."""

    picture: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Prompt:
    """Points as the decoder takes them: coords (p, 2) of x and y, labels (p,)."""

    coords: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]


def planes_of(read: Iterable[tuple[Image, Reading]], rng: np.random.Generator) -> list[Plane]:
    """Return the planes with objects, some of each case, as far as memory allows."""
    planes: list[Plane] = []
    size = 0
    for image, reading in read:
        sheets = _sheets(reading, image.info)
        marked = np.flatnonzero(sheets.any(axis=(1, 2)))
        levels = measure_levels(image)
        for index in sorted(rng.permutation(marked)[:PLANES_PER_CASE].tolist()):
            plane = _plane(to_rgb_bytes(image.plane(index), levels), _pieces(sheets[index]))
            planes.append(plane)
            size += plane.rgb.nbytes + plane.objects.nbytes
        if size > MOST_BYTES:
            break
    return [plane for plane in planes if len(plane.numbers)]


def _sheets(reading: Reading, info: ImageInfo) -> Array:
    """Return (slices, rows, columns) with a number for each label or object; empty where nothing has a mask."""
    shape = (info.slices, *info.spatial_shape[-2:])
    if isinstance(reading, Mask):
        return reading.array.reshape(shape)
    if isinstance(reading, Boxes) and reading.crops is not None:
        return instance_map(reading, info)[0].reshape(shape)
    return np.zeros(shape, np.uint8)


def _pieces(sheet: Array) -> Array:
    """Number the parts of each number that hang together."""
    objects = np.zeros(sheet.shape, np.int32)
    for number in np.unique(sheet[sheet > 0]):
        pieces = cv2.connectedComponents((sheet == number).astype(np.uint8), connectivity=8)[1]
        objects = np.where(pieces > 0, pieces + int(objects.max()), objects)
    return objects


def _plane(rgb: Array, objects: Array) -> Plane:
    longer = max(rgb.shape[:2])
    if longer > MOST_PX:
        size = tuple(max(1, round(side * MOST_PX / longer)) for side in rgb.shape[1::-1])
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
        objects = cv2.resize(objects.astype(np.float64), size, interpolation=cv2.INTER_NEAREST)
    objects = objects.astype(np.int32)
    numbers = np.unique(objects[objects > 0]).astype(np.int32)
    return Plane(np.ascontiguousarray(rgb, np.uint8), objects, numbers)


def cut_sample(plane: Plane, side: int, most: int, rng: np.random.Generator) -> Sample | None:
    """Cut a piece around a random object and bring it to the network's square, as ``PromptNetwork.encode`` does.

    Args:
        plane: with objects.
        side: of the square.
        most: objects to take.
        rng: chance.

    Returns:
        None when the objects there are too small to be seen.
    """
    number = int(rng.choice(plane.numbers))
    rows, columns = np.nonzero(plane.objects == number)
    shape = plane.objects.shape
    size = int(rng.uniform(0.6 * side, 2 * side))
    if max(shape) <= 2 * side and rng.random() < 0.5:
        size = max(shape)
    middle = rows[len(rows) // 2], columns[len(columns) // 2]
    top, left = (
        int(np.clip(at - rng.integers(0, size), 0, max(0, whole - size))) if size < whole else 0
        for at, whole in zip(middle, shape, strict=True)
    )
    picture: Array = plane.rgb[top : top + size, left : left + size]
    objects = plane.objects[top : top + size, left : left + size]
    scale = side / max(picture.shape[:2])
    new = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    picture = np.asarray(
        cv2.resize(picture, new, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    )
    objects = cv2.resize(objects.astype(np.float64), new, interpolation=cv2.INTER_NEAREST).astype(np.int32)
    areas = np.bincount(objects.ravel())
    seen = np.flatnonzero(areas >= LEAST_AREA)
    seen = seen[seen > 0]
    if not len(seen):
        return None
    chosen = rng.permutation(seen)[:most]
    filled = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.int32)
    filled[0][: new[1], : new[0]] = picture
    filled[1][: new[1], : new[0]] = objects
    return Sample(filled[0], filled[1] == chosen[:, None, None])


def vary(sample: Sample, rng: np.random.Generator) -> Sample:
    """Return it turned, mirrored, and lit otherwise."""
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    picture = np.rot90(sample.picture, turns)
    targets = np.rot90(sample.targets, turns, (1, 2))
    if mirrored:
        picture, targets = picture[:, ::-1], targets[:, :, ::-1]
    light = picture.astype(np.float32)
    if rng.random() < 0.15:
        light = 255 - light
    if rng.random() < 0.2:
        light = np.repeat(light.mean(axis=2, keepdims=True), 3, axis=2)
    light = (light - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-30, 30)
    return Sample(np.clip(light, 0, 255).astype(np.uint8), np.ascontiguousarray(targets))


def first_prompt(target: Array, rng: np.random.Generator, box: bool | None = None) -> Prompt:
    """Return what a person might begin with: a click inside, sometimes more, or a box drawn by hand.

    Args:
        target: bool (side, side), not empty.
        rng: chance.
        box: True for a box alone, False for one click alone; None leaves it to chance.
    """
    rows, columns = np.nonzero(target)
    points: list[tuple[float, float, int]] = []
    if box or (box is None and rng.random() < BOX_SHARE):
        loose = 0 if box else 0.12
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        jitter = rng.uniform(-loose, loose, 4) * (width, height, width, height)
        left, top, right, bottom = (
            np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) + jitter
        )
        points += [(left, top, TOP_LEFT), (right, bottom, BOTTOM_RIGHT)]
    if not points or (box is None and rng.random() < 0.3):
        points.append((*_inner_point(target, rng), POSITIVE))
    if box is None:
        points += [
            (*_outer_point(target, rng), NEGATIVE)
            for _ in range(int(rng.integers(3)) * int(rng.random() < 0.4))
        ]
    return _prompt(points)


def _inner_point(target: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Return (x, y) of a click inside, rather in the middle than at the edge."""
    depth = cv2.distanceTransform(np.pad(target, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= rng.uniform(0, 0.9) * depth.max())
    at = int(rng.integers(len(rows)))
    return columns[at] + 0.5, rows[at] + 0.5


def _outer_point(target: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Return (x, y) of a click outside, near the object."""
    rows, columns = np.nonzero(target)
    reach = RING * max(np.ptp(rows), np.ptp(columns)) + 8
    for _ in range(20):
        x = float(rng.uniform(columns.min() - reach, columns.max() + reach))
        y = float(rng.uniform(rows.min() - reach, rows.max() + reach))
        inside = 0 <= int(y) < target.shape[0] and 0 <= int(x) < target.shape[1]
        if inside and not target[int(y), int(x)]:
            return x, y
    return 0.0, 0.0


def correction(prompt: Prompt, found: Array, target: Array) -> Prompt:
    """Return the prompt with one more click, in the middle of the largest mistake.

    Args:
        prompt: so far.
        found, target: bool (side, side).

    Source: K. Sofiiuk, I. Petrov, A. Konushin, Reviving iterative training with mask guidance for interactive
    segmentation, 2021.
    """
    if int((prompt.labels != PADDING).sum()) >= POINTS:
        return prompt
    deepest = (0.0, 0.0, 0.0, POSITIVE)
    for wrong, label in ((target & ~found, POSITIVE), (found & ~target, NEGATIVE)):
        depth = cv2.distanceTransform(np.pad(wrong, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[row, column] > deepest[0]:
            deepest = (float(depth[row, column]), column + 0.5, row + 0.5, label)
    if deepest[0] == 0:
        return prompt
    kept = prompt.labels != PADDING
    points = [
        (x, y, int(label)) for (x, y), label in zip(prompt.coords[kept], prompt.labels[kept], strict=True)
    ]
    return _prompt([*points, deepest[1:]])


def _prompt(points: Sequence[tuple[float, float, int]]) -> Prompt:
    filled = [*points[:POINTS], *([(0.0, 0.0, PADDING)] * max(0, POINTS - len(points)))]
    table = np.array(filled, np.float32)
    return Prompt(table[:, :2], table[:, 2])
