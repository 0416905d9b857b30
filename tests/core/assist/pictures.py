"""Pictures with known things in them."""

from __future__ import annotations

import numpy as np

from core.types import Image, ImageInfo


def disc(shape: tuple[int, int], center: tuple[float, float], radius: float) -> np.ndarray:
    """A round mask."""
    y, x = np.indices(shape)
    return (y - center[0]) ** 2 + (x - center[1]) ** 2 <= radius**2


def noisy(mask: np.ndarray, inside: float = 160, outside: float = 60, seed: int = 0) -> np.ndarray:
    """A picture in which the mask is brighter than the rest, as bytes."""
    values = np.where(mask, inside, outside) + np.random.default_rng(seed).normal(0, 8, mask.shape)
    return np.clip(values, 0, 255).astype(np.uint8)


def image_of(array: np.ndarray, layout: str = "yx") -> Image:
    """An image without geometry."""
    return Image(array, ImageInfo(layout, array.shape, array.dtype.name))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two masks."""
    return 2 * int((a & b).sum()) / max(1, int(a.sum()) + int(b.sum()))
