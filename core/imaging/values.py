"""From stored numbers to physical values: linear rescale, and the smallest type that holds the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from core.types import Array

INT16 = np.iinfo(np.int16)
INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Rescale:
    """value = stored * slope + intercept."""

    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.slope) and np.isfinite(self.intercept)) or self.slope == 0:
            raise ValueError(
                f"a rescale needs a finite slope other than 0, got {self.slope}, {self.intercept}."
            )

    @property
    def is_identity(self) -> bool:
        """True when values stay as they are stored."""
        return self.slope == 1 and self.intercept == 0

    @property
    def is_whole(self) -> bool:
        """True when whole numbers stay whole."""
        return float(self.slope).is_integer() and float(self.intercept).is_integer()


def working_type(stored: np.dtype, rescales: Iterable[Rescale]) -> np.dtype:
    """Return a type that surely holds every rescaled value: uint8, int16, int32, int64 or float32.

    Args:
        stored: the type of the stored values.
        rescales: every rescale that will be applied.
    """
    rescales = tuple(rescales)
    if stored.kind not in "iub" or not all(rescale.is_whole for rescale in rescales):
        return np.dtype(np.float32)
    if stored.itemsize == 1 and stored.kind != "i" and all(rescale.is_identity for rescale in rescales):
        return np.dtype(np.uint8)
    limits = np.iinfo(np.uint8 if stored.kind == "b" else stored)
    ends = [int(end) * int(r.slope) + int(r.intercept) for r in rescales for end in (limits.min, limits.max)]
    for kind in (np.int16, np.int32, np.int64):
        if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def rescale_into(out: Array, stored: Array, rescale: Rescale) -> None:
    """Write the rescaled values of one plane into ``out``, whose type comes from ``working_type``."""
    if rescale.is_identity:
        out[...] = stored
    elif out.dtype.kind == "i":
        out[...] = stored
        if rescale.slope != 1:
            out *= int(rescale.slope)
        out += int(rescale.intercept)
    else:
        out[...] = stored.astype(np.float64) * rescale.slope + rescale.intercept


def narrow(array: Array) -> Array:
    """Return the array as uint8, int16, int32 or float32, whichever is the first that keeps its values.

    Only unsigned bytes stay uint8; other whole numbers become int16 where they fit.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    low, high = int(array.min()), int(array.max())
    if INT16.min <= low and high <= INT16.max:
        return array.astype(np.int16, copy=False)
    if INT32.min <= low and high <= INT32.max:
        return array.astype(np.int32, copy=False)
    return array.astype(np.float32)
