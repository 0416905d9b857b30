"""Help with marking, by name: each takes an image and what the browser asked, and proposes a mask plane by plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from core.imaging.regions import grow_region
from core.types import Array, Image

Planes = Iterator[tuple[int, Array]]
Assistant = Callable[[Image, dict[str, Any]], Planes]


def _region(image: Image, asked: dict[str, Any]) -> Planes:
    """Everything of similar value that hangs together with the clicked pixel, on its slice or in the volume."""
    x, y, z = (int(value) for value in asked["point"])
    low, high = (float(value) for value in asked["range"])
    if asked.get("volume") and image.info.is_volume:
        found = grow_region(_grey(np.asarray(image.array)), (z, y, x), (low, high))
        yield from ((index, found[index]) for index in np.flatnonzero(found.any(axis=(1, 2))).tolist())
    else:
        yield z, grow_region(_grey(np.asarray(image.plane(z)), 2), (y, x), (low, high))


def _grey(array: Array, spatial: int = 3) -> Array:
    return array if array.ndim == spatial else array[..., :3].mean(axis=-1)


ASSISTANTS: dict[str, Assistant] = {"region": _region}
