"""What a file stores, in a few numbers: to compare our reading with somebody else's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from core.types import Array


@dataclass(frozen=True)
class StoredFacts:
    """Stored values as decoded, before rescale.

    Attributes:
        shape: of all of them.
        dtype: NumPy's word for their type, such as "int16", or ">i2" where the file has the other byte order.
        low, high: smallest and largest value that is a number; None when there is none.
        sha256: of their bytes in C order and in the file's own byte order.
        frames: planes of a stack or clip, 1 for a single picture.
        photometric: how the file says its values are meant, such as "MONOCHROME2".
    """

    shape: tuple[int, ...]
    dtype: str
    low: float | int | None
    high: float | int | None
    sha256: str
    frames: int
    photometric: str


def facts_of(planes: Iterable[Array], photometric: str = "", single: bool = False) -> StoredFacts:
    """Take down the facts of stored planes, one in memory at a time.

    Args:
        planes: of one shape and type, in order; at least one.
        photometric: see ``StoredFacts``.
        single: True when one plane is a picture and not a stack of one.
    """
    digest = hashlib.sha256()
    ends: list[float | int] = []
    count, shape, dtype = 0, (), ""
    for plane in planes:
        digest.update(np.ascontiguousarray(plane).tobytes())
        seen = plane[np.isfinite(plane)] if plane.dtype.kind == "f" else plane
        if seen.size:
            ends += [seen.min().item(), seen.max().item()]
        count, shape, dtype = count + 1, plane.shape, str(plane.dtype)
    low, high = (min(ends), max(ends)) if ends else (None, None)
    whole = shape if single and count == 1 else (count, *shape)
    return StoredFacts(whole, dtype, low, high, digest.hexdigest(), count, photometric)
