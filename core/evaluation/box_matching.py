"""Which found object is which true one: COCO's rule at one or many overlaps, and the picture of agreement.

COCO's rule: from the surest down, each found object takes the free true object of its label that it overlaps most,
when the overlap (IoU) reaches the limit; a second one on the same object is false. What falls on a crowd, or on an
object whose size is not asked for, is neither right nor wrong.

Source: pycocotools ``cocoeval.py`` (evaluateImg).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.readings.findings import areas_of, findings_of, shared_areas
from core.readings.reading import Boxes
from core.types import Array

FALSE, FOUND, IGNORED = 0, 1, 2
MATCH_IOU = 0.5
# Objects in space overlap less than their slices do; nnDetection counts a hit from 0.1 (Baumgartner et al.,
# arXiv:2106.00817).
SPACE_IOU = 0.1


def match_objects(
    ious: Array, ignored: Array, crowds: Array, outside: Array, limits: Array
) -> tuple[Array, Array]:
    """Say of each found object whether it is right, false or neither, at each limit.

    Args:
        ious: (found, true), the found ones from the surest down.
        ignored: bool (true,) objects that need not be found.
        crowds: bool (true,) of those, the ones that any number of found objects may fall on.
        outside: bool (found,) found objects that are not counted when they fall on nothing.
        limits: overlaps (t,) from which an object is found.

    Returns:
        int8 (t, found) of FALSE, FOUND, IGNORED; int64 (t, found) number of the true object, -1 for none.
    """
    n_found, n_true = ious.shape
    states = np.tile(np.where(outside, IGNORED, FALSE).astype(np.int8), (len(limits), 1))
    partners = np.full((len(limits), n_found), -1)
    if not n_true:
        return states, partners
    free = np.ones((len(limits), n_true), bool)
    reach = np.minimum(limits, 1 - 1e-10)
    places = np.arange(len(limits))
    for number in np.flatnonzero(ious.max(axis=1) >= reach.min()).tolist():
        open_ = np.ones(len(limits), bool)
        for kind, state in ((~ignored, FOUND), (ignored, IGNORED)):
            worth = np.where(kind & (free | crowds), ious[number], -1.0)
            best = n_true - 1 - worth[:, ::-1].argmax(axis=1)  # the last of equals, as COCO takes it
            hit = open_ & (worth[places, best] >= reach)
            states[hit, number], partners[hit, number] = state, best[hit]
            free[places[hit], best[hit]] = False
            open_ &= ~hit
    return states, partners


@dataclass(frozen=True)
class Agreement:
    """How two readers' objects in one case go together.

    Attributes:
        partners: for each object of the first reader, the number of the other's object with the same label; -1
            for none.
        mixed: the same for objects that lie together but have different labels.
        excused: bool, objects of the first reader that lie on a crowd.
        n_other: number of the other reader's objects, crowds among them.
        n_crowds: number of those.
    """

    partners: Array
    mixed: Array
    excused: Array
    n_other: int
    n_crowds: int

    @property
    def n_found(self) -> int:
        """Objects both saw, with the same label."""
        return int((self.partners >= 0).sum())

    @property
    def n_false(self) -> int:
        """Objects that only the first reader saw, or saw under another label."""
        return int(((self.partners < 0) & ~self.excused).sum())

    @property
    def n_missed(self) -> int:
        """Objects that only the other reader saw, or saw under another label."""
        return self.n_other - self.n_crowds - self.n_found

    @property
    def n_mixed(self) -> int:
        """Objects both saw under different labels; they are among the false and among the missed, too."""
        return int((self.mixed >= 0).sum())


@dataclass(frozen=True)
class Seen:
    """Objects as they are compared: boxes of single planes, or findings in space.

    Attributes:
        boxes: the boxes that make them up.
        labels, scores, crowds: of each object; a person's scores are 1.
        owners: int (boxes,) the object that each box belongs to.
    """

    boxes: Boxes
    labels: Array
    scores: Array
    crowds: Array
    owners: Array

    def __len__(self) -> int:
        return len(self.labels)


def seen_objects(boxes: Boxes, in_space: bool) -> Seen:
    """Return the objects of a reading: its boxes, or its findings where they are counted in space."""
    if not in_space:
        scores = np.ones(len(boxes)) if boxes.scores is None else boxes.scores.astype(np.float64)
        crowds = np.zeros(len(boxes), bool) if boxes.crowds is None else boxes.crowds
        return Seen(boxes, boxes.labels.astype(np.int64), scores, crowds, np.arange(len(boxes)))
    findings = findings_of(boxes)
    owners = np.zeros(len(boxes), np.int64)
    for number, finding in enumerate(findings):
        owners[list(finding.members)] = number
    return Seen(
        boxes,
        np.array([finding.label for finding in findings], np.int64),
        np.array([finding.score for finding in findings], np.float64),
        np.array([finding.crowd for finding in findings], bool),
        owners,
    )


def overlaps(first: Seen, other: Seen) -> Array:
    """Return how much each object overlaps with each, float64 (n, m): IoU, or the share of it inside a crowd.

    The volume of a finding is the sum of its boxes' areas; slices weigh alike, so the spacing does not matter.
    """
    shared = np.zeros((len(first), len(other)))
    for plane in np.intersect1d(first.boxes.planes, other.boxes.planes):
        a, b = (np.flatnonzero(seen.boxes.planes == plane) for seen in (first, other))
        part = shared_areas(first.boxes.box_xyxy[a], other.boxes.box_xyxy[b])
        np.add.at(shared, (first.owners[a][:, None], other.owners[b][None]), part)
    sizes, other_sizes = (
        np.bincount(seen.owners, areas_of(seen.boxes.box_xyxy), len(seen)) for seen in (first, other)
    )
    whole = np.where(other.crowds[None], sizes[:, None], sizes[:, None] + other_sizes[None] - shared)
    return np.asarray(shared / whole)


def match_by_label(ours: Seen, theirs: Seen, together: Array, limit: float) -> tuple[Array, Array]:
    """Match the objects of each label, from the surest down.

    Returns:
        int8 (n,) of FALSE, FOUND, IGNORED; int64 (n,) number of the true object, -1 for none.
    """
    states, partners = np.full(len(ours), FALSE, np.int8), np.full(len(ours), -1)
    for label in np.unique(ours.labels).tolist():
        mine, his = np.flatnonzero(ours.labels == label), np.flatnonzero(theirs.labels == label)
        mine = mine[np.argsort(-ours.scores[mine], kind="stable")]
        crowds, nowhere = theirs.crowds[his], np.zeros(len(mine), bool)
        found, which = match_objects(
            together[np.ix_(mine, his)], crowds, crowds, nowhere, np.array([limit])
        )  # fmt: skip
        states[mine] = found[0]
        hit = found[0] == FOUND
        partners[mine[hit]] = his[which[0][hit]]
    return states, partners


def agreement_of(first: Boxes, other: Boxes, in_space: bool = False) -> tuple[Agreement, Seen, Seen]:
    """Pair the objects of two readings, label by label; then pair what is left across labels.

    Args:
        first: the reader that is measured; only what counts (``Boxes.decided``).
        other: the reader it is measured against; likewise.
        in_space: True for volumes: findings in space are paired instead of boxes.

    Returns:
        The agreement, and both readers' objects in the order it speaks of.
    """
    ours, theirs = seen_objects(first, in_space), seen_objects(other, in_space)
    partners, mixed = np.full(len(ours), -1), np.full(len(ours), -1)
    excused = np.zeros(len(ours), bool)
    for mine, his in _units(ours, theirs, in_space):
        part, other_part = _only(ours, mine, in_space), _only(theirs, his, in_space)
        together = overlaps(part, other_part)
        limit = SPACE_IOU if in_space else MATCH_IOU
        states, found = match_by_label(part, other_part, together, limit)
        excused[mine] = states == IGNORED
        partners[mine] = np.where(found >= 0, his[found] if len(his) else -1, -1)
        others = _pair_across_labels(together, (states, found), other_part.crowds, limit)
        mixed[mine] = np.where(others >= 0, his[others] if len(his) else -1, -1)
    return Agreement(partners, mixed, excused, len(theirs), int(theirs.crowds.sum())), ours, theirs


def _units(ours: Seen, theirs: Seen, in_space: bool) -> list[tuple[Array, Array]]:
    """Return the numbers of objects that can meet: all in space, else those of one plane."""
    if in_space:
        return [(np.arange(len(ours)), np.arange(len(theirs)))]
    planes = np.union1d(ours.boxes.planes, theirs.boxes.planes)
    return [
        (np.flatnonzero(ours.boxes.planes == plane), np.flatnonzero(theirs.boxes.planes == plane))
        for plane in planes
    ]


def _only(seen: Seen, numbers: Array, in_space: bool) -> Seen:
    return seen if in_space else seen_objects(seen.boxes.only(numbers), False)


def _pair_across_labels(together: Array, matched: tuple[Array, Array], crowds: Array, limit: float) -> Array:
    """Pair what is left on both sides, greatest overlap first; return the true object of each, -1 for none."""
    states, found = matched
    mixed = np.full(len(states), -1)
    left = np.flatnonzero(states == FALSE)
    rest = np.flatnonzero(~crowds & ~np.isin(np.arange(len(crowds)), found))
    table = together[np.ix_(left, rest)]
    taken: set[int] = set()
    for place in np.argsort(-table, axis=None, kind="stable").tolist():
        row, column = divmod(place, len(rest))
        if table[row, column] < limit:
            break
        if mixed[left[row]] < 0 and column not in taken:
            mixed[left[row]] = rest[column]
            taken.add(column)
    return mixed
