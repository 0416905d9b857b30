"""What all phantoms share: the picture with its truth, and how noise and paint are made.

Every phantom is a function of its seed alone: equal seeds give equal pixels. The truth is what was drawn,
decided at pixel centres, not what was found afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from core.types import Array, Image, ImageInfo, Label, Layout, make_labels


@dataclass(frozen=True)
class InstanceBox:
    """One drawn thing: its label and the box around all of it (x0, y0, x1, y1), from the outer corner."""

    label: int
    box_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class Phantom:
    """A synthetic image and what is in it.

    Attributes:
        name: kind and seed.
        image: metadata says {"synthetic": "yes"}.
        truth: uint8 label map on the image's spatial grid.
        labels: what the numbers in ``truth`` mean.
        boxes: one per drawn thing, where things can be counted.
    """

    name: str
    image: Image
    truth: Array
    labels: tuple[Label, ...]
    boxes: tuple[InstanceBox, ...] = ()


def build_phantom(name: str, array: Array, truth: Array, label_names: list[str], info: ImageInfo) -> Phantom:
    """Put picture and truth together and make both read-only."""
    array.setflags(write=False)
    truth.setflags(write=False)
    return Phantom(name, Image(array, info), truth, tuple(make_labels(label_names)))


def synthetic_info(
    layout: Layout, array: Array, spacing_mm: tuple[float, ...], modality: str, what: str
) -> ImageInfo:
    """Describe a synthetic picture; its metadata says so."""
    return ImageInfo(
        layout=layout,
        shape=array.shape,
        dtype=array.dtype.name,
        spacing_mm=spacing_mm,
        modality=modality,
        metadata={"synthetic": "yes", "description": f"SYNTHETIC {what}"},
    )


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float | tuple[float, ...]) -> Array:
    """Gaussian noise blurred by ``sigma`` and brought back to standard deviation 1."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return noise / max(float(noise.std()), 1e-12)


def pixel_grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return y and x of all pixel centres, from the outer corner of the first pixel."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return y + 0.5, x + 0.5


def wavy_radius(rng: np.random.Generator, angle: Array, roughness: float, waves: int = 9) -> Array:
    """A closed border as radius over angle, mean 1; ``roughness`` is its standard deviation."""
    orders = np.arange(2, 2 + waves)
    strength = rng.normal(size=waves) / orders
    strength *= roughness / max(float(np.sqrt((strength**2).sum() / 2)), 1e-12)
    phases = rng.uniform(0, 2 * np.pi, waves)
    return 1 + np.tensordot(strength, np.cos(orders[:, None, None] * angle[None] + phases[:, None, None]), 1)


def paint(picture: Array, cover: Array, color: Array) -> None:
    """Lay a colour (3 numbers or yxc) over a picture, in place, where ``cover`` (0 to 1) says."""
    picture += cover[..., None] * (color - picture)
