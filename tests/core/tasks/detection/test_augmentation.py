"""Boxes move with their pixels, whatever is done to a sample."""

from __future__ import annotations

import numpy as np
import pytest

from core.learning.variation import AugmentationPlan
from core.tasks.detection.augmentation import Sample, build_augmentation, cut, join_four


def planted(seed: int, shape: tuple[int, int] = (80, 96)) -> Sample:
    """Return an empty picture with three objects of values 1, 2 and 3, their boxes and which pixel is whose."""
    rng = np.random.default_rng(seed)
    image, objects = np.zeros((*shape, 1), np.float32), np.zeros(shape, np.uint16)
    boxes = []
    for number in range(1, 4):
        height, width = rng.integers(8, 14, 2)
        top, left = 5 + 24 * (number - 1), int(rng.integers(5, shape[1] - 20))
        image[top : top + height, left : left + width] = number
        objects[top : top + height, left : left + width] = number
        boxes.append([left, top, left + width, top + height])
    numbers = np.arange(1, 4)
    return Sample(image, np.array(boxes, np.float32), numbers.copy(), objects, numbers)


def extent(marked: np.ndarray) -> np.ndarray:
    """Return the box around what is marked."""
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


@pytest.mark.parametrize("shape", [(80, 96), (96, 96)])
@pytest.mark.parametrize("seed", range(8))
def test_mirrored_and_turned_boxes_are_exact(seed: int, shape: tuple[int, int]) -> None:
    augment = build_augmentation(AugmentationPlan(flip_x=True, flip_y=True, rotate90=True))
    moved = augment(planted(seed, shape), seed)
    assert len(moved.labels) == 3
    for label, box, number in zip(moved.labels, moved.box_xyxy, moved.numbers, strict=True):
        assert np.array_equal(extent(moved.image[..., 0] == label), box)
        assert np.array_equal(extent(moved.objects == number), box)


@pytest.mark.parametrize("seed", range(12))
def test_scaled_and_shifted_boxes_follow_their_objects(seed: int) -> None:
    augment = build_augmentation(AugmentationPlan(flip_x=True, scale=0.4))
    moved = augment(planted(seed), seed)
    for box, number in zip(moved.box_xyxy, moved.numbers, strict=True):
        assert np.abs(extent(moved.objects == number) - box).max() <= 2
        assert box.min() >= 0
        assert box[2] <= 96
        assert box[3] <= 80


@pytest.mark.parametrize("seed", range(8))
def test_a_mosaic_keeps_what_is_visible(seed: int) -> None:
    joined = join_four([planted(4 * seed + k) for k in range(4)], np.random.default_rng(seed))
    assert joined.image.shape == (80, 96, 1)
    assert len(set(joined.numbers.tolist())) == len(joined.numbers)
    for label, box, number in zip(joined.labels, joined.box_xyxy, joined.numbers, strict=True):
        marked = joined.objects == number
        assert np.array_equal(extent(marked), box)
        assert set(np.unique(joined.image[..., 0][marked])) == {float(label)}


def test_a_cut_drops_what_is_mostly_outside() -> None:
    sample = planted(0)
    left, top, right, bottom = (int(value) for value in sample.box_xyxy[0])
    most = cut(sample, 0, 0, (80, right - 2))
    assert most.box_xyxy[0].tolist() == [left, top, right - 2, bottom]
    little = cut(sample, 0, 0, (80, left + 3))
    assert 1 not in little.numbers


def test_equal_seeds_give_equal_samples_and_the_input_stays() -> None:
    augment = build_augmentation(
        AugmentationPlan(flip_x=True, rotation=20, scale=0.3, brightness_contrast=0.3, noise=0.2)
    )
    sample = planted(3)
    before = sample.image.copy()
    first, again, other = augment(sample, 1), augment(sample, 1), augment(sample, 2)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.box_xyxy, again.box_xyxy)
    assert not np.array_equal(first.image, other.image)
    assert np.array_equal(sample.image, before)


def test_no_object_is_fine() -> None:
    empty = planted(0)
    empty = empty.with_boxes(empty.box_xyxy, np.zeros(3, bool))
    moved = build_augmentation(AugmentationPlan(flip_x=True, rotation=20, scale=0.3))(empty, 0)
    assert moved.box_xyxy.shape == (0, 4)
