"""A synthetic pigmented skin lesion as a dermatoscope shows it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from core.imaging.phantom_base import (
    Phantom,
    build_phantom,
    paint,
    pixel_grid,
    smooth_noise,
    synthetic_info,
    wavy_radius,
)
from core.types import Array


def dermoscopy(seed: int, shape: tuple[int, int] = (256, 320)) -> Phantom:
    """Draw a pigmented skin lesion under a dermatoscope: irregular border, network, dots, hairs.

    Args:
        seed: decides everything.
        shape: rows and columns.

    Returns:
        RGB ``yxc``; truth 1 = lesion.
    """
    rng = np.random.default_rng([seed, 1])
    y, x = pixel_grid(shape)
    picture = _skin(rng, shape)
    size = min(shape)
    center = np.array(shape) / 2 + rng.uniform(-0.08, 0.08, 2) * size
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.45)
    along = (x - center[1]) * np.cos(turn) + (y - center[0]) * np.sin(turn)
    across = -(x - center[1]) * np.sin(turn) + (y - center[0]) * np.cos(turn)
    angle = np.arctan2(across * stretch, along)
    border = rng.uniform(0.22, 0.33) * size * wavy_radius(rng, angle, rng.uniform(0.05, 0.12))
    distance = border - np.hypot(along, across * stretch)  # > 0 inside, in pixels along the radius
    truth = (distance > 0).astype(np.uint8)
    edge_px = rng.uniform(2.0, 5.0)
    cover = 1 / (1 + np.exp(-2.2 * distance / edge_px))
    paint(picture, 0.92 * cover, _lesion_color(rng, shape, distance, size))
    _add_hairs(rng, picture)
    _add_lens(picture, x, y)
    picture += rng.normal(0, 0.008, picture.shape)
    array = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    info = synthetic_info("yxc", array, (0.04, 0.04), "DMS", "dermoscopy phantom")
    return build_phantom(f"dermoscopy_{seed:03d}", array, truth, ["lesion"], info)


def _skin(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    base = np.array([0.86, 0.66, 0.57]) * rng.uniform(0.88, 1.06)
    base = base * (1 + rng.normal(0, 0.02, 3))
    texture = 0.020 * smooth_noise(rng, shape, 18) + 0.012 * smooth_noise(rng, shape, 3)
    lines = np.abs(smooth_noise(rng, shape, (1.4, 4.0))) + np.abs(smooth_noise(rng, shape, (4.0, 1.4)))
    picture = base + (texture - 0.010 * (lines - lines.mean()))[..., None] * np.array([1.0, 1.15, 1.2])
    redness = 0.02 * smooth_noise(rng, shape, 10)
    return picture - redness[..., None] * np.array([0.1, 1.0, 0.9])


def _lesion_color(rng: np.random.Generator, shape: tuple[int, int], distance: Array, size: int) -> Array:
    light, dark = np.array([0.62, 0.40, 0.27]), np.array([0.25, 0.13, 0.09])
    depth = np.clip(distance / (0.22 * size), 0, 1)
    mix = np.clip(0.30 + 0.35 * depth + 0.26 * smooth_noise(rng, shape, 14), 0, 1)
    network = np.abs(smooth_noise(rng, shape, 2.2))  # small where the mesh runs
    mesh = np.exp(-((network / 0.35) ** 2)) * np.clip(1.2 - depth, 0, 1)
    mix = np.clip(mix + 0.22 * mesh, 0, 1)
    color = light + mix[..., None] * (dark - light)
    dots = smooth_noise(rng, shape, 1.6) > 2.35
    dots_cover = ndimage.gaussian_filter(dots.astype(float), 0.9)
    color += 0.75 * dots_cover[..., None] * (np.array([0.14, 0.08, 0.07]) - color)
    if rng.random() < 0.45:  # a blue-white veil
        veil = np.clip(smooth_noise(rng, shape, 20) - 0.4, 0, 1) * depth
        color += 0.55 * veil[..., None] * (np.array([0.45, 0.47, 0.55]) - color)
    return color


def _add_hairs(rng: np.random.Generator, picture: Array) -> None:
    rows, columns = picture.shape[:2]
    for _ in range(int(rng.integers(3, 11))):
        ends = rng.uniform(-0.1, 1.1, (3, 2)) * (rows, columns)
        ends[1] = ends[[0, 2]].mean(axis=0) + rng.normal(0, 0.12, 2) * (rows, columns)
        t = np.linspace(0, 1, 2 * (rows + columns))[:, None]
        curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
        cells = np.floor(curve).astype(int)
        inside = ((cells >= 0) & (cells < (rows, columns))).all(axis=1)
        line = np.zeros((rows, columns))
        line[cells[inside, 0], cells[inside, 1]] = 1
        width = rng.uniform(0.55, 0.95)
        cover = np.clip(ndimage.gaussian_filter(line, width) * width * 2.3, 0, 1)
        paint(picture, 0.85 * cover, np.array([0.16, 0.11, 0.09]) * rng.uniform(0.6, 1.5))


def _add_lens(picture: Array, x: Array, y: Array) -> None:
    """Darken towards the corners, as the lens does."""
    rows, columns = picture.shape[:2]
    radius = np.hypot(x - columns / 2, y - rows / 2) / (0.5 * np.hypot(rows, columns))
    picture *= (1.02 - 0.22 * radius**3)[..., None]
