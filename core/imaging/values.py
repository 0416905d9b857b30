"""From stored numbers to physical values: linear rescale, and the smallest type that holds the result."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from core.types import Array

INT16 = np.iinfo(np.int16)
INT32 = np.iinfo(np.int32)
WHOLE_KINDS = (np.dtype(np.uint8), np.dtype(np.int16), np.dtype(np.int32))
FLOAT_KIND = np.dtype(np.float32)


@dataclass(frozen=True)
class Rescale:
    """value = stored * slope + intercept."""

    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)) or self.slope == 0:
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


class TooNarrow(Exception):
    """The values of a plane do not fit the type that was chosen; ``kind`` holds them."""

    def __init__(self, kind: np.dtype) -> None:
        super().__init__(str(kind))
        self.kind = kind


def smallest_type(stored: Array, rescales: Iterable[Rescale]) -> np.dtype:
    """Return uint8, int16, int32 or float32: the first that keeps the rescaled values.

    Only unsigned bytes that stay as they are become uint8. The rule is ``narrow``'s, without a copy.

    Args:
        stored: stored values; one plane of many is a good guess for all.
        rescales: every rescale that will be applied to such values.
    """
    rescales = set(rescales)
    if stored.dtype.kind not in "iub" or not all(rescale.is_whole for rescale in rescales):
        return FLOAT_KIND
    if stored.dtype.itemsize == 1 and stored.dtype.kind != "i" and all(r.is_identity for r in rescales):
        return WHOLE_KINDS[0]
    ends = (int(stored.min()), int(stored.max()))
    wanted = [end * int(rescale.slope) + int(rescale.intercept) for end, rescale in product(ends, rescales)]
    for kind in WHOLE_KINDS[1:]:
        if _holds(kind, min(wanted), max(wanted)):
            return kind
    return FLOAT_KIND


class PlaneStack:
    """Planes of physical values, filled one by one and from several threads at once.

    Attributes:
        array: (planes, rows, columns), of a type that ``smallest_type`` gave.
        had_no_numbers: True when NaN or infinity was met and became 0.
    """

    def __init__(self, array: Array) -> None:
        self.array = array
        self.had_no_numbers = False

    def room_for(self, place: int, stored: np.dtype) -> Array | None:
        """Return the plane's memory, to read stored values into; None when they have another size."""
        kind = self.array.dtype
        if kind.itemsize != stored.itemsize or (kind.kind == "f") != (stored.kind == "f"):
            return None
        return self.array[place].view(stored)

    def put(self, place: int, stored: Array, rescale: Rescale) -> None:
        """Write a plane's rescaled values.

        Args:
            place: number of the plane.
            stored: its stored values; may be what ``room_for`` gave, filled.
            rescale: how they become physical.

        Raises:
            TooNarrow: when they do not fit the type.
        """
        plane = self.array[place]
        if plane.dtype.kind == "f":
            if rescale.is_identity:
                plane[...] = stored
            else:
                rescale_into(plane, stored, rescale)
            if not np.isfinite(plane).all():
                self.had_no_numbers = True
                np.nan_to_num(plane, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            return
        self._check_fit(stored, rescale)
        if not np.may_share_memory(plane, stored):
            plane[...] = stored.astype(plane.dtype, copy=False)
        # Sums and products that pass the type's ends on the way come back: they are taken modulo 2**bits.
        if rescale.slope != 1:
            np.multiply(plane, _wrapped(rescale.slope, plane.dtype), out=plane)
        if rescale.intercept != 0:
            np.add(plane, _wrapped(rescale.intercept, plane.dtype), out=plane)

    def _check_fit(self, stored: Array, rescale: Rescale) -> None:
        low, high = _room(self.array.dtype, stored.dtype, rescale)
        fits = (low is None or int(stored.min()) >= low) and (high is None or int(stored.max()) <= high)
        if not fits:
            raise TooNarrow(smallest_type(stored, [rescale]))


@lru_cache(maxsize=64)
def _room(kind: np.dtype, stored: np.dtype, rescale: Rescale) -> tuple[int | None, int | None]:
    """Return the lowest and the highest stored value whose rescaled value fits a type; None where all do."""
    slope, intercept, limits = int(rescale.slope), int(rescale.intercept), np.iinfo(kind)
    # The stored values that the type's own ends stand for, rounded inwards.
    first, last = (limits.min - intercept, limits.max - intercept)
    if slope < 0:
        first, last = -last, -first
    low, high = -(-first // abs(slope)), last // abs(slope)
    own = np.iinfo(np.uint8 if stored.kind == "b" else stored)
    return (None if own.min >= low else low), (None if own.max <= high else high)


def _holds(kind: np.dtype, low: int, high: int) -> bool:
    limits = np.iinfo(kind)
    return bool(limits.min <= low and high <= limits.max)


def _wrapped(number: float, kind: np.dtype) -> Array:
    """Return a whole number modulo the range of a type."""
    bits = 8 * kind.itemsize
    return np.array([int(number) % 2**bits], f"u{kind.itemsize}").view(kind)[0]
