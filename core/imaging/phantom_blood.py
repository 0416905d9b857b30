"""A synthetic stained blood smear under the microscope."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from core.imaging.phantom_base import (
    InstanceBox,
    Phantom,
    build_phantom,
    paint,
    pixel_grid,
    smooth_noise,
    synthetic_info,
    wavy_radius,
)
from core.types import Array


def blood_smear(seed: int, shape: tuple[int, int] = (240, 320)) -> Phantom:
    """Draw a stained blood smear under the microscope: red cells, one to three white cells, platelets.

    Args:
        seed: decides everything.
        shape: rows and columns.

    Returns:
        RGB ``yxc``; truth 1 = red cell, 2 = white cell, 3 = platelet; where cells overlap, the upper one.
        One box per cell, around all of it.
    """
    rng = np.random.default_rng([seed, 2])
    light = np.array([0.93, 0.90, 0.91]) * (1 + 0.015 * smooth_noise(rng, shape, 40))[..., None]
    picture = light + 0.008 * smooth_noise(rng, shape, 2)[..., None]
    truth = np.zeros(shape, np.uint8)
    boxes: list[InstanceBox] = []
    taken: list[tuple[float, float, float]] = []
    plan = [(2, int(rng.integers(1, 4)), (24.0, 30.0)), (1, int(rng.integers(26, 48)), (14.0, 18.0))]
    plan.append((3, int(rng.integers(3, 10)), (3.5, 5.5)))
    drawn: list[tuple[int, float, float, float]] = []
    for label, count, radii in plan:
        for _ in range(count):
            place = _free_place(rng, shape, rng.uniform(*radii), taken, 0.86 if label == 1 else 1.06)
            if place is not None:
                taken.append(place)
                drawn.append((label, *place))
    for label, cy, cx, radius in sorted(drawn, key=lambda cell: {1: 0, 3: 1, 2: 2}[cell[0]]):
        inside = _draw_cell(rng, picture, label, (cy, cx), radius)
        if inside.any():
            truth[inside] = label
            rows, columns = np.nonzero(inside)
            box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
            boxes.append(InstanceBox(label, box))
    picture = ndimage.gaussian_filter(picture, (0.6, 0.6, 0)) + rng.normal(0, 0.010, picture.shape)
    array = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    info = synthetic_info("yxc", array, (0.00025, 0.00025), "GM", "blood smear phantom")
    names = ["red cell", "white cell", "platelet"]
    return replace(build_phantom(f"blood_smear_{seed:03d}", array, truth, names, info), boxes=tuple(boxes))


def _free_place(
    rng: np.random.Generator,
    shape: tuple[int, int],
    radius: float,
    taken: list[tuple[float, float, float]],
    apart: float,
) -> tuple[float, float, float] | None:
    """Find (y, x, radius) at ``apart`` times the sum of radii from all others; None after 60 tries."""
    others = np.array(taken).reshape(-1, 3)
    for _ in range(60):
        cy, cx = rng.uniform(-0.2 * radius, shape[0] + 0.2 * radius), rng.uniform(0, shape[1])
        if (np.hypot(others[:, 0] - cy, others[:, 1] - cx) > apart * (others[:, 2] + radius)).all():
            return float(cy), float(cx), float(radius)
    return None


def _draw_cell(
    rng: np.random.Generator, picture: Array, label: int, center: tuple[float, float], radius: float
) -> Array:
    """Paint one cell in place; return the bool mask of the pixels whose centres lie in it."""
    y, x = pixel_grid((picture.shape[0], picture.shape[1]))
    dy, dx = y - center[0], x - center[1]
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.16)
    along, across = dx * np.cos(turn) + dy * np.sin(turn), (dy * np.cos(turn) - dx * np.sin(turn)) * stretch
    roughness = {1: 0.018, 2: 0.035, 3: 0.12}[label]
    border = radius * wavy_radius(rng, np.arctan2(across, along), roughness, 6)
    r = np.hypot(along, across) / border
    inside = r < 1
    cover = np.clip((1 - r) * radius + 0.5, 0, 1)
    if label == 1:
        _paint_red_cell(rng, picture, cover, r)
    elif label == 2:
        _paint_white_cell(rng, picture, cover, (along, across), radius)
    else:
        grain = smooth_noise(rng, r.shape, 0.9)[..., None] * 0.06
        paint(picture, 0.85 * cover, np.array([0.55, 0.40, 0.66]) + grain)
    return inside


def _paint_red_cell(rng: np.random.Generator, picture: Array, cover: Array, r: Array) -> None:
    tint = np.array([0.87, 0.62, 0.60]) * rng.uniform(0.95, 1.04)
    pallor = rng.uniform(0.35, 0.75) * np.exp(-((r / rng.uniform(0.38, 0.55)) ** 4))
    rim = 0.07 * np.exp(-(((r - 0.93) / 0.07) ** 2))
    color = tint + pallor[..., None] * (np.array([0.92, 0.83, 0.82]) - tint) - rim[..., None]
    paint(picture, 0.93 * cover, color)


def _paint_white_cell(
    rng: np.random.Generator, picture: Array, cover: Array, grid: tuple[Array, Array], radius: float
) -> None:
    shape = cover.shape
    grains = smooth_noise(rng, shape, 1.0)[..., None]
    paint(picture, 0.9 * cover, np.array([0.76, 0.68, 0.83]) + 0.03 * grains)
    lobes = int(rng.integers(1, 5))
    first = rng.uniform(0, 2 * np.pi)
    field = np.zeros(shape)
    for lobe in range(lobes):
        turn = first + lobe * rng.uniform(1.1, 1.7)
        reach = 0.0 if lobes == 1 else 0.42 * radius
        size = radius * (0.70 if lobes == 1 else rng.uniform(0.34, 0.44))
        away = np.hypot(grid[0] - reach * np.cos(turn), grid[1] - reach * np.sin(turn))
        field = np.maximum(field, np.clip((size - away) + 0.5, 0, 1))
        field = np.maximum(field, 0.0)
    nucleus = ndimage.gaussian_filter(field, 1.2) * cover
    chromatin = 0.06 * smooth_noise(rng, shape, 1.6)[..., None]
    paint(picture, 0.95 * nucleus, np.array([0.36, 0.22, 0.52]) + chromatin)
