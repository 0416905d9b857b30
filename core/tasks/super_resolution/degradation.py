"""Fine images made coarse in a stated way: what training pairs and trials come from. NumPy and OpenCV only.

Values are those of the network's scale: 0 is no signal, 1 about the brightest.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from core.imaging.resample import FloatArray, Reduction, lift, reduce, reduce_axis
from core.tasks.super_resolution.spec import Degradation, Noise
from core.types import Array

Random = np.random.Generator
BETWEEN = (0.5, 1.2)  # sizes a second-order chain passes through, relative to the fine image


def crop_to_multiple(plane: Array, factors: tuple[int, int]) -> Array:
    """Leave out the last rows and columns that make no whole coarse pixel."""
    rows, columns = (length // factor * factor for length, factor in zip(plane.shape, factors, strict=False))
    return plane[:rows, :columns]


def degrade(fine: Array, factors: tuple[int, int], degradation: Degradation, random: Random) -> FloatArray:
    """Return the coarse plane of a fine one.

    Args:
        fine: yx or yxc on the network's scale; its sides must be divisible by the factors.
        factors: along y and x; an axis of factor 1 keeps its pixels and is not blurred.
        degradation: what happens; real pairs are only reduced.
        random: all chance comes from it.
    """
    if degradation.second_order:
        return _degrade_twice(fine, factors, degradation, random)
    sigma = float(random.uniform(*degradation.blur))
    coarse = reduce(fine, factors, degradation.reduction, sigma)
    return disturb(coarse, degradation, random)


def disturb(coarse: FloatArray, degradation: Degradation, random: Random) -> FloatArray:
    """Add the noise and the JPEG loss of a degradation to a plane that was reduced already."""
    level = float(random.uniform(*degradation.noise_level))
    noisy = add_noise(coarse, degradation.noise, level, random)
    if degradation.jpeg_quality is None:
        return noisy
    return compress(noisy, int(random.integers(degradation.jpeg_quality[0], degradation.jpeg_quality[1] + 1)))


def add_noise(plane: FloatArray, kind: Noise, level: float, random: Random) -> FloatArray:
    """Add noise to a plane of values from 0 to about 1.

    "gaussian": deviation ``level`` everywhere. "poisson": counted quanta, deviation ``level`` where the value is 1.
    "speckle": the value times 1 + ``level`` x normal. "rician": the magnitude of a complex signal whose two parts
    have Gaussian noise of deviation ``level``, as in MR.

    Source: Gudbjartsson and Patz, The Rician distribution of noisy MRI data, MRM 34 (1995).
    """
    if kind == "none" or level <= 0:
        return plane
    if kind == "poisson":
        quanta = 1 / level**2
        return (random.poisson(np.clip(plane, 0, None) * quanta) / quanta).astype(np.float32)
    normal = random.standard_normal(plane.shape, dtype=np.float32) * np.float32(level)
    if kind == "gaussian":
        return plane + normal
    if kind == "speckle":
        return plane * (1 + normal)
    other = random.standard_normal(plane.shape, dtype=np.float32) * np.float32(level)
    return np.hypot(plane + normal, other)


def compress(plane: FloatArray, quality: int) -> FloatArray:
    """Pass a plane through JPEG: its values from 0 to 1 as bytes, grey or colour, each other channel by itself."""
    bytes_ = np.rint(np.clip(plane, 0, 1) * 255).astype(np.uint8)
    if bytes_.ndim == 3 and bytes_.shape[2] not in (1, 3):
        parts = [compress(plane[..., channel], quality) for channel in range(bytes_.shape[2])]
        return np.stack(parts, axis=-1)
    _, packed = cv2.imencode(".jpg", bytes_, [cv2.IMWRITE_JPEG_QUALITY, quality])
    unpacked = np.asarray(cv2.imdecode(packed, cv2.IMREAD_UNCHANGED))
    return (unpacked.reshape(bytes_.shape) / np.float32(255)).astype(np.float32)


def _degrade_twice(fine: Array, factors: tuple[int, int], chain: Degradation, random: Random) -> FloatArray:
    """Blur, resize, disturb; then blur, reduce to the coarse size, disturb.

    Source: Wang et al., Real-ESRGAN, ICCV workshops 2021.
    """
    target = [length // factor for length, factor in zip(fine.shape, factors, strict=False)]
    share = float(random.uniform(*BETWEEN))
    plane = np.asarray(fine, np.float32)
    for share_or_none in (share, None):
        sigma = float(random.uniform(*chain.blur))
        for axis, factor in enumerate(factors):
            if factor > 1:
                size = (
                    target[axis]
                    if share_or_none is None
                    else max(target[axis], round(share * fine.shape[axis]))
                )
                plane = reduce_axis(plane, axis, size, chain.reduction, sigma)
        plane = disturb(plane, chain, random)
    return np.ascontiguousarray(plane, np.float32)


@dataclass(frozen=True)
class Agreement:
    """By what a fine image is held against its coarse input: the degradation without its chance.

    Attributes:
        factors: along y and x.
        reduction: how fine pixels come together.
        sigma: blur before it, in fine pixels.
    """

    factors: tuple[int, int]
    reduction: Reduction
    sigma: float = 0.0

    @classmethod
    def of(cls, degradation: Degradation, factors: tuple[int, int]) -> Agreement:
        """Take a degradation's reduction and the middle of its blur."""
        return cls(factors, degradation.reduction, degradation.mean_blur)

    def error(self, fine: Array, coarse: Array) -> FloatArray:
        """Return what the coarse plane has and the fine one does not explain."""
        return np.asarray(coarse, np.float32) - reduce(fine, self.factors, self.reduction, self.sigma)

    def correction(self, error: FloatArray) -> FloatArray:
        """Return the smallest change of the fine plane that explains the error."""
        return lift(error, self.factors, self.reduction, self.sigma)
