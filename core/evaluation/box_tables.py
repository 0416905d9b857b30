"""Two readers' boxes of many cases, gathered case by case into what the scores are computed from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import LabelError
from core.evaluation.box_curves import Ranking, average_precision, join, rank
from core.evaluation.box_matching import (
    MATCH_IOU,
    SPACE_IOU,
    Seen,
    agreement_of,
    match_by_label,
    match_objects,
    overlaps,
    seen_objects,
)
from core.evaluation.coco_scorer import IOU_LIMITS, SIZES, Plane, Shape, plane_overlaps
from core.readings.reading import Boxes
from core.readings.rle import as_rle
from core.types import Array, ImageInfo, Label


@dataclass(frozen=True)
class BoxPair:
    """One case as two readers saw it: the one that is measured, and the one it is measured against."""

    case: str
    patient: str
    info: ImageInfo
    ours: Boxes
    theirs: Boxes
    case_id: int | None = None
    split: str | None = None


@dataclass(frozen=True)
class Case:
    """What a case adds: its numbers by label, how its objects go together, what it is called.

    Attributes:
        counts: label value -> (found, false, missed).
        mixed: (label of the other reader, label of this one) of objects seen under different labels.
        precision50: average precision at an overlap of 0.5 within this case; NaN when nothing is to be found.
        totals: label value -> (objects of this reader, objects of the other).
    """

    pair: BoxPair
    counts: dict[int, tuple[int, int, int]]
    mixed: list[tuple[int, int]]
    precision50: float
    totals: dict[int, tuple[int, int]]


@dataclass
class Tables:
    """Everything gathered, without pixels. Patients are numbered in the order they come."""

    labels: tuple[Label, ...]
    patients: dict[str, int] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)
    planes: list[tuple[Plane, Plane]] = field(default_factory=list)
    plane_patients: list[int] = field(default_factory=list)
    hits: dict[int, list[tuple[Array, Array, int, int]]] = field(default_factory=dict)
    images: dict[int, int] = field(default_factory=dict)
    with_masks: bool = True
    without_scores: bool = False
    in_space: bool = False

    @property
    def values(self) -> list[int]:
        """The labels' values, rising."""
        return sorted(label.value for label in self.labels)

    def of_patients(self, numbers: dict[int, float]) -> Array:
        """Return numbers by patient as an array."""
        return np.array([numbers.get(place, 0) for place in range(len(self.patients))], np.float64)


def gather(pairs: Iterable[BoxPair], labels: tuple[Label, ...], threshold: float | None) -> Tables:
    """Match the objects of all cases.

    Args:
        pairs: read one after the other.
        labels: the project's label set; objects of other labels do not count.
        threshold: score from which the first reader's objects count; None: its own rule.

    Raises:
        LabelError: when there is no label, or a reading does not fit its image.
    """
    if not labels:
        raise LabelError("There is no label to score: add a label to the project first.")
    tables = Tables(labels)
    for pair in pairs:
        patient = tables.patients.setdefault(pair.patient, len(tables.patients))
        known = BoxPair(
            pair.case, pair.patient, pair.info,
            _known(pair.ours, pair, tables), _known(pair.theirs.decided(), pair, tables),
            pair.case_id, pair.split,
        )  # fmt: skip
        _add_planes(tables, known, patient)
        hits = _add_hits(tables, known, patient)
        tables.cases.append(_case_of(known, labels, threshold, hits))
        tables.without_scores |= known.ours.scores is None and len(known.ours) > 0
        tables.in_space |= pair.info.is_volume
        tables.with_masks &= all(
            boxes.crops is not None or not len(boxes) for boxes in (known.ours, known.theirs)
        )
    tables.with_masks &= any(len(case.pair.theirs) for case in tables.cases)
    return tables


def _known(boxes: Boxes, pair: BoxPair, tables: Tables) -> Boxes:
    misfit = boxes.misfit(pair.info)
    if misfit is not None:
        raise LabelError(f"{pair.case}: {misfit}")
    return boxes.only(np.isin(boxes.labels, tables.values))


def _add_planes(tables: Tables, pair: BoxPair, patient: int) -> None:
    for plane in np.union1d(pair.ours.planes, pair.theirs.planes).tolist():
        sides = [_plane_of(boxes, plane, pair.info) for boxes in (pair.ours, pair.theirs)]
        tables.planes.append((sides[0], sides[1]))
        tables.plane_patients.append(patient)


def _plane_of(boxes: Boxes, number: int, info: ImageInfo) -> Plane:
    here = boxes.only(boxes.planes == number)
    shape = (info.spatial_shape[-2], info.spatial_shape[-1])
    corners = here.box_xyxy.astype(np.float64)
    sides = corners[:, 2:] - corners[:, :2]
    rles: list[dict[str, Any]] | None = None
    if here.crops is not None:
        places = np.floor(corners[:, :2]).astype(int).tolist()
        rles = [as_rle(crop, (x, y), shape) for crop, (x, y) in zip(here.crops, places, strict=True)]
    return Plane(
        shape,
        here.labels.astype(np.int64),
        np.hstack([corners[:, :2], sides]),
        sides.prod(axis=1),
        np.zeros(len(here), bool) if here.crowds is None else here.crowds,
        np.ones(len(here)) if here.scores is None else here.scores.astype(np.float64),
        rles,
    )


def _add_hits(tables: Tables, pair: BoxPair, patient: int) -> dict[int, tuple[Array, Array, int]]:
    """Match all objects whatever their score, for FROC; returns label -> (scores, states, to find)."""
    in_space = pair.info.is_volume
    frames = pair.info.slices if pair.info.layout[0] == "t" else 1
    tables.images[patient] = tables.images.get(patient, 0) + frames
    parts: dict[int, list[tuple[Array, Array, int]]] = {}
    for ours, theirs in _stages(pair, in_space):
        together = overlaps(ours, theirs)
        states, _ = match_by_label(ours, theirs, together, SPACE_IOU if in_space else MATCH_IOU)
        for value in tables.values:
            mine, his = ours.labels == value, (theirs.labels == value) & ~theirs.crowds
            parts.setdefault(value, []).append((ours.scores[mine], states[mine], int(his.sum())))
    hits = {
        value: (
            np.concatenate([scores for scores, _, _ in found]),
            np.concatenate([states for _, states, _ in found]),
            sum(count for _, _, count in found),
        )
        for value, found in parts.items()
    }
    for value, (scores, states, count) in hits.items():
        tables.hits.setdefault(value, []).append((scores, states, count, patient))
    return hits


def _stages(pair: BoxPair, in_space: bool) -> Iterable[tuple[Seen, Seen]]:
    """Yield what can meet: both readings' findings in space, or the objects of plane after plane."""
    if in_space:
        yield seen_objects(pair.ours, True), seen_objects(pair.theirs, True)
        return
    for plane in np.union1d(pair.ours.planes, pair.theirs.planes):
        sides = [boxes.only(boxes.planes == plane) for boxes in (pair.ours, pair.theirs)]
        yield seen_objects(sides[0], False), seen_objects(sides[1], False)


def _case_of(
    pair: BoxPair,
    labels: tuple[Label, ...],
    threshold: float | None,
    hits: dict[int, tuple[Array, Array, int]],
) -> Case:
    agreement, ours, theirs = agreement_of(pair.ours.decided(threshold), pair.theirs, pair.info.is_volume)
    counts, totals = {}, {}
    for label in labels:
        mine, his = ours.labels == label.value, (theirs.labels == label.value) & ~theirs.crowds
        found = int((agreement.partners[mine] >= 0).sum())
        false = int((mine & (agreement.partners < 0) & ~agreement.excused).sum())
        counts[label.value] = (found, false, int(his.sum()) - found)
        totals[label.value] = (found + false, int(his.sum()))
    mixed = np.flatnonzero(agreement.mixed >= 0)
    pairs = [(int(theirs.labels[agreement.mixed[one]]), int(ours.labels[one])) for one in mixed]
    return Case(pair, counts, pairs, _precision_of(hits), totals)


def _precision_of(hits: dict[int, tuple[Array, Array, int]]) -> float:
    one = np.ones((1, 1))
    values = [
        float(
            average_precision(rank(scores, np.zeros(len(scores), int), states, one[0] * count, one[0]), one)[
                0
            ]
        )
        for scores, states, count in hits.values()
        if count
    ]
    return float(np.mean(values)) if values else float("nan")


def hit_ranking(tables: Tables, value: int | None = None) -> Ranking:
    """Return the ranking behind FROC: of one label, or of all labels together."""
    if value is None:
        return join([hit_ranking(tables, one) for one in tables.values])
    parts = tables.hits.get(value, [])
    to_find: dict[int, float] = {}
    for _, _, count, patient in parts:
        to_find[patient] = to_find.get(patient, 0) + count
    return rank(
        np.concatenate([scores for scores, _, _, _ in parts] or [np.zeros(0)]),
        np.concatenate(
            [np.full(len(scores), patient) for scores, _, _, patient in parts] or [np.zeros(0, int)]
        ),
        np.concatenate([states for _, states, _, _ in parts] or [np.zeros(0, np.int8)]),
        tables.of_patients(to_find),
        tables.of_patients({patient: float(count) for patient, count in tables.images.items()}),
    )


def plane_rankings(tables: Tables, kind: Shape) -> dict[tuple[int, str], list[Ranking]]:
    """Return, for each label and size class, a ranking per overlap of ``IOU_LIMITS``, as COCO counts."""
    columns: dict[tuple[int, str], list[tuple[Array, Array, int, int]]] = {}
    for (ours, theirs), patient in zip(tables.planes, tables.plane_patients, strict=True):
        for value in tables.values:
            mine, his = _surest_first(_of_label(ours, value)), _of_label(theirs, value)
            if not len(mine.labels) and not len(his.labels):
                continue
            together = plane_overlaps(mine, his, kind)
            for size, (low, high) in SIZES.items():
                small = (his.areas < low) | (his.areas > high)
                outside = (mine.areas < low) | (mine.areas > high)
                ignored = his.crowds | small
                states, _ = match_objects(together, ignored, his.crowds, outside, IOU_LIMITS)
                row = (mine.scores, states, int((~ignored).sum()), patient)
                columns.setdefault((value, size), []).append(row)
    images = tables.of_patients({})
    return {key: _per_limit(tables, rows, images) for key, rows in columns.items()}


def _of_label(plane: Plane, value: int) -> Plane:
    return _chosen(plane, np.flatnonzero(plane.labels == value))


def _surest_first(plane: Plane) -> Plane:
    return _chosen(plane, np.argsort(-plane.scores, kind="stable"))


def _chosen(plane: Plane, numbers: Array) -> Plane:
    rles = None if plane.rles is None else [plane.rles[number] for number in numbers]
    return Plane(
        plane.shape, plane.labels[numbers], plane.boxes_xywh[numbers], plane.areas[numbers],
        plane.crowds[numbers], plane.scores[numbers], rles,
    )  # fmt: skip


def _per_limit(tables: Tables, rows: Sequence[tuple[Array, Array, int, int]], images: Array) -> list[Ranking]:
    scores = np.concatenate([row[0] for row in rows])
    states = np.concatenate([row[1] for row in rows], axis=1)
    patients = np.concatenate([np.full(len(row[0]), row[3]) for row in rows])
    to_find: dict[int, float] = {}
    for _, _, count, patient in rows:
        to_find[patient] = to_find.get(patient, 0) + count
    return [rank(scores, patients, one, tables.of_patients(to_find), images) for one in states]
