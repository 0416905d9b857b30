"""Batches arrive in order by thread and by processes, errors reach the consumer, leaving early is clean."""

from __future__ import annotations

import threading

import pytest
import torch

from core.learning.feed import Feed, choose_workers


def double(key: int) -> torch.Tensor:
    """Make a batch; one key is poison."""
    if key == 13:
        raise ValueError("thirteen")
    return torch.tensor([2 * key])


@pytest.mark.parametrize("workers", [0, 2])
def test_order_is_kept_over_several_rounds(workers: int) -> None:
    feed = Feed(double, workers, pin_memory=False)
    for first in (0, 20):
        with feed.batches(iter(range(first, first + 9))) as batches:
            assert [int(batch) for batch in batches] == [2 * key for key in range(first, first + 9)]
    feed.close()


def test_an_error_of_the_maker_is_raised_here() -> None:
    with (
        pytest.raises(ValueError, match="thirteen"),
        Feed(double, 0, False).batches(iter([1, 13])) as batches,
    ):
        list(batches)


def test_leaving_early_ends_the_thread_and_asks_for_few_batches() -> None:
    asked: list[int] = []

    def keys():  # type: ignore[no-untyped-def]
        for key in range(14, 1000):
            asked.append(key)
            yield key

    with Feed(double, 0, False).batches(keys()) as batches:
        next(batches)
    assert len(asked) < 10
    assert not [thread for thread in threading.enumerate() if thread.name == "sample-maker"]


def test_workers_are_for_gpus() -> None:
    assert choose_workers(-1, "cpu") == 0
    assert choose_workers(3, "cpu") == 3
    assert choose_workers(-1, "cuda:0") <= 8
