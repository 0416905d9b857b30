"""Probabilities that follow edges: a guided filter, or a minimal cut."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np

from core.assist.levels import FloatArray
from core.types import Array

Smoothing = Literal["none", "guided", "cut"]
SMOOTHINGS: tuple[str, ...] = get_args(Smoothing)

GUIDED_RADIUS_PX = 4
GUIDED_EPSILON = 0.01**2  # of squared grey values in [0, 1]: contrasts below 1 % are smoothed over
CUT_STRENGTH = 1.2
CUT_CONTRAST = 0.06  # contrast (of values in [0, 1]) at which a boundary costs a third
CUT_STEPS = (40, 15, 8)  # at a quarter, half and full size
SURE = 1e-3


def smooth_probabilities(probabilities: FloatArray, grey: FloatArray, smoothing: Smoothing) -> FloatArray:
    """Return probabilities (classes, h, w) made smooth where the image is, summing to 1 again.

    Args:
        probabilities: (classes, h, w), summing to 1.
        grey: the plane, in about [0, 1].
        smoothing: "none", "guided" or "cut".

    Raises:
        ValueError: for another name.
    """
    if smoothing not in SMOOTHINGS:
        raise ValueError(f"smoothing must be one of {', '.join(SMOOTHINGS)}, got {smoothing!r}.")
    if smoothing == "none" or len(probabilities) < 2:
        return probabilities
    one_of = guided_filter if smoothing == "guided" else minimal_cut
    # Two classes are one question; more are one question each.
    asked = probabilities[1:] if len(probabilities) == 2 else probabilities
    answered = np.stack([one_of(p, grey) for p in asked])
    if len(probabilities) == 2:
        return np.concatenate([1 - answered, answered])
    total: FloatArray = answered / np.maximum(answered.sum(axis=0), 1e-6)
    return total


def guided_filter(
    values: FloatArray, guide: FloatArray, radius: int = GUIDED_RADIUS_PX, epsilon: float = GUIDED_EPSILON
) -> FloatArray:
    """Return values smoothed along the guide's edges, in [0, 1].

    Source: K. He, J. Sun, X. Tang, Guided image filtering, IEEE TPAMI 35 (2013), algorithm 1.
    """
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(array: FloatArray) -> FloatArray:
        return np.asarray(cv2.blur(array, size, borderType=cv2.BORDER_REFLECT), np.float32)

    values, guide = np.ascontiguousarray(values, np.float32), np.ascontiguousarray(guide, np.float32)
    mean_guide, mean_values = mean(guide), mean(values)
    variance = mean(guide * guide) - mean_guide * mean_guide
    slope = (mean(guide * values) - mean_guide * mean_values) / (variance + np.float32(epsilon))
    offset = np.asarray(mean_values - slope * mean_guide, np.float32)
    return np.clip(mean(np.asarray(slope, np.float32)) * guide + mean(offset), 0, 1)


def minimal_cut(probability: FloatArray, grey: FloatArray, strength: float = CUT_STRENGTH) -> FloatArray:
    """Return the smooth foreground that costs least: unlikely pixels cost, and so does every boundary off an edge.

    Minimises sum(u * log((1 - p) / p)) + strength * sum(g * |grad u|) over u in [0, 1], which has the same answer
    as the cut of a graph (at u = 0.5), solved coarse to fine.

    Args:
        probability: of the foreground, (h, w).
        grey: the plane, in about [0, 1].
        strength: how much a boundary costs.

    Returns:
        u, (h, w): nearly 0 or 1, between them where two answers cost the same.

    Source: T. Chan, S. Esedoglu, M. Nikolova, SIAM J. Appl. Math. 66 (2006); A. Chambolle, T. Pock, J. Math.
    Imaging Vis. 40 (2011), algorithm 1.
    """
    shape = (probability.shape[0], probability.shape[1])
    result: FloatArray | None = None
    for scale, steps in zip((4, 2, 1), CUT_STEPS, strict=True):
        size = (max(1, shape[1] // scale), max(1, shape[0] // scale))  # OpenCV: columns first
        if scale > 1 and min(size) < 8:
            continue
        p, guide = (_resized(array, size, cv2.INTER_AREA) for array in (probability, grey))
        start = p if result is None else _resized(result, size, cv2.INTER_LINEAR)
        result = _solve_cut(p, guide, start, strength, steps)
    return probability if result is None else result


def _resized(array: FloatArray, size: tuple[int, int], how: int) -> FloatArray:
    array = np.ascontiguousarray(array, np.float32)
    if (array.shape[1], array.shape[0]) == size:
        return array
    return np.asarray(cv2.resize(array, size, interpolation=how), np.float32)


def _solve_cut(
    p: FloatArray, guide: FloatArray, start: FloatArray, strength: float, steps: int
) -> FloatArray:
    clipped = np.clip(p, SURE, 1 - SURE)
    cost = np.log((1 - clipped) / clipped)
    cap_y, cap_x = (strength * _edge_price(np.diff(guide, axis=axis)) for axis in (0, 1))
    step = np.float32(1 / np.sqrt(8))  # of both variables: the gradient's norm squared is at most 8
    u, ahead = start.copy(), start.copy()
    dual_y, dual_x = np.zeros_like(cap_y), np.zeros_like(cap_x)
    for _ in range(steps):
        dual_y += step * np.diff(ahead, axis=0)
        dual_x += step * np.diff(ahead, axis=1)
        # Each edge has a bound of its own: boundaries are measured along rows and columns, as in a grid graph.
        np.clip(dual_y, -cap_y, cap_y, out=dual_y)
        np.clip(dual_x, -cap_x, cap_x, out=dual_x)
        before = u
        u = before - step * (cost - _divergence(dual_y, dual_x))
        np.clip(u, 0, 1, out=u)
        ahead = 2 * u - before
    return u


def _edge_price(difference: FloatArray) -> FloatArray:
    return np.exp(-np.abs(difference) / np.float32(CUT_CONTRAST)).astype(np.float32)


def _divergence(dual_y: FloatArray, dual_x: FloatArray) -> FloatArray:
    total = np.zeros((dual_x.shape[0], dual_y.shape[1]), np.float32)
    total[:-1] += dual_y
    total[1:] -= dual_y
    total[:, :-1] += dual_x
    total[:, 1:] -= dual_x
    return total


def keep_touching(mask: Array, seeds: Array) -> Array:
    """Return only those connected parts of a mask (bool) that hold a seed (bool)."""
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    kept = np.zeros(count, np.bool_)
    kept[np.unique(parts[seeds & mask])] = True
    kept[0] = False
    return kept[parts]
