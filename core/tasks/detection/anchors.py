"""Anchors planned from the training boxes: sides per level by k-means on overlap, ratios by quantiles."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.types import Array

SIZES_PER_LEVEL = 2
SIDE_PER_STRIDE = (
    4.0  # side of a level's typical box, in steps of the level (FPN: 224 pixels at stride 32 is 7)
)
EVEN_RATIO = 1.35  # boxes whose middle 80 % of ratios lie within this factor need one ratio only
RATIO_QUANTILES = (0.1, 0.5, 0.9)
ROUNDS = 30
SAMPLED_BOXES = 20_000

Floats = npt.NDArray[np.float64]


class Anchors(NamedTuple):
    """Sides of square anchors per level, in input pixels, and height-by-width ratios for all of them."""

    sizes: tuple[tuple[float, ...], ...]
    ratios: tuple[float, ...]


def plan_anchors(sides_wh: Array, strides: tuple[int, ...]) -> Anchors:
    """Plan anchors that overlap the given boxes well.

    Args:
        sides_wh: (n, 2) width and height of the training boxes, in input pixels.
        strides: input pixels per step of each level.

    Source: k-means with 1 - IoU as distance: Redmon & Farhadi, YOLO9000, 2017.
    """
    sides = np.asarray(sides_wh, dtype=np.float64)[
        : SAMPLED_BOXES * 50 : max(1, len(sides_wh) // SAMPLED_BOXES)
    ]
    ratios = _plan_ratios(sides)
    areas = np.sqrt(sides.prod(axis=1))
    home = _levels_of(areas, strides)
    sizes = []
    for level, stride in enumerate(strides):
        own = areas[home == level]
        if len(own) < SIZES_PER_LEVEL:
            sizes.append(_default_sizes(stride))
        else:
            sizes.append(tuple(round(float(size), 1) for size in _spread(_cluster(own), own)))
    return Anchors(tuple(sizes), ratios)


def best_overlaps(sides_wh: Array, anchors: Anchors) -> Floats:
    """Return for each box its overlap (IoU) with the best anchor, both centred at one point."""
    wanted = np.asarray(sides_wh, dtype=np.float64)[:, None]
    given = np.array(
        [
            (size / math.sqrt(ratio), size * math.sqrt(ratio))
            for sizes in anchors.sizes
            for size in sizes
            for ratio in anchors.ratios
        ]
    )[None]
    shared = np.minimum(wanted, given).prod(axis=2)
    overlaps: Floats = shared / (wanted.prod(axis=2) + given.prod(axis=2) - shared)
    return overlaps.max(axis=1)


def _plan_ratios(sides: Floats) -> tuple[float, ...]:
    low, middle, high = np.quantile(sides[:, 1] / sides[:, 0], RATIO_QUANTILES)
    if high / low <= EVEN_RATIO:
        return (round(float(middle), 3),)
    return tuple(dict.fromkeys(round(float(ratio), 3) for ratio in (low, middle, high)))


def _levels_of(areas: Floats, strides: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return the level whose typical side is nearest to each box's."""
    typical = np.log2(np.array(strides, dtype=np.float64) * SIDE_PER_STRIDE)
    return np.abs(np.log2(areas)[:, None] - typical[None]).argmin(axis=1)


def _cluster(sides: Floats) -> Floats:
    """Return ``SIZES_PER_LEVEL`` sides of squares by k-means; begun at quantiles, so deterministic."""
    centres = np.quantile(sides, (np.arange(SIZES_PER_LEVEL) + 0.5) / SIZES_PER_LEVEL)
    for _ in range(ROUNDS):
        # Of two squares with one centre the overlap is the ratio of their areas.
        overlap = (np.minimum(sides[:, None], centres) / np.maximum(sides[:, None], centres)) ** 2
        home = overlap.argmax(axis=1)
        moved = np.array(
            [np.median(sides[home == k]) if (home == k).any() else centres[k] for k in range(len(centres))]
        )
        if np.allclose(moved, centres):
            break
        centres = moved
    return np.sort(centres)


def _spread(centres: Floats, sides: Floats) -> Floats:
    """Pull centres apart that fell together, so that no two anchors are the same."""
    if centres[-1] / centres[0] >= 1.1:
        return centres
    middle = float(np.median(sides))
    return middle * np.array([0.87, 1.15]) if len(centres) == 2 else centres


def _default_sizes(stride: int) -> tuple[float, ...]:
    return tuple(
        round(stride * SIDE_PER_STRIDE * 2 ** (number / SIZES_PER_LEVEL - 0.25), 1)
        for number in range(SIZES_PER_LEVEL)
    )
