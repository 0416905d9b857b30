"""From a marked slice to its neighbours: values and shape of one propose the next, until they fit no more."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from core.assist.levels import FloatArray, Levels, measure_levels, to_grey
from core.assist.smoothing import keep_touching, minimal_cut
from core.assist.tiles import Region
from core.types import Array, Image

BINS = 48
MARGIN_PX = 24
VALUE_WEIGHT = 0.6
SHAPE_PX = 2.5  # distance from the last outline at which its word counts e times less
LEAST_OVERLAP = 0.5  # Dice with the last slice below which the thing is another one
SIZE_LIMITS = (0.25, 2.5)  # of the slice before
LEAST_PX = 4
LOOK_LIMIT = 0.35  # overlap of the histograms below which the values are another thing's


@dataclass(frozen=True)
class GrowOptions:
    """How far to go: ``most`` slices in each of the ``directions`` (-1 before, +1 after)."""

    most: int = 10
    directions: tuple[int, ...] = (-1, 1)


def grow_slices(image: Image, index: int, mask: Array, options: GrowOptions) -> dict[int, Array]:
    """Return what is proposed on the slices around a marked one, by slice (bool); stops where it does not go on.

    Args:
        image: with slices.
        index: of the marked slice.
        mask: bool, what is marked there.
        options: how far to go.

    Raises:
        ValueError: when nothing is marked, or the mask has another size than a slice.
    """
    if mask.shape != image.info.spatial_shape[-2:]:
        raise ValueError(f"the mask must be {image.info.spatial_shape[-2:]}, got {mask.shape}.")
    if not mask.any():
        raise ValueError("Mark the thing on this slice first; nothing here has the label in hand.")
    levels = measure_levels(image)
    start = to_grey(image.plane(index), levels)
    looks = _histogram(start, mask)
    found: dict[int, Array] = {}
    for direction in options.directions:
        last, region = mask, _region_of(mask)
        rest = _histogram(start[region.slices], ~mask[region.slices])
        for distance in range(1, options.most + 1):
            at = index + direction * distance
            if not 0 <= at < image.info.slices:
                break
            proposed = _next(image, at, levels, last, (looks, rest))
            if proposed is None:
                break
            found[at] = last = proposed
    return found


def _region_of(mask: Array) -> Region:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = Region(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    return box.grown(MARGIN_PX, (mask.shape[0], mask.shape[1]))


def _histogram(grey: FloatArray, mask: Array) -> FloatArray:
    """Return a smooth histogram of values in [-0.25, 1.25], summing to 1."""
    counts, _ = np.histogram(grey[mask], BINS, (-0.25, 1.25))
    smooth = np.convolve(counts.astype(np.float64), (0.1, 0.2, 0.4, 0.2, 0.1), "same") + 0.2
    scaled: FloatArray = (smooth / smooth.sum()).astype(np.float32)
    return scaled


def _next(
    image: Image, at: int, levels: Levels, last: Array, looks: tuple[FloatArray, FloatArray]
) -> Array | None:
    """Return the mask of the next slice, or None when the thing does not go on there."""
    region = _region_of(last)
    grey = to_grey(image.plane(at)[region.slices], levels)
    before = last[region.slices]
    bins = np.clip(((grey + 0.25) / 1.5 * BINS).astype(np.intp), 0, BINS - 1)
    by_value = np.log(looks[0][bins] / looks[1][bins])
    depth = distance_transform_edt(before) - distance_transform_edt(~before)
    odds = VALUE_WEIGHT * np.clip(by_value, -4, 4) + np.clip(depth / SHAPE_PX, -4, 4)
    probability = (1 / (1 + np.exp(-odds))).astype(np.float32)
    now = minimal_cut(probability, grey) > 0.5
    now = keep_touching(now, before & now)
    if not _goes_on(grey, now, before, looks[0]):
        return None
    whole = np.zeros(last.shape, np.bool_)
    whole[region.slices] = (
        cv2.morphologyEx(now.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
    )
    return whole


def _goes_on(grey: FloatArray, now: Array, before: Array, looks: FloatArray) -> bool:
    size, old = int(now.sum()), int(before.sum())
    if size < LEAST_PX or not SIZE_LIMITS[0] * old <= size <= SIZE_LIMITS[1] * old:
        return False
    overlap = 2 * int((now & before).sum()) / (size + old)
    alike = float(np.minimum(_histogram(grey, now), looks).sum())
    return overlap >= LEAST_OVERLAP and alike >= LOOK_LIMIT
