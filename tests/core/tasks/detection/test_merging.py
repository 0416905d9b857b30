"""Suppression and fusion: torchvision's answer where it has one, worked examples elsewhere."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import batched_nms, box_iou

from core.tasks.detection.merging import Found, fuse, join, merge_tiles, overlaps, suppress


def found(*rows: tuple[float, ...]) -> Found:
    """Return objects from (left, top, right, bottom, score, label) rows."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Found(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def random_found(seed: int, count: int) -> Found:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (count, 2))
    corners = np.hstack([low, low + rng.uniform(4, 40, (count, 2))]).astype(np.float32)
    return Found(corners, rng.random(count).astype(np.float32), rng.integers(1, 3, count))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60), st.booleans())
def test_suppression_equals_torchvision(seed: int, count: int, across: bool) -> None:
    every = random_found(seed, count)
    labels = np.zeros(count) if across else every.labels
    expected = batched_nms(
        torch.from_numpy(every.box_xyxy), torch.from_numpy(every.scores), torch.tensor(labels), 0.5
    ).numpy()
    kept = suppress(every, across, iou=0.5)
    assert np.array_equal(kept.box_xyxy, every.box_xyxy[expected])


def test_overlaps_equal_torchvision() -> None:
    first, second = random_found(0, 30).box_xyxy, random_found(1, 20).box_xyxy
    expected = box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    assert np.allclose(overlaps(first, second), expected, atol=1e-6)


def test_a_piece_cut_off_by_a_tile_goes_the_whole_stays() -> None:
    whole, piece = (10, 10, 50, 50, 0.80, 1), (10, 10, 30, 50, 0.85, 1)
    other, small = (12, 12, 28, 30, 0.9, 2), (80, 80, 90, 90, 0.4, 1)
    kept = merge_tiles(found(whole, piece, other, small), np.array([False, True, False, False]))
    assert kept.scores.tolist() == np.float32([0.9, 0.8, 0.4]).tolist()
    alone = merge_tiles(found(piece), np.array([True]))
    assert len(alone) == 1


def test_fusion_takes_weighted_means_and_counts_looks() -> None:
    looks = [
        found((10, 10, 30, 30, 0.9, 1), (60, 60, 80, 80, 0.6, 1)),
        found((12, 10, 32, 30, 0.3, 1), (10, 10, 30, 30, 0.8, 2)),
    ]
    fused = fuse(looks)
    # worked by hand: (10 * 0.9 + 12 * 0.3) / 1.2 = 10.5, mean score 0.6; seen by one of two looks: halved
    assert np.allclose(fused.box_xyxy[0], (10.5, 10, 30.5, 30), atol=1e-4)
    assert np.allclose(fused.scores, (0.6, 0.4, 0.3), atol=1e-6)
    assert fused.labels.tolist() == [1, 2, 1]


def test_two_boxes_of_one_look_stay_two() -> None:
    cells = found((10, 10, 30, 30, 0.9, 1), (14, 10, 34, 30, 0.8, 1))  # they overlap by two thirds
    fused = fuse([cells, cells])
    assert np.allclose(fused.box_xyxy, cells.box_xyxy)
    assert np.allclose(fused.scores, cells.scores)


def test_fusing_equal_looks_changes_nothing() -> None:
    one = suppress(random_found(5, 20), iou=0.3)
    fused = fuse([one, one, one])
    assert np.allclose(fused.box_xyxy, one.box_xyxy, atol=1e-4)
    assert np.allclose(fused.scores, one.scores, atol=1e-6)


def test_nothing_stays_nothing() -> None:
    empty = found()
    for result in (
        suppress(empty),
        merge_tiles(empty, np.zeros(0, bool)),
        fuse([empty, empty]),
        join([empty, empty]),
    ):
        assert len(result) == 0
        assert result.box_xyxy.shape == (0, 4)
