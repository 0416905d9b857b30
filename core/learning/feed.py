"""Batches made ahead of the network: by a thread of this process, or by worker processes."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

Key = TypeVar("Key")
Batch = TypeVar("Batch")
AHEAD = 3  # batches made ahead per maker
MOST_WORKERS = 8


def choose_workers(setting: int, device: str) -> int:
    """Return the number of worker processes: none on a CPU, where they would take the network's cores.

    Args:
        setting: a number, or -1 to choose.
        device: where the network computes.
    """
    if setting >= 0:
        return setting
    if not device.startswith("cuda"):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(MOST_WORKERS, cores - 1))


class Feed(Generic[Key, Batch]):
    """Turns an iterator of batch keys into batches, some steps ahead; the order and content stay the same."""

    def __init__(self, make_batch: Callable[[Key], Batch], workers: int, pin_memory: bool) -> None:
        """Make a feed.

        Args:
            make_batch: makes a batch of tensors from its key; must depend on nothing else.
            workers: processes; 0 takes one thread.
            pin_memory: put batches where a GPU can fetch them fast.
        """
        self._make_batch = make_batch
        self._keys = _Keys()
        self._loader: DataLoader[Any] | None = None
        if workers > 0:
            self._loader = DataLoader(
                _Made(make_batch),
                batch_size=None,
                sampler=self._keys,
                num_workers=workers,
                pin_memory=pin_memory,
                prefetch_factor=AHEAD,
                persistent_workers=True,
                generator=torch.Generator(),  # or each round would draw from torch's own generator
            )

    @contextmanager
    def batches(self, keys: Iterator[Key]) -> Iterator[Iterator[Batch]]:
        """Give a batch for every key, for the length of a ``with`` block; leaving it early is fine."""
        if self._loader is None:
            made = _by_thread(self._make_batch, keys)
            with closing(made):
                yield made
        else:
            self._keys.source = keys
            yield iter(self._loader)

    def close(self) -> None:
        """End worker processes."""
        self._loader = None


class _Keys:
    """A sampler whose keys are given anew for every epoch."""

    def __init__(self) -> None:
        self.source: Iterator[Any] = iter(())

    def __iter__(self) -> Iterator[Any]:
        return self.source


class _Made(Dataset[Any]):
    """The data set a DataLoader wants: indexing makes a batch."""

    def __init__(self, make_batch: Callable[[Any], Any]) -> None:
        self._make_batch = make_batch

    def __getitem__(self, key: Any) -> Any:
        return self._make_batch(key)


def _by_thread(make_batch: Callable[[Key], Batch], keys: Iterator[Key]) -> Generator[Batch]:
    """Yield batches made by one thread, at most ``AHEAD`` of them waiting; its errors are raised here."""
    ready: queue.Queue[tuple[Batch | None, BaseException | None]] = queue.Queue(AHEAD)
    stop = threading.Event()

    def put(item: tuple[Batch | None, BaseException | None]) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for key in keys:
                if stop.is_set():
                    return
                put((make_batch(key), None))
            put((None, None))
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
            put((None, error))

    maker = threading.Thread(target=work, name="sample-maker", daemon=True)
    maker.start()
    try:
        while True:
            batch, error = ready.get()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch
    finally:
        stop.set()
        maker.join()
