"""A synthetic ultrasound picture with cysts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import expit

from core.imaging.phantom_base import Phantom, build_phantom, pixel_grid, smooth_noise, synthetic_info
from core.types import Array


def ultrasound(seed: int, shape: tuple[int, int] = (256, 320)) -> Phantom:
    """Draw a curved-array ultrasound picture: sector, layered tissue, speckle, one or two anechoic cysts.

    The echo field is made in the probe's own grid (depth x angle), where speckle is Rayleigh distributed,
    then compressed and resampled to the picture as a scanner does: so its grain widens with depth.

    Args:
        seed: decides everything.
        shape: rows and columns.

    Returns:
        uint8 ``yx``; truth 1 = cyst.
    """
    rng = np.random.default_rng([seed, 3])
    spacing = 100.0 / shape[0]  # the picture shows 10 cm
    y, x = pixel_grid(shape)
    geometry = _Sector(probe_mm=45.0, depth_mm=94.0, half_angle=0.62)
    depth, angle = geometry.to_beam(y * spacing, (x - shape[1] / 2) * spacing)
    cysts = _place_cysts(rng, geometry)
    inside = (depth >= 0) & (depth <= geometry.depth_mm) & (np.abs(angle) <= geometry.half_angle)
    truth = np.zeros(shape, np.uint8)
    for cyst in cysts:
        truth[(cyst.level(y * spacing, (x - shape[1] / 2) * spacing) < 1) & inside] = 1
    beam = _beam_picture(rng, geometry, cysts)
    samples = np.stack(
        [
            depth / geometry.depth_mm * (beam.shape[0] - 1),
            (angle / geometry.half_angle + 1) / 2 * (beam.shape[1] - 1),
        ]
    )
    picture = ndimage.map_coordinates(beam, samples, order=1, mode="nearest") * inside
    array = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    info = synthetic_info("yx", array, (spacing, spacing), "US", "ultrasound phantom")
    return build_phantom(f"ultrasound_{seed:03d}", array, truth, ["cyst"], info)


@dataclass(frozen=True)
class _Sector:
    """A curved array: radius of the probe's face, depth shown, half opening angle in radians."""

    probe_mm: float
    depth_mm: float
    half_angle: float

    @property
    def top_mm(self) -> float:
        """Height of the picture above the probe's lowest point: the face is curved."""
        return self.probe_mm * np.cos(self.half_angle) - 3

    def to_beam(self, y_mm: Array, x_mm: Array) -> tuple[Array, Array]:
        """Return depth below the probe's face and angle of points in the picture."""
        down = y_mm + self.top_mm
        return np.hypot(x_mm, down) - self.probe_mm, np.arctan2(x_mm, down)

    def to_picture(self, depth: Array, angle: Array) -> tuple[Array, Array]:
        """Return y and x in mm of points given by depth and angle."""
        radius = depth + self.probe_mm
        return radius * np.cos(angle) - self.top_mm, radius * np.sin(angle)


@dataclass(frozen=True)
class _Cyst:
    """An ellipse with a gently waved border, in mm."""

    y: float
    x: float
    half_height: float
    half_width: float
    turn: float
    waves: tuple[float, float, float]

    def level(self, y_mm: Array, x_mm: Array) -> Array:
        """Return a number that is below 1 inside and above 1 outside."""
        dy, dx = y_mm - self.y, x_mm - self.x
        u = (dx * np.cos(self.turn) + dy * np.sin(self.turn)) / self.half_width
        v = (dy * np.cos(self.turn) - dx * np.sin(self.turn)) / self.half_height
        angle = np.arctan2(v, u)
        strength, phase2, phase3 = self.waves
        return np.hypot(u, v) / (
            1 + strength * (np.cos(2 * angle + phase2) + 0.7 * np.cos(3 * angle + phase3))
        )


def _place_cysts(rng: np.random.Generator, geometry: _Sector) -> list[_Cyst]:
    cysts: list[_Cyst] = []
    for _ in range(int(rng.integers(1, 3))):
        for _ in range(50):
            depth, angle = rng.uniform(28, 68), rng.uniform(-0.6, 0.6) * geometry.half_angle
            y, x = geometry.to_picture(np.array(depth), np.array(angle))
            half = rng.uniform(5, 13)
            if all(np.hypot(y - c.y, x - c.x) > half + 6 + max(c.half_height, c.half_width) for c in cysts):
                waves = (rng.uniform(0.01, 0.06), *rng.uniform(0, 6.28, 2))
                shape = (half * rng.uniform(0.7, 0.95), half, rng.uniform(-0.5, 0.5))
                cysts.append(_Cyst(float(y), float(x), *shape, waves))
                break
    return cysts


def _beam_picture(rng: np.random.Generator, geometry: _Sector, cysts: list[_Cyst]) -> Array:
    """Return log-compressed echoes (0 to 1) over depth and angle."""
    rows, columns = 520, 260
    depth = np.linspace(0, geometry.depth_mm, rows)[:, None]
    angle = np.linspace(-1, 1, columns)[None] * geometry.half_angle
    y, x = geometry.to_picture(depth, angle)
    scatter = _tissue(rng, depth, angle)
    behind = np.zeros((rows, columns))
    for cyst in cysts:
        level = cyst.level(y, x)
        fluid = expit((1 - level) * 60)
        wall = np.exp(-(((level - 1.03) / 0.05) ** 2))
        scatter = (
            scatter * (1 - 0.995 * fluid)
            + 0.9 * wall * np.abs(np.cos(np.arctan2(x - cyst.x, y - cyst.y))) ** 3
        )
        behind += np.cumsum(fluid, axis=0) * (1 - fluid) * (geometry.depth_mm / rows) / (2 * cyst.half_height)
    scatter *= 1 + 0.9 * ndimage.gaussian_filter(np.clip(behind, 0, 1), (6, 3))  # fluid attenuates less
    echo = _speckle(rng, (rows, columns)) * scatter * np.exp(-0.35 * (depth / geometry.depth_mm) ** 2)
    reverberation = 1.6 * np.exp(-depth / 1.2) + 0.5 * np.exp(-(((depth - 5.5) / 0.8) ** 2))
    echo = echo + reverberation * (0.7 + 0.3 * smooth_noise(rng, (rows, columns), (1, 8)).clip(-1, 1))
    echo = echo + 0.05 * rng.rayleigh(1.0, (rows, columns))
    return np.clip(1 + np.log10(np.maximum(echo, 1e-6) / 5.0) * 20 / 44, 0, 1)  # 44 dB dynamic range


def _tissue(rng: np.random.Generator, depth: Array, angle: Array) -> Array:
    """Return scatter strength: skin, fat with septa, a fascia, deeper tissue with soft blotches."""
    shape = (depth.shape[0], angle.shape[1])
    bend = 1.5 * np.cos(angle * rng.uniform(2, 5) + rng.uniform(0, 6))
    fat_end, muscle_end = rng.uniform(13, 17) + bend, rng.uniform(22, 26) + 1.4 * bend
    strength = np.where(depth < fat_end, 0.30, np.where(depth < muscle_end, 0.42, 0.62))
    strength = strength * np.exp(
        0.38 * smooth_noise(rng, shape, (24, 14)) + 0.15 * smooth_noise(rng, shape, (7, 5))
    )
    strands = np.exp(-((smooth_noise(rng, shape, (3, 26)) / 0.18) ** 2))
    strength = strength + 0.55 * strands * (depth < muscle_end)
    for border in (fat_end, muscle_end):
        strength = strength + 1.2 * np.exp(-(((depth - border) / 0.5) ** 2))
    spots = np.clip(smooth_noise(rng, shape, (3, 3)) - 2.2, 0, None)
    return strength + 0.9 * spots * (depth > muscle_end)


def _speckle(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Return Rayleigh-distributed speckle, mean 1: the magnitude of a blurred complex Gaussian field."""
    field = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    blurred = ndimage.gaussian_filter(field.real, (1.6, 1.3)) + 1j * ndimage.gaussian_filter(
        field.imag, (1.6, 1.3)
    )
    magnitude = np.abs(blurred)
    return magnitude / magnitude.mean()
