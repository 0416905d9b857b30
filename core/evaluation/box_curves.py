"""Average precision and FROC over cases that weigh more or less: what an interval by patient needs.

Objects of all images are sorted once, from the surest down; drawing patients anew then only changes how often each
counts. With every weight 1 the numbers equal those of faster-coco-eval and pycocotools (tested to 1e-9).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.evaluation.box_matching import FALSE, FOUND
from core.types import Array

RECALLS = np.linspace(0, 1, 101)  # COCO's
FROC_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # false positives per image
_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Ranking:
    """Found objects of one label, the surest first, and how many there are to find.

    Attributes:
        scores: float64 (n,), falling.
        patients: int (n,) number of the patient of each.
        right: bool (n,) True for found, False for false; those that count as neither are left out.
        to_find: float64 (patients,) number of true objects of each patient.
        images: float64 (patients,) number of images of each patient.
    """

    scores: Array
    patients: Array
    right: Array
    to_find: Array
    images: Array


def rank(scores: Array, patients: Array, states: Array, to_find: Array, images: Array) -> Ranking:
    """Sort objects in any order into a ranking; equals keep their order, as in COCO."""
    order = np.argsort(-scores, kind="stable")
    order = order[(states[order] == FOUND) | (states[order] == FALSE)]
    return Ranking(scores[order], patients[order], states[order] == FOUND, to_find, images)


def join(rankings: Sequence[Ranking]) -> Ranking:
    """Put the rankings of several labels together; the images are the same for all."""
    scores = np.concatenate([one.scores for one in rankings])
    order = np.argsort(-scores, kind="stable")
    return Ranking(
        scores[order],
        np.concatenate([one.patients for one in rankings])[order],
        np.concatenate([one.right for one in rankings])[order],
        np.sum([one.to_find for one in rankings], axis=0),
        rankings[0].images,
    )


def average_precision(ranking: Ranking, weights: Array) -> Array:
    """Return COCO's average precision (mean of the best precision at 101 recalls) at each weighting.

    Args:
        ranking: the objects.
        weights: float64 (b, patients) how often each patient counts.

    Returns:
        float64 (b,), NaN where nothing is to be found.
    """
    right_by, false_by = _counts_at_hits(ranking, ties_together=False)
    total = weights @ ranking.to_find
    result = np.zeros(len(weights))
    for part in _parts(len(weights), len(right_by)):
        hits = weights[part] @ right_by.T
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.nan_to_num(hits / (hits + weights[part] @ false_by.T))
            recall = np.nan_to_num(hits / total[part, None])
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        result[part] = _first_at(recall, best)
    return np.where(total > 0, result, np.nan)


def froc_sensitivities(ranking: Ranking, weights: Array, rates: Sequence[float] = FROC_RATES) -> Array:
    """Return the sensitivity at given numbers of false positives per image, at each weighting.

    At a rate stands the best sensitivity that any score threshold reaches with no more false positives per
    image; nothing is interpolated.

    Returns:
        float64 (b, rates), NaN where nothing is to be found.

    Source: Bunch et al. 1977; the seven rates are LUNA16's (Setio et al. 2017).
    """
    right_by, false_by = _counts_at_hits(ranking, ties_together=True)
    total, images = weights @ ranking.to_find, weights @ ranking.images
    result = np.zeros((len(weights), len(rates)))
    for part in _parts(len(weights), len(right_by)):
        hits = weights[part] @ right_by.T
        false = weights[part] @ false_by.T
        for column, rate in enumerate(rates):
            allowed = false <= rate * images[part, None] + 1e-9
            result[part, column] = np.where(allowed, hits, 0).max(axis=1, initial=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total[:, None] > 0, result / total[:, None], np.nan)


def froc_curve(ranking: Ranking) -> tuple[Array, Array, Array]:
    """Return (false positives per image, sensitivity, score threshold), one point per distinct score."""
    last = np.flatnonzero(np.diff(ranking.scores, append=-np.inf))
    hits, false = np.cumsum(ranking.right)[last], np.cumsum(~ranking.right)[last]
    total = max(float(ranking.to_find.sum()), 1.0)
    return false / ranking.images.sum(), hits / total, ranking.scores[last]


def best_f1(ranking: Ranking) -> tuple[float, float]:
    """Return (score threshold, F1) where F1 is best; the higher threshold of equals; (0, 0) without objects."""
    rates, sensitivities, scores = froc_curve(ranking)
    total = float(ranking.to_find.sum())
    if not len(scores) or not total:
        return 0.0, 0.0
    hits, false = sensitivities * total, rates * ranking.images.sum()
    f1 = 2 * hits / (hits + false + total)
    best = int(f1.argmax())
    return float(scores[best]), float(f1[best])


def _counts_at_hits(ranking: Ranking, ties_together: bool) -> tuple[Array, Array]:
    """Return, at each right object, the right and the false ones so far of each patient (hits, patients).

    Between two right objects neither precision nor sensitivity can rise, so that these points are enough.
    """
    n_patients, at = len(ranking.to_find), np.flatnonzero(ranking.right)
    one_each = np.zeros((len(at), n_patients))
    one_each[np.arange(len(at)), ranking.patients[at]] = 1
    right_by = np.cumsum(one_each, axis=0)
    wrong = np.flatnonzero(~ranking.right)
    if ties_together:  # a threshold takes all objects of one score or none
        falling = -ranking.scores
        seen = np.searchsorted(falling[at], falling[at], side="right") - 1
        right_by = right_by[seen]
        before = np.searchsorted(falling[at], falling[wrong], side="left")
    else:
        before = np.searchsorted(at, wrong)
    false_by = np.zeros((len(at) + 1, n_patients))
    np.add.at(false_by, (before, ranking.patients[wrong]), 1)
    return right_by, np.cumsum(false_by[:-1], axis=0)


def _first_at(recall: Array, best: Array) -> Array:
    """Return the mean over COCO's recalls of ``best`` where ``recall`` (rising along rows) first reaches each."""
    rows, columns = recall.shape
    if not columns:
        return np.zeros(rows)
    place = np.stack([np.searchsorted(row, RECALLS) for row in recall])
    values = np.concatenate([best, np.zeros((rows, 1))], axis=1)
    return np.take_along_axis(values, place, axis=1).mean(axis=1)


def _parts(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, _NUMBERS_AT_ONCE // max(1, columns))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
