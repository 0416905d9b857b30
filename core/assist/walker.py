"""A random walk between seeds: how likely a walker from each pixel meets a seed of the thing first."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import cg

from core.assist.levels import FloatArray
from core.types import Array

CONTRAST = 0.02  # of values in [0, 1]: a difference at which a step becomes e times less likely
PRIOR_WEIGHT = 0.02
SMALLEST_STEP = 1e-4
TOLERANCE = 1e-3
MOST_ITERATIONS = 400


def walk_randomly(
    channels: FloatArray, seeds: Array, prior: FloatArray | None = None, weight: float = PRIOR_WEIGHT
) -> FloatArray:
    """Return the probability that a random walker meets a seed of the thing before one of the rest.

    Args:
        channels: (h, w, n), in about [0, 1]; steps across edges are unlikely.
        seeds: int8 (h, w): 1 the thing, 0 the rest, -1 unknown; both must be there.
        prior: (h, w), how likely a pixel by itself is the thing; draws the walk towards it.
        weight: of the prior against the steps.

    Raises:
        ValueError: when a kind of seed is missing.

    Source: L. Grady, Random walks for image segmentation, IEEE TPAMI 28 (2006); L. Grady, Multilabel random walker
    image segmentation using prior models, CVPR 2005, eq. 8 (the prior).
    """
    if not (seeds == 1).any() or not (seeds == 0).any():
        raise ValueError("a random walk needs seeds of the thing and of the rest.")
    shape = seeds.shape
    size = seeds.size
    numbers = np.arange(size).reshape(shape)
    pairs, steps = [], []
    for axis in (0, 1):
        difference = np.linalg.norm(np.diff(channels, axis=axis), axis=2)
        ends = (np.delete(numbers, -1, axis), np.delete(numbers, 0, axis))
        pairs.append(np.stack([end.ravel() for end in ends]))
        steps.append((np.exp(-difference / CONTRAST) + SMALLEST_STEP).ravel())
    (one, other), step = np.concatenate(pairs, axis=1), np.concatenate(steps)
    total: Array = np.bincount(one, step, size) + np.bincount(other, step, size)
    right: Array = np.zeros(size)
    if prior is not None:
        likely = prior.ravel().astype(np.float64)
        lead = weight * np.abs(2 * likely - 1)  # what is undecided leads nowhere
        total = total + lead
        right = lead * likely
    fixed = seeds.ravel()
    free = np.flatnonzero(fixed < 0)
    answer: Array = np.where(fixed == 1, 1.0, 0.0)
    if len(free):
        answer[free] = _solve(
            np.concatenate([[one, other], [other, one]], axis=1), np.tile(step, 2), total, answer, right, free
        )
    result: FloatArray = np.clip(answer, 0, 1).reshape(shape).astype(np.float32)
    return result


def _solve(pairs: Array, step: Array, total: Array, known: Array, right: Array, free: Array) -> Array:
    """Solve for the free pixels: each is the mean of its neighbours, weighted by steps, and of the prior."""
    place = np.full(len(total), -1)
    place[free] = np.arange(len(free))
    here, there = pairs
    mine = place[here] >= 0
    here, there, step = here[mine], there[mine], step[mine]
    b = right[free] + np.bincount(place[here], np.where(place[there] < 0, step * known[there], 0), len(free))
    inner = place[there] >= 0
    # Scaled to a unit diagonal: the simplest preconditioner, and the matrix stays symmetric.
    scale = 1 / np.sqrt(total[free])
    rows, columns = place[here[inner]], place[there[inner]]
    count = len(free)
    off = coo_matrix((-step[inner] * scale[rows] * scale[columns], (rows, columns)), (count, count)).tocsr()
    off.setdiag(1.0)
    found, _ = cg(off, b * scale, x0=np.full(count, 0.5) / scale, rtol=TOLERANCE, maxiter=MOST_ITERATIONS)
    answer: Array = found * scale
    return answer
