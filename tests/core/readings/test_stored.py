"""Every kind of reading comes back from its file as it went in, and says whether it fits an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.readings.reading import COLUMNS, Boxes, Mask, crop_shape, no_boxes
from core.readings.stored import hash_reading, read_mask, read_reading, write_reading
from core.types import ImageInfo

IMAGE = ImageInfo("zyx", (4, 60, 80), "uint8")


def random_boxes(seed: int, count: int, scores: bool, crops: bool, more: bool = False) -> Boxes:
    random = np.random.default_rng(seed)
    low = random.uniform(0, (70, 50), (count, 2))
    corners = np.hstack([low, low + random.uniform(0.5, 10, (count, 2))]).astype(np.float32)
    return Boxes(
        corners,
        random.integers(1, 4, count).astype(np.uint16),
        random.integers(0, 4, count).astype(np.int32),
        random.random(count).astype(np.float32) if scores else None,
        tuple(random.random(crop_shape(box)) > 0.5 for box in corners) if crops else None,
        random.integers(1, 9, count).astype(np.int32) if more else None,
        random.random(count) > 0.5 if more else None,
        0.31 if more else None,
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12), st.booleans(), st.booleans(), st.booleans())
def test_boxes_come_back(
    tmp_path_factory, seed: int, count: int, scores: bool, crops: bool, more: bool
) -> None:
    boxes = random_boxes(seed, count, scores, crops, more)
    path = tmp_path_factory.mktemp("boxes") / "reading.npz"
    write_reading(boxes, path)
    back = read_reading(path)
    assert isinstance(back, Boxes)
    assert hash_reading(back) == hash_reading(boxes)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(back, name), getattr(boxes, name))
    assert back.threshold == boxes.threshold
    assert (back.crops is None) == (boxes.crops is None)
    for one, other in zip(back.crops or (), boxes.crops or (), strict=True):
        np.testing.assert_array_equal(one, other)
    assert back.misfit(IMAGE) is None


def test_a_mask_is_read_without_its_probabilities(tmp_path: Path) -> None:
    mask = Mask(np.eye(5, dtype=np.uint8), np.zeros((2, 5, 5), np.uint8))
    write_reading(mask, tmp_path / "m.npz")
    light = read_mask(tmp_path / "m.npz", with_probabilities=False)
    assert light.probabilities is None
    assert hash_reading(read_mask(tmp_path / "m.npz")) == hash_reading(mask) != hash_reading(light)


def test_another_kind_is_no_mask(tmp_path: Path) -> None:
    write_reading(no_boxes(), tmp_path / "b.npz")
    with pytest.raises(ValueError, match="boxes"):
        read_mask(tmp_path / "b.npz")
    np.savez(tmp_path / "other.npz", nothing=np.zeros(3))
    with pytest.raises(ValueError, match="no reading"):
        read_reading(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("box", "plane", "words"),
    [
        ((-1, 0, 5, 5), 0, "reaches out"),
        ((0, 0, 81, 5), 0, "80 pixels"),
        ((0, 0, 5, 60.5), 0, "reaches out"),
        ((0, 0, 5, 5), 4, "plane 5"),
        ((0, 0, np.nan, 5), 0, None),
        ((3, 3, 3, 5), 0, None),
        ((3, 3, 2, 5), 0, None),
    ],
)
def test_boxes_that_do_not_fit_are_named(box: tuple, plane: int, words: str | None) -> None:
    def make() -> Boxes:
        return Boxes(np.array([box], np.float32), np.array([1], np.uint16), np.array([plane], np.int32))

    if words is None:
        with pytest.raises(ValueError, match="right > left"):
            make()
    else:
        assert words in str(make().misfit(IMAGE))


def test_a_threshold_keeps_what_a_person_drew() -> None:
    boxes = random_boxes(3, 10, scores=True, crops=True)
    kept = boxes.at_threshold(0.5)
    assert np.array_equal(kept.scores, boxes.scores[boxes.scores >= 0.5])
    assert len(kept.crops or ()) == len(kept)
    decided = random_boxes(3, 10, scores=True, crops=False, more=True)
    assert np.array_equal(decided.decided().scores, decided.scores[decided.scores >= 0.31])
    assert len(decided.decided(0.0)) == 10
    drawn = random_boxes(3, 10, scores=False, crops=False)
    assert drawn.at_threshold(0.9) is drawn


def test_crowds_are_not_counted() -> None:
    boxes = random_boxes(4, 10, scores=True, crops=True, more=True)
    counted = boxes.counted
    assert len(counted) == int((~boxes.crowds).sum())
    assert not counted.crowds.any()
    assert len(counted.crops or ()) == len(counted.groups) == len(counted)
    plain = random_boxes(4, 10, scores=True, crops=False)
    assert plain.counted is plain
