"""A thing from clicks or a box: a walk from clicks, GrabCut in a box; a model's probabilities may lead both.

The work is done in a region of interest at no more than some 190 pixels across, so that its time does not depend on
the image; the answer is brought back along the edges of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.assist.contour import grow_to_edges
from core.assist.levels import FloatArray, Levels, to_chroma, to_grey, to_rgb_bytes
from core.assist.marks import Clicks, Proposal, Shape
from core.assist.smoothing import guided_filter, keep_touching
from core.assist.tiles import Region, whole_plane
from core.assist.walker import walk_randomly
from core.types import Array

WORK_PX = 192
REACH_PX = 96  # around the clicks, to begin with
WIDENINGS = 3
SEED_RADIUS_PX = 3.0
LOOK_PX = 4  # around a positive click, to learn what the thing looks like
LEAST_SPREAD = 0.04  # of values in [0, 1]
BOX_MARGIN = 0.25
GRABCUT_STEPS = 3
PRIOR_LEAD = 0.15  # weight of a model's probabilities in a random walk
LOOKS_LEAD = 0.05


@dataclass(frozen=True)
class View:
    """A region of a plane, made small enough to be quick.

    Attributes:
        region: where it lies.
        channels: (h, w, n) of its values in about [0, 1], smoothed a little.
        rgb: the same as bytes, for GrabCut.
        prior: a model's probabilities there, or None.
        scale: pixels here for one of the plane.
    """

    region: Region
    channels: FloatArray
    rgb: Array
    prior: FloatArray | None
    scale: float


def propose_region(plane: Array, levels: Levels, clicks: Clicks, prior: FloatArray | None = None) -> Proposal:
    """Return the thing that is clicked on, or framed by a box, as a mask of 0 and 1.

    With a box and no click the thing is cut out of the box (GrabCut); with clicks it is walked to from them, and kept
    inside the box when there is one.

    Args:
        plane: yx or yxc, physical values.
        levels: of the image.
        clicks: inside of the plane.
        prior: a model's probability of the label on this plane, (h, w).

    Raises:
        ValueError: when a click lies outside of the plane, or a box without a click is too small.
    """
    shape = (plane.shape[0], plane.shape[1])
    clicks.check(shape)
    region = _first_region(clicks, shape)
    for _ in range(WIDENINGS):
        view = _look(plane, levels, region, prior)
        probability = (
            _in_box(view, clicks) if not clicks.positive.any() else _from_clicks(view, clicks, shape)
        )
        if (
            clicks.box_yxyx is not None
            or region == whole_plane(shape)
            or not _reaches_out(probability, region, shape)
        ):
            break
        region = region.grown(max(region.shape) // 2, shape)
    return _brought_back(plane, levels, clicks, view, probability)


def _first_region(clicks: Clicks, shape: Shape) -> Region:
    if clicks.box_yxyx is not None:
        box = Region(*clicks.box_yxyx)
        return box.grown(2 + int(BOX_MARGIN * max(box.shape)), shape)
    top, left = clicks.points_yx.min(axis=0)
    bottom, right = clicks.points_yx.max(axis=0) + 1
    return Region(int(top), int(left), int(bottom), int(right)).grown(REACH_PX, shape)


def _look(plane: Array, levels: Levels, region: Region, prior: FloatArray | None) -> View:
    cut = plane[region.slices]
    scale = min(1.0, WORK_PX / max(region.shape))
    height, width = (max(1, round(size * scale)) for size in region.shape)

    def small(values: FloatArray) -> FloatArray:
        smoothed = cv2.GaussianBlur(np.ascontiguousarray(values, np.float32), (3, 3), 0.7)
        return np.asarray(cv2.resize(smoothed, (width, height), interpolation=cv2.INTER_AREA), np.float32)

    sheets = [small(to_grey(cut, levels)), *(small(chroma) for chroma in to_chroma(cut, levels))]
    rgb = cv2.resize(to_rgb_bytes(cut, levels), (width, height), interpolation=cv2.INTER_AREA)
    lead = None if prior is None else small(prior[region.slices])
    return View(region, np.stack(sheets, axis=-1), rgb, lead, scale)


def _here(view: View, points_yx: Array) -> Array:
    moved = (points_yx - np.array([view.region.top, view.region.left]) + 0.5) * view.scale
    return np.clip(moved.astype(np.intp), 0, np.array(view.channels.shape[:2]) - 1)


def _dots(view: View, points_yx: Array) -> Array:
    dots = np.zeros(view.channels.shape[:2], np.uint8)
    for y, x in _here(view, points_yx):
        cv2.circle(dots, (int(x), int(y)), max(0, round(SEED_RADIUS_PX * view.scale)), 1, -1)
    return dots.astype(np.bool_)


def _from_clicks(view: View, clicks: Clicks, shape: Shape) -> FloatArray:
    inside = _dots(view, clicks.points_yx[clicks.positive])
    outside = _dots(view, clicks.points_yx[~clicks.positive])
    seeds = np.full(inside.shape, -1, np.int8)
    _mark_border(seeds, view, clicks, shape)
    seeds[inside] = 1
    seeds[outside & ~inside] = 0
    if not (seeds == 0).any():  # the image is hardly larger than the click
        seeds[~inside] = -1
        return np.ones(seeds.shape, np.float32)
    if not (seeds == 1).any():
        return np.zeros(seeds.shape, np.float32)
    if view.prior is not None:
        return walk_randomly(view.channels, seeds, view.prior, PRIOR_LEAD)
    if not outside.any() and clicks.box_yxyx is None:
        return grow_to_edges(np.ascontiguousarray(view.channels[..., 0]), inside).astype(np.float32)
    return walk_randomly(view.channels, seeds, _looks_alike(view, inside, outside), LOOKS_LEAD)


def _mark_border(seeds: Array, view: View, clicks: Clicks, shape: Shape) -> None:
    """The border of the region, or of the box, is not the thing."""
    if clicks.box_yxyx is not None:
        seeds[~_box_mask(view, clicks.box_yxyx)] = 0
        return
    region = view.region
    for at_edge, line in (
        (region.top == 0, np.s_[0]),
        (region.bottom == shape[0], np.s_[-1]),
        (region.left == 0, np.s_[:, 0]),
        (region.right == shape[1], np.s_[:, -1]),
    ):
        if not at_edge or min(shape) > 4:
            seeds[line] = 0


def _looks_alike(view: View, inside: Array, outside: Array) -> FloatArray:
    """Return how much each pixel looks like the places clicked on, against those clicked away."""
    reach = np.ones((2 * LOOK_PX + 1,) * 2, np.uint8)

    def likeness(dots: Array) -> FloatArray:
        near = cv2.dilate(dots.astype(np.uint8), reach).astype(np.bool_)
        samples = view.channels[near]
        middle = np.median(samples, axis=0)
        spread = np.maximum(1.48 * np.median(np.abs(samples - middle), axis=0), LEAST_SPREAD)
        far = (((view.channels - middle) / (2 * spread)) ** 2).sum(axis=2)
        alike: FloatArray = np.exp(-0.5 * far).astype(np.float32)
        return alike

    wanted = likeness(inside)
    if not outside.any():
        return wanted
    unwanted = likeness(outside)
    share: FloatArray = (wanted + 1e-3) / (wanted + unwanted + 2e-3)
    return np.minimum(share, wanted)


def _box_mask(view: View, box_yxyx: tuple[int, int, int, int]) -> Array:
    top, left, bottom, right = (
        round((value - start) * view.scale)
        for value, start in zip(box_yxyx, (view.region.top, view.region.left) * 2, strict=True)
    )
    mask = np.zeros(view.channels.shape[:2], np.bool_)
    mask[max(0, top) : max(bottom, top + 1), max(0, left) : max(right, left + 1)] = True
    return mask


def _in_box(view: View, clicks: Clicks) -> FloatArray:
    """Cut the thing out of the box; clicks away from it count."""
    assert clicks.box_yxyx is not None  # noqa: S101 - a Clicks without positive clicks has a box
    inside = _box_mask(view, clicks.box_yxyx)
    if inside.sum() < 9:
        raise ValueError("The box is too small; draw it around the thing, with a little space.")
    trimap = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if view.prior is not None:
        trimap[inside & (view.prior < 0.5)] = cv2.GC_PR_BGD
    trimap[_dots(view, clicks.points_yx)] = cv2.GC_BGD
    found = _grab(view.rgb, trimap)
    if (
        not (found & inside).any() or (found | ~inside).all()
    ):  # no contrast to cut along: the box itself is the best guess
        found = inside & (trimap != cv2.GC_BGD)
    return found.astype(np.float32)


def _grab(rgb: Array, trimap: Array) -> Array:
    if not (trimap == cv2.GC_PR_FGD).any() or not ((trimap == cv2.GC_BGD) | (trimap == cv2.GC_PR_BGD)).any():
        return trimap == cv2.GC_PR_FGD
    cv2.setRNGSeed(0)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    picture, marks = np.asarray(rgb, np.uint8), np.asarray(trimap, np.uint8)
    try:
        cv2.grabCut(
            picture, marks, (0, 0, 1, 1), background, foreground, GRABCUT_STEPS, cv2.GC_INIT_WITH_MASK
        )
    except cv2.error:  # fewer pixels than colours to tell apart
        return np.zeros(trimap.shape, np.bool_)
    return (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)


def _reaches_out(probability: FloatArray, region: Region, shape: Shape) -> bool:
    """Tell whether the thing seems to go on beyond the region: a good part of the line next to the border is in it."""
    found = probability > 0.5
    lines = (
        (region.top > 0, found[1:3]), (region.bottom < shape[0], found[-3:-1]),
        (region.left > 0, found[:, 1:3]), (region.right < shape[1], found[:, -3:-1]),
    )  # fmt: skip
    return any(cut and line.size > 0 and float(line.mean()) > 0.1 for cut, line in lines)


def _brought_back(
    plane: Array, levels: Levels, clicks: Clicks, view: View, probability: FloatArray
) -> Proposal:
    region = view.region
    height, width = region.shape
    full: FloatArray = np.asarray(cv2.resize(probability, (width, height)), np.float32)
    guide = to_grey(plane[region.slices], levels)
    full = guided_filter(full, guide, radius=max(2, round(2 / view.scale)))
    found = full > 0.5
    corner = np.array([region.top, region.left])
    if clicks.positive.any():
        wanted = np.zeros(region.shape, np.bool_)
        places = clicks.points_yx[clicks.positive] - corner
        wanted[places[:, 0], places[:, 1]] = True
        found |= wanted
        found = keep_touching(found, wanted)
    unwanted = clicks.points_yx[~clicks.positive] - corner
    inside = ((unwanted >= 0) & (unwanted < np.array(region.shape))).all(axis=1)
    found[tuple(unwanted[inside].T)] = False
    if clicks.box_yxyx is not None:
        box = np.zeros(region.shape, np.bool_)
        box[Region(*clicks.box_yxyx).within(region)] = True
        found &= box
    labels = np.zeros(plane.shape[:2], np.uint8)
    labels[region.slices] = _without_holes(found, unwanted[inside])
    whole = np.zeros(plane.shape[:2], np.float32)
    whole[region.slices] = full
    return Proposal(labels, whole)


def _without_holes(found: Array, kept_open: Array) -> Array:
    """Fill small holes, unless somebody clicked them away."""
    rest = (~found).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=4)
    largest = 0.05 * float(found.sum())
    small = stats[:, cv2.CC_STAT_AREA] < largest
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    small[edge] = False
    small[0] = False
    small[parts[tuple(kept_open.T)]] = False
    filled: Array = found | (small[parts] & (rest > 0))
    return filled if count > 1 else found
