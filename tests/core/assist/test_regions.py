"""Clicks and boxes find things; a random walk equals scikit-image's; bad hints are sentences."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.segmentation import random_walker

from core.assist.levels import Levels, measure_levels
from core.assist.marks import Clicks
from core.assist.regions import propose_region
from core.assist.walker import CONTRAST, SMALLEST_STEP, walk_randomly
from tests.core.assist.pictures import dice, disc, image_of, noisy

SHAPE = (160, 200)
THING = disc(SHAPE, (80, 90), 28)
NO_POINTS = np.zeros((0, 2), np.int32)


def clicks(*points: tuple[int, int, bool], box: tuple[int, int, int, int] | None = None) -> Clicks:
    rows = np.array([(y, x) for y, x, _ in points], np.int32).reshape(-1, 2)
    return Clicks(rows, np.array([sign for _, _, sign in points], np.bool_), box)


@pytest.mark.parametrize(
    "hint",
    [
        clicks((80, 90, True)),
        clicks((70, 80, True), (80, 150, False)),
        clicks(box=(48, 58, 112, 122)),
        clicks((80, 90, True), box=(45, 55, 115, 125)),
    ],
    ids=["click", "click and away", "box", "click in box"],
)
@pytest.mark.parametrize("colour", [False, True])
def test_a_clear_thing_is_found(hint: Clicks, colour: bool) -> None:
    plane = noisy(THING)
    array = np.stack([plane, plane // 2, 255 - plane], axis=-1) if colour else plane
    image = image_of(array, "yxc" if colour else "yx")
    found = propose_region(array, measure_levels(image), hint)
    assert dice(found.labels > 0, THING) > 0.93
    again = propose_region(array, measure_levels(image), hint)
    np.testing.assert_array_equal(found.labels, again.labels)


def test_clicks_are_obeyed_and_parts_hang_together() -> None:
    two = THING | disc(SHAPE, (80, 160), 20)
    plane = noisy(two)
    levels = Levels(40, 180)
    found = propose_region(plane, levels, clicks((80, 90, True), (80, 160, False))).labels > 0
    assert found[80, 90] and not found[80, 160] and dice(found, THING) > 0.9


def test_a_model_leads_where_the_picture_says_nothing() -> None:
    plane = np.full(SHAPE, 100, np.uint8)
    prior = np.where(THING, 0.9, 0.1).astype(np.float32)
    found = propose_region(plane, Levels(0, 255), clicks((80, 90, True)), prior)
    assert dice(found.labels > 0, THING) > 0.85


def test_the_walk_equals_scikit_image() -> None:
    grey = noisy(THING)[40:120, 50:130].astype(np.float64) / 255
    seeds = np.full(grey.shape, -1, np.int8)
    seeds[40, 40], seeds[0], seeds[-1] = 1, 0, 0
    ours = walk_randomly(grey[..., None].astype(np.float32), seeds)
    # theirs: exp(-beta * difference^2 / ...): compare on steps of two values, where both laws can be made equal
    two = (grey > 0.4).astype(np.float64)
    ours = walk_randomly((two * 0.1)[..., None].astype(np.float32), seeds)
    step = np.exp(-0.1 / CONTRAST) + SMALLEST_STEP
    beta = -np.log(step / (1 + SMALLEST_STEP)) * 10 * two.std()
    labels = np.where(seeds < 0, 0, np.where(seeds == 1, 1, 2))
    theirs = random_walker(two, labels, beta=beta, tol=1e-6, mode="cg_j", return_full_prob=True)[0]
    assert np.abs(ours - theirs).mean() < 0.02


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 3), (600, 2)])
@pytest.mark.parametrize("value", [0, 7])
def test_tiny_and_flat_pictures_give_an_answer(shape: tuple[int, int], value: int) -> None:
    plane = np.full(shape, value, np.uint8)
    found = propose_region(plane, measure_levels(image_of(plane)), clicks((0, 0, True)))
    assert found.labels.shape == shape and found.labels[0, 0] == 1


def test_a_huge_picture_costs_a_region() -> None:
    plane = np.zeros((9000, 9000), np.uint8)
    plane[4000:4060, 5000:5060] = 200
    found = propose_region(plane, Levels(0, 255), clicks((4030, 5030, True))).labels
    assert dice(found > 0, plane > 0) > 0.95


def test_bad_hints_are_sentences() -> None:
    plane = noisy(THING)
    for make, words in (
        (lambda: clicks((80, 90, False)), "Click on the thing first"),
        (lambda: clicks(box=(5, 5, 5, 9)), "bottom > top"),
        (lambda: propose_region(plane, Levels(0, 255), clicks((160, 3, True))), "outside"),
        (lambda: propose_region(plane, Levels(0, 255), clicks(box=(0, 0, 161, 10))), "reaches out"),
        (lambda: propose_region(plane, Levels(0, 255), clicks(box=(10, 10, 12, 12))), "too small"),
        (lambda: walk_randomly(np.zeros((4, 4, 1), np.float32), np.zeros((4, 4), np.int8)), "seeds"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    found = propose_region(
        plane, Levels(0, 255), clicks((5, 5, True))
    )  # on the background: an answer, with the click
    assert found.labels[5, 5] == 1
