"""A synthetic CT of a chest with lung nodules, in Hounsfield units."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from core.imaging.geometry import affine_from_spacing
from core.imaging.phantom_base import Phantom, build_phantom, smooth_noise, synthetic_info
from core.types import Array, Window

AIR, LUNG, FAT, MUSCLE, BLOOD, LIVER = -1000.0, -850.0, -100.0, 50.0, 42.0, 62.0
SPONGY_BONE, CORTICAL_BONE, TABLE = 220.0, 750.0, -350.0
SOLID_NODULE = 35.0


@dataclass(frozen=True)
class _Grid:
    """Voxel centres in mm from the middle of the chest: x to the patient's left, y back, z to the head."""

    z: Array
    y: Array
    x: Array
    spacing_mm: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.z.shape[0], self.y.shape[1], self.x.shape[2]

    def ellipsoid(self, center: tuple[float, float, float], half: tuple[float, float, float]) -> Array:
        """Return the squared relative distance (below 1 inside) for a z, y, x centre and half axes in mm."""
        parts = [((c - c0) / h) ** 2 for c, c0, h in zip((self.z, self.y, self.x), center, half, strict=True)]
        return parts[0] + parts[1] + parts[2]


@dataclass(frozen=True)
class _Body:
    """One patient's proportions."""

    scale: float
    depth: float
    heart: float
    dome_right: float
    dome_left: float


def ct_chest(
    seed: int,
    shape: tuple[int, int, int] = (40, 192, 192),
    spacing_mm: tuple[float, float, float] = (4.0, 1.8, 1.8),
) -> Phantom:
    """Draw a chest CT: body wall, ribs, spine, heart, aorta, airways, vessels, liver dome and nodules.

    Args:
        seed: decides everything.
        shape: slices, rows, columns; with the default spacing the whole chest fits.
        spacing_mm: z, y, x.

    Returns:
        int16 HU ``zyx``, slice 0 at the feet; truth 1 = nodule.
    """
    rng = np.random.default_rng([seed, 4])
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)]
    grid = _Grid(axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :], spacing_mm)
    body = _Body(
        rng.uniform(0.92, 1.04), rng.uniform(0.94, 1.08), rng.uniform(0.9, 1.15), *rng.uniform(-58, -40, 2)
    )
    volume, lungs = _torso(rng, grid, body)
    _add_bones(grid, body, volume)
    _add_mediastinum(rng, grid, body, volume, lungs)
    _add_vessels(rng, grid, body, volume, lungs)
    nodules = _place_nodules(rng, grid, volume, lungs)
    blurred = ndimage.gaussian_filter(volume, [0.25, 0.5, 0.5])
    noise = 11 * smooth_noise(rng, shape, (0.0, 0.7, 0.7)) * (1 + 0.5 * (volume > -1000))
    array = np.clip(np.rint(blurred + noise), -1024, 3071).astype(np.int16)
    affine = affine_from_spacing(spacing_mm, tuple(float(axis[0]) for axis in axes[::-1]))
    info = replace(
        synthetic_info("zyx", array, spacing_mm, "CT", "chest phantom"),
        affine_lps=affine,
        window=Window(-600, 1500),
    )
    return build_phantom(f"ct_chest_{seed:03d}", array, nodules.astype(np.uint8), ["nodule"], info)


def _torso(rng: np.random.Generator, grid: _Grid, body: _Body) -> tuple[Array, Array]:
    """Return HU with skin, fat, muscle and lungs, and the lungs' mask."""
    taper = 1 - 0.0011 * np.clip(grid.z, 0, None)
    wide, deep = 158 * body.scale * taper, 108 * body.scale * body.depth * taper
    flat_back = grid.y - 6 * (np.abs(grid.x) / 80) ** 2
    skin = (np.abs(grid.x / wide) ** 2.6 + np.abs(flat_back / deep) ** 2.4) ** (1 / 2.5)
    volume = np.full(grid.shape, AIR)
    volume[skin < 1] = FAT + 8 * smooth_noise(rng, grid.shape, (1, 3, 3))[skin < 1]
    muscle = (np.abs(grid.x / (wide - 14)) ** 2.6 + np.abs(flat_back / (deep - 11)) ** 2.4) ** (1 / 2.5)
    volume[muscle < 1] = MUSCLE
    marbling = smooth_noise(rng, grid.shape, (1, 1.2, 3)) > 1.7
    volume[(muscle < 1) & (muscle > 0.86) & marbling] = FAT
    lungs = np.zeros(grid.shape, bool)
    for side, dome in ((-1, body.dome_right), (1, body.dome_left)):
        lungs |= _lung(grid, body, side, dome)
    volume[lungs] = LUNG + 22 * smooth_noise(rng, grid.shape, (0.8, 1.2, 1.2))[lungs]
    gradient = np.broadcast_to(grid.y, grid.shape)[lungs]
    volume[lungs] += 0.35 * gradient  # denser towards the back, where blood sinks
    below = ~lungs & (muscle < 0.80) & _under_domes(grid, body)
    volume[below] = LIVER
    stomach = grid.ellipsoid((body.dome_left - 30, -30, 62), (26, 32, 36)) < 1
    volume[below & (grid.x > 12)] = 48.0
    volume[below & stomach] = -20.0
    table = np.abs(np.hypot(grid.x, grid.y + 300) - (303 + 108 * body.scale * body.depth)) < 2.5
    volume[np.broadcast_to(table & (np.abs(grid.x) < 165), grid.shape) & (volume < -900)] = TABLE
    return volume, lungs


def _lung(grid: _Grid, body: _Body, side: int, dome: float) -> Array:
    """Return one lung; side -1 is the patient's right."""
    s = body.scale
    rise = np.clip((grid.z + 80) / 160, 0, 1)
    narrow = np.sqrt(np.clip(1 - (np.clip(grid.z - 20, 0, None) / 75) ** 2, 0, 1))
    half_x, half_y = 50 * s * narrow * (1.06 - 0.12 * rise), 78 * s * body.depth * narrow
    center_x = side * (66 * s - 12 * rise)
    shape = (np.abs((grid.x - center_x) / np.maximum(half_x, 1)) ** 2.3) + np.abs(
        (grid.y + 2) / np.maximum(half_y, 1)
    ) ** 2.2
    inside = (shape < 1) & (narrow > 0.12)
    hilum = grid.ellipsoid((5, 8, side * 14), (200, 62, 24)) < 1  # keeps the middle of the chest free
    return inside & ~hilum & ~_dome(grid, body, side, dome)


def _dome(grid: _Grid, body: _Body, side: int, dome: float) -> Array:
    """Return what lies under one half of the diaphragm, which stands highest in the middle of the lung."""
    away = np.hypot((grid.x - side * 62 * body.scale) / 58, (grid.y + 10) / 80)
    return np.broadcast_to(grid.z < dome + 18 - 42 * away**2, grid.shape)


def _under_domes(grid: _Grid, body: _Body) -> Array:
    right, left = _dome(grid, body, -1, body.dome_right), _dome(grid, body, 1, body.dome_left)
    return right | left


def _add_bones(grid: _Grid, body: _Body, volume: Array) -> None:
    s = body.scale
    back = 62 * s * body.depth
    radius = np.hypot(grid.x / 17.5, (grid.y - back) / 14.5)
    disc = np.abs(((grid.z + 200) % 24) - 12) > 10.2  # soft discs between the vertebrae
    bone = np.where(radius > 0.86, CORTICAL_BONE * 0.7, SPONGY_BONE)
    vertebra = np.broadcast_to(radius < 1, volume.shape)
    volume[vertebra] = np.broadcast_to(np.where(disc, 85.0, bone), volume.shape)[vertebra]
    canal = np.hypot(grid.x / 10, (grid.y - back - 21) / 8.5)
    arch = (np.hypot(grid.x / 14.5, (grid.y - back - 21) / 12.5) < 1) & (canal >= 1) & ~disc
    wings = (np.abs(grid.y - back - 20 - 0.12 * np.abs(grid.x)) < 5) & (np.abs(grid.x) < 33) & ~disc
    spine = (np.abs(grid.x) < 3.2) & (grid.y > back + 28) & (grid.y < back + 38 - 8 * disc)
    for part, value in ((arch | wings, 420.0), (spine & ~disc, 380.0)):
        volume[np.broadcast_to(part, volume.shape)] = value
    volume[np.broadcast_to((canal < 1) & (radius > 1), volume.shape)] = 25.0
    _add_ribs(grid, body, volume)
    sternum = (np.abs(grid.x) < 17) & (np.abs(grid.y + 88 * s * body.depth) < 6.5) & (grid.z > -50)
    volume[np.broadcast_to(sternum, volume.shape)] = SPONGY_BONE
    rim = sternum & ((np.abs(grid.x) > 14.5) | (np.abs(grid.y + 88 * s * body.depth) > 4.6))
    volume[np.broadcast_to(rim, volume.shape)] = 480.0


def _add_ribs(grid: _Grid, body: _Body, volume: Array) -> None:
    """Hoops around the lungs that fall towards the front, as ribs do; the last part in front is cartilage."""
    s = body.scale
    narrow = np.sqrt(np.clip(1 - (np.clip(grid.z - 12, 0, None) / 92) ** 2, 0.05, 1))
    half_x, half_y = 122 * s * (0.35 + 0.65 * narrow), 87 * s * body.depth * (0.45 + 0.55 * narrow)
    ring = (np.abs(grid.x / half_x) ** 2.4 + np.abs(grid.y / half_y) ** 2.2) ** (1 / 2.3)
    depth_mm = (ring - 1) * 0.5 * (half_x + half_y)
    angle = np.arctan2(np.abs(grid.x) / half_x, grid.y / half_y)  # 0 at the back, pi in front
    height = (grid.z + 34 * angle + 300) % 27 - 13.5
    rib = (depth_mm / 4.2) ** 2 + (height / 6.5) ** 2
    bony = np.broadcast_to((angle > 0.22) & (angle < 2.45), volume.shape)
    front = np.broadcast_to((angle >= 2.45) & (angle < 2.95), volume.shape)
    volume[(rib < 1) & bony] = CORTICAL_BONE
    volume[(rib < 0.45) & bony] = SPONGY_BONE
    volume[(rib < 1) & front & (volume > -300)] = 105.0


def _add_mediastinum(rng: np.random.Generator, grid: _Grid, body: _Body, volume: Array, lungs: Array) -> None:
    """Heart, aorta, gullet and windpipe; updates the lungs' mask where the heart pushes them aside."""
    h = body.heart
    level = rng.uniform(-14, -6)
    soft = (np.abs(grid.x) < 30) & (np.abs(grid.y) < 68) & (volume > -300) & (volume < 200)
    volume[soft & (grid.z > level)] = -70.0  # fat around the great vessels
    heart = grid.ellipsoid((level, -32, 20), (46 * h, 44 * h, 54 * h))
    above = ~_under_domes(grid, body)
    volume[(heart < 1.0) & above] = FAT * 0.8
    volume[(heart < 0.9) & above] = MUSCLE + 5
    volume[grid.ellipsoid((level, -30, 32), (30 * h, 24 * h, 26 * h)) < 1] = BLOOD - 4
    volume[grid.ellipsoid((level + 4, -36, -12), (30 * h, 24 * h, 20 * h)) < 1] = BLOOD - 4
    lungs &= heart >= 1.0
    tubes = [  # y, x, radius, from z, to z, HU
        (44, 20, 12.5, -90, 45, BLOOD),
        (-28, -6, 15, 5, 42, BLOOD),
        (-26, -30, 9, 5, 90, BLOOD),
        (36, 2, 7, -90, 90, 32.0),
    ]
    for y, x, radius, low, high, value in tubes:
        tube = (np.hypot(grid.y - y, grid.x - x) < radius) & (grid.z > low) & (grid.z < high)
        volume[tube & (volume > -800)] = value
    arch = (np.hypot((grid.z - 36) / 1.0, grid.x - (7 + 0.18 * (grid.y - 8))) < 12) & (
        np.abs(grid.y - 8) < 42
    )
    volume[arch] = BLOOD
    volume[(np.hypot(grid.y - 10, grid.x + 3) < 8.5) & (grid.z > 14)] = AIR
    for side in (-1, 1):
        along = np.clip((14 - grid.z) / 26, 0, 1)
        tube = np.hypot(grid.y - 12, grid.x + 3 - side * 34 * along) < 6.8
        volume[tube & (grid.z <= 14) & (grid.z > -12)] = AIR


def _add_vessels(rng: np.random.Generator, grid: _Grid, body: _Body, volume: Array, lungs: Array) -> None:
    """Branching tubes from both hila outwards, thinner at each fork."""
    for side in (-1, 1):
        stack = []
        for _ in range(13):
            start = np.array(
                [rng.uniform(-12, 14), rng.uniform(-2, 20), side * rng.uniform(22, 32) * body.scale]
            )
            toward = np.array([rng.normal(0, 1.3), rng.normal(0, 0.8), side * rng.uniform(0.4, 1.0)])
            stack.append((start, toward / np.linalg.norm(toward), rng.uniform(3.4, 5.4), 5))
        while stack:
            start, toward, radius, left = stack.pop()
            end = start + toward * rng.uniform(14, 25)
            _draw_tube(grid, volume, lungs, (start, end), radius)
            if left and radius > 0.7:
                for _ in range(2):
                    bent = toward + rng.normal(0, 0.42, 3)
                    stack.append(
                        (end, bent / np.linalg.norm(bent), radius * rng.uniform(0.62, 0.8), left - 1)
                    )


def _draw_tube(grid: _Grid, volume: Array, lungs: Array, ends: tuple[Array, Array], radius: float) -> None:
    """Fill a tube inside the lungs; one thinner than a voxel is paler, as partial volume makes it."""
    start, end = ends
    reach = radius + max(grid.spacing_mm)
    box = []
    for axis, coordinates in enumerate((grid.z.ravel(), grid.y.ravel(), grid.x.ravel())):
        low, high = min(start[axis], end[axis]) - reach, max(start[axis], end[axis]) + reach
        box.append(slice(int(np.searchsorted(coordinates, low)), int(np.searchsorted(coordinates, high))))
    where = tuple(box)
    z, y, x = grid.z[box[0]], grid.y[:, box[1]], grid.x[:, :, box[2]]
    along = end - start
    offset = (z - start[0], y - start[1], x - start[2])
    share = np.clip(sum(o * a for o, a in zip(offset, along, strict=True)) / (along @ along), 0, 1)
    distance = np.sqrt(sum((o - share * a) ** 2 for o, a in zip(offset, along, strict=True)))
    cover = np.clip((radius - distance) / grid.spacing_mm[2] + 0.5, 0, 1) * lungs[where]
    cover *= min(1.0, radius / 1.6)
    volume[where] = np.where(
        cover > 0, np.maximum(volume[where], LUNG + cover * (BLOOD - LUNG)), volume[where]
    )


def _place_nodules(rng: np.random.Generator, grid: _Grid, volume: Array, lungs: Array) -> Array:
    """Draw up to six nodules inside the lungs, in place; return their mask."""
    mask = np.zeros(grid.shape, bool)
    room = ndimage.distance_transform_edt(lungs, sampling=grid.spacing_mm)
    air = lungs & (ndimage.gaussian_filter(volume, 1.5) < -650)  # not on a large vessel
    for _ in range(int(rng.integers(3, 7))):
        radius = rng.uniform(5.0, 14.0)
        places = np.flatnonzero(air & (room > radius + 1.5) & ~mask)
        if places.size == 0:
            continue
        iz, iy, ix = np.unravel_index(int(rng.choice(places)), grid.shape)
        center = (grid.z[iz, 0, 0], grid.y[0, iy, 0], grid.x[0, 0, ix])
        half = tuple(radius * rng.uniform(0.82, 1.0, 3))
        level = grid.ellipsoid((float(center[0]), float(center[1]), float(center[2])), half)
        if rng.random() < 0.4:  # spiculated
            away = np.sqrt(level) + 1e-9
            direction = [
                (c - c0) / (h * away) for c, c0, h in zip((grid.z, grid.y, grid.x), center, half, strict=True)
            ]
            spikes = sum(np.cos(rng.uniform(4, 7) * d + rng.uniform(0, 6)) for d in direction)
            level = level * (1 + 0.07 * spikes)
        nodule = (level < 1) & lungs
        volume[nodule] = np.maximum(volume[nodule], SOLID_NODULE + rng.uniform(-25, 25))
        mask |= nodule
    return mask
