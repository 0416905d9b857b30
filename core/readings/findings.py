"""Boxes of neighbouring slices that show one thing in space: a finding.

A nodule in twelve slices is twelve boxes but one finding, and findings are what clinicians count. Boxes are linked
when they lie on neighbouring slices, have one label and overlap; each takes the partner it overlaps most, so that two
things side by side stay two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.readings.reading import Boxes
from core.types import Array

LINK_IOU = 0.2  # least overlap of the boxes of one thing on neighbouring slices
GAP = 2  # slices apart that still link: a model may miss one slice in the middle


@dataclass(frozen=True)
class Finding:
    """One thing in space.

    Attributes:
        label: its label value.
        score: the highest of its boxes' scores; 1 for a person's.
        crowd: True when it stands for a crowd nobody counted.
        members: numbers of its boxes.
    """

    label: int
    score: float
    crowd: bool
    members: tuple[int, ...]


def box_ious(first: Array, second: Array) -> Array:
    """Return the intersection over union of each of n boxes with each of m boxes, float64 (n, m)."""
    shared = shared_areas(first, second)
    return shared / (areas_of(first)[:, None] + areas_of(second)[None] - shared)


def link_findings(boxes: Boxes, least_iou: float = LINK_IOU, gap: int = GAP) -> Boxes:
    """Give each box the number of its finding (``groups``, from 1 in the order of the first slice).

    Args:
        boxes: objects of a volume, by plane.
        least_iou: overlap from which two boxes show one thing, in (0, 1].
        gap: how many slices apart they may lie, 1 or more.

    Raises:
        ValueError: when ``least_iou`` or ``gap`` is out of range.
    """
    if not 0 < least_iou <= 1 or gap < 1:
        raise ValueError(f"least_iou must lie in (0, 1] and gap be 1 or more, got {least_iou} and {gap}.")
    by_plane = {int(plane): np.flatnonzero(boxes.planes == plane) for plane in np.unique(boxes.planes)}
    follower = np.full(len(boxes), -1)
    taken = np.zeros(len(boxes), bool)
    for step in range(1, gap + 1):  # true neighbours first: a gap is bridged only by what is still free
        for plane, upper in by_plane.items():
            lower = by_plane.get(plane + step, upper[:0])
            free_upper, free_lower = upper[follower[upper] < 0], lower[~taken[lower]]
            for one, other in _best_pairs(boxes, free_upper, free_lower, least_iou):
                follower[one], taken[other] = other, True
    return _numbered(boxes, follower, taken)


def findings_of(boxes: Boxes) -> tuple[Finding, ...]:
    """Return the findings of boxes that carry ``groups``; boxes without are linked first."""
    linked = boxes if boxes.groups is not None else link_findings(boxes)
    groups = np.asarray(linked.groups)
    found = []
    for number in np.unique(groups):
        members = np.flatnonzero(groups == number)
        scores = np.ones(1) if linked.scores is None else linked.scores[members]
        crowd = linked.crowds is not None and bool(linked.crowds[members].all())
        label = int(linked.labels[members[int(scores.argmax())]])
        found.append(Finding(label, float(scores.max()), crowd, tuple(members.tolist())))
    return tuple(found)


def areas_of(box_xyxy: Array) -> Array:
    """Return the area of each of n boxes in pixels, float64 (n,)."""
    sides = box_xyxy.astype(np.float64)
    return (sides[:, 2:] - sides[:, :2]).prod(axis=1)


def shared_areas(first: Array, second: Array) -> Array:
    """Return the area that each of n boxes shares with each of m boxes, float64 (n, m)."""
    a, b = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    return (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0).prod(axis=-1)


def _best_pairs(boxes: Boxes, upper: Array, lower: Array, least_iou: float) -> list[tuple[int, int]]:
    """Pair boxes of two planes, greatest overlap first, each once, only within a label."""
    if not len(upper) or not len(lower):
        return []
    ious = box_ious(boxes.box_xyxy[upper], boxes.box_xyxy[lower])
    ious[boxes.labels[upper][:, None] != boxes.labels[lower][None]] = 0
    pairs, rows, columns = [], set(), set()
    for place in np.argsort(-ious, axis=None, kind="stable").tolist():
        row, column = divmod(place, len(lower))
        if ious[row, column] < least_iou:
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((int(upper[row]), int(lower[column])))
    return pairs


def _numbered(boxes: Boxes, follower: Array, taken: Array) -> Boxes:
    groups = np.zeros(len(boxes), np.int32)
    order = np.argsort(boxes.planes, kind="stable")
    for number, start in enumerate(order[~taken[order]].tolist(), start=1):
        while start >= 0:
            groups[start] = number
            start = int(follower[start])
    return replace(boxes, groups=groups)
