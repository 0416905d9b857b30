"""What an open slide is, whichever library reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.types import Array


@dataclass(frozen=True)
class Level:
    """One resolution of a slide.

    Attributes:
        width: in its own pixels.
        height: in its own pixels.
        downsample: how many times smaller than the largest level.
    """

    width: int
    height: int
    downsample: float


class Slide(Protocol):
    """An open slide.

    Attributes:
        name: what to call the file in a sentence.
        levels: the largest first.
        mm_per_pixel: (y, x) of the largest level; None when the file does not say.
        objective_power: magnification of the largest level, such as 40.0; None when the file does not say.
        vendor: who made the scanner, or "generic".
        channels: values per pixel; 1 for grey.
        dtype: of the values.
    """

    name: str
    levels: tuple[Level, ...]
    mm_per_pixel: tuple[float, float] | None
    objective_power: float | None
    vendor: str
    channels: int
    dtype: np.dtype

    def read_region(self, level: int, x: int, y: int, width: int, height: int) -> Array:
        """Return a region, ``yx`` or ``yxc``; it must lie within the level.

        Args:
            level: number of the level, 0 the largest.
            x: left edge, in the level's pixels.
            y: top edge, in the level's pixels.
            width: in the level's pixels.
            height: in the level's pixels.
        """
        ...


def positive(value: object) -> float | None:
    """Return a number of a header; None for what is none, or not above zero."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 0 < number < 1e6 else None
