"""Orders are reproducible, cover the data, and bring hard samples more often."""

from __future__ import annotations

import numpy as np
import pytest

from core.learning.sampling import HardCaseSampler


def test_without_hard_share_every_sample_comes_once_in_another_order_each_epoch() -> None:
    sampler = HardCaseSampler(np.ones(20, bool), 0, seed=1)
    first, second = sampler.order(0), sampler.order(1)
    assert sorted(first) == sorted(second) == list(range(20))
    assert list(first) != list(second)
    assert list(first) == list(HardCaseSampler(np.ones(20, bool), 0, seed=1).order(0))


def test_hard_samples_come_as_often_as_their_share_says_and_easy_ones_still_come() -> None:
    sampler = HardCaseSampler(np.ones(10, bool), 0.5, seed=0)
    sampler.learn(np.arange(10), np.array([0.9, *[0.1] * 9]))
    counts = np.mean([np.bincount(sampler.order(epoch), minlength=10) for epoch in range(300)], axis=0)
    assert counts[0] == pytest.approx(10 * (0.5 / 10 + 0.5 * 0.9 / 1.8), rel=0.05)
    assert counts[1:].min() > 0.6


def test_unseen_samples_count_as_hard() -> None:
    sampler = HardCaseSampler(np.ones(4, bool), 1.0, seed=0)
    sampler.learn(np.array([0, 1]), np.array([0.8, 0.01]))
    counts = np.mean([np.bincount(sampler.order(epoch), minlength=4) for epoch in range(200)], axis=0)
    assert counts[2] == pytest.approx(counts[0], rel=0.2)
    assert counts[1] < 0.2


def test_few_empty_planes_come_and_others_next_time() -> None:
    marked = np.array([True] * 10 + [False] * 90)
    sampler = HardCaseSampler(marked, 0, seed=0)
    orders = [sampler.order(epoch) for epoch in range(2)]
    assert all(len(order) == 15 and marked[order].sum() == 10 for order in orders)
    assert set(orders[0]) != set(orders[1])


def test_small_sets_repeat_to_fill_a_batch() -> None:
    assert sorted(HardCaseSampler(np.ones(3, bool), 0, seed=0).order(0, at_least=6)) == [0, 0, 1, 1, 2, 2]
