"""How much training samples are varied, and how intensities are.

Intensities are changed in NumPy, because inputs are standardised physical values and not 0..1 or 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol

import cv2
import numpy as np

from core.learning.planes import LUMA, FloatArray

INTENSITY_SHARE = 0.5  # share of the samples each change of intensity falls on
RARE_SHARE = 0.2  # of noise, blur and elastic bending


class VariedSettings(Protocol):
    """What is asked of a task's settings; it has switches of ``AugmentationPlan``'s names besides."""

    @property
    def augmentation(self) -> str:
        """Name of a level in ``LEVELS``."""
        ...

    @property
    def flips(self) -> bool | None:
        """Mirror, do not, or as the level and the data say."""
        ...


@dataclass(frozen=True)
class AugmentationPlan:
    """How much of what. Zero and False switch a change off.

    Attributes:
        flip_x: mirror left-right.
        flip_y: mirror up-down.
        rotate90: exchange rows and columns; needs square inputs, else it is left out.
        rotation: largest angle in degrees.
        scale: largest enlargement or shrinkage, as a share.
        brightness_contrast: largest change, as a share of the image's deviation.
        gamma: largest change of the grey curve's exponent.
        noise: largest deviation of added noise, as a share of the image's.
        blur: largest deviation of the blur, in pixels.
        elastic: bend.
        invert: probability of the negative.
        color_jitter: largest change of each colour channel; also the probability of turning colour to grey.
    """

    flip_x: bool = False
    flip_y: bool = False
    rotate90: bool = False
    rotation: float = 0.0
    scale: float = 0.0
    brightness_contrast: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    elastic: bool = False
    invert: float = 0.0
    color_jitter: float = 0.0


LEVELS: dict[str, AugmentationPlan] = {
    "none": AugmentationPlan(),
    "light": AugmentationPlan(
        flip_x=True, flip_y=True, rotate90=True, brightness_contrast=0.2, gamma=0.2, color_jitter=0.1
    ),
    "medium": AugmentationPlan(
        flip_x=True, flip_y=True, rotate90=True, rotation=20, scale=0.2,
        brightness_contrast=0.3, gamma=0.3, noise=0.1, color_jitter=0.2,
    ),
    "strong": AugmentationPlan(
        flip_x=True, flip_y=True, rotate90=True, rotation=45, scale=0.4,
        brightness_contrast=0.5, gamma=0.5, noise=0.2, blur=1.0, elastic=True, color_jitter=0.3,
    ),
}  # fmt: skip


def plan_augmentation(
    settings: VariedSettings,
    flip_x: bool = True,
    flip_y: bool = True,
    mixed_polarity: bool = False,
) -> AugmentationPlan:
    """Lay the settings' single switches over their level.

    Args:
        settings: a task's level and switches; None in a switch leaves it to the level and the data.
        flip_x: whether the data allow mirroring left-right.
        flip_y: whether the data allow mirroring up-down.
        mixed_polarity: whether some images show their objects bright and others dark; their negatives are
            then worth seeing.
    """
    level = str(settings.augmentation)
    plan = LEVELS[level]
    plan = replace(
        plan,
        flip_x=plan.flip_x and flip_x,
        flip_y=plan.flip_y and flip_y,
        rotate90=plan.rotate90 and flip_x and flip_y,
        invert=0.3 if mixed_polarity and level != "none" else plan.invert,
    )
    switches = {field.name: getattr(settings, field.name, None) for field in fields(plan)}
    given = {name: value for name, value in switches.items() if value is not None}
    if settings.flips is not None:
        given |= {"flip_x": settings.flips, "flip_y": settings.flips}
    return replace(plan, **given)


def change_colors(plan: AugmentationPlan, image: FloatArray, random: np.random.Generator) -> FloatArray:
    """Vary saturation and the channels' balance; turn some colour images grey."""
    if image.shape[2] != 3 or plan.color_jitter == 0:
        return image
    greying, changing = random.random(2)
    saturation = 1 + random.uniform(-1, 1) * plan.color_jitter
    gain = 1 + random.uniform(-1, 1, size=3) * plan.color_jitter
    grey = (image @ LUMA)[..., None]
    if greying < plan.color_jitter:
        return np.repeat(grey, 3, axis=2)
    if changing < INTENSITY_SHARE:
        mixed = (grey + (image - grey) * np.float32(saturation)) * gain
        return mixed.astype(np.float32)
    return image


def change_intensity(plan: AugmentationPlan, image: FloatArray, random: np.random.Generator) -> FloatArray:
    """Turn to the negative, bend the grey curve, change contrast and brightness, blur, add noise."""
    negative, bend, change, smooth, disturb = random.random(5)
    exponent, contrast, shift, width, strength = random.uniform(-1, 1, size=5)
    if negative < plan.invert:
        image = 2 * np.float32(image.mean()) - image
    if plan.gamma and bend < INTENSITY_SHARE:
        image = _bend(image, float(np.exp(exponent * np.log1p(plan.gamma))))
    if plan.brightness_contrast and change < INTENSITY_SHARE:
        mean, deviation = float(image.mean()), float(image.std())
        gain, offset = 1 + contrast * plan.brightness_contrast, shift * plan.brightness_contrast * deviation
        image = image * np.float32(gain) + np.float32(mean * (1 - gain) + offset)
    if plan.blur and smooth < RARE_SHARE:
        sigma = max(0.1, abs(width) * plan.blur)
        blurred = cv2.GaussianBlur(np.ascontiguousarray(image), (0, 0), sigma)
        image = np.asarray(blurred, dtype=np.float32).reshape(image.shape)
    if plan.noise and disturb < RARE_SHARE:
        sigma = abs(strength) * plan.noise * float(image.std())
        image = image + random.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma)
    return image


def _bend(image: FloatArray, exponent: float) -> FloatArray:
    """Raise values, scaled to 0..1 between the image's extremes, to a power, and scale back."""
    low, high = float(image.min()), float(image.max())
    if high <= low:
        return image
    unit = (image - np.float32(low)) / np.float32(high - low)
    return unit ** np.float32(exponent) * np.float32(high - low) + np.float32(low)
