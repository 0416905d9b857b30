"""Readings that are being looked at, kept in memory up to a number of bytes; each is loaded once."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from core.readings.reading import Boxes, Reading
from core.workspace.records import ReadingVersion
from core.workspace.workspace import Workspace

MAX_BYTES = 768 * 2**20


class Shelf:
    """The last readings asked for, by content hash. Their arrays are read-only."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[tuple[str, bool], Reading] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: dict[tuple[str, bool], threading.Lock] = {}

    def load(self, store: Workspace, version: ReadingVersion, with_probabilities: bool = False) -> Reading:
        """Return a version's content."""
        key = (version.sha256, with_probabilities)
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            found = self._find(key)
            if found is None:
                found = store.load_reading(version, with_probabilities)
                self._keep(key, found)
        return found

    def _find(self, key: tuple[str, bool]) -> Reading | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _keep(self, key: tuple[str, bool], reading: Reading) -> None:
        for array in _arrays(reading):
            array.flags.writeable = False
        with self._lock:
            self._kept[key] = reading
            while len(self._kept) > 1 and sum(map(_n_bytes, self._kept.values())) > self.max_bytes:
                gone, _ = self._kept.popitem(last=False)
                self._loading.pop(gone, None)


def _arrays(reading: Reading) -> list[np.ndarray]:
    return [value for value in vars(reading).values() if isinstance(value, np.ndarray)]


def _n_bytes(reading: Reading) -> int:
    crops = reading.crops or () if isinstance(reading, Boxes) else ()
    return sum(array.nbytes for array in _arrays(reading)) + sum(crop.nbytes for crop in crops)


SHELF = Shelf()
