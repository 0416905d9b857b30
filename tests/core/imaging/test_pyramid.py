"""Tiles of large planes against OpenCV's area averages."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from core.imaging.pyramid import TILE_SIZE, cut_tile, halve, is_tiled, level_shapes, open_level


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_halving_equals_opencv(dtype: str, channels: int) -> None:
    rng = np.random.default_rng(3)
    band = rng.integers(0, 250, (40, 62, channels)).astype(dtype)
    band = band[..., 0] if channels == 1 else band
    ours, theirs = halve(band), cv2.resize(band, (31, 20), interpolation=cv2.INTER_AREA)
    assert ours.dtype == band.dtype and ours.shape == theirs.shape
    # OpenCV rounds halves of some types away from zero, we to even.
    assert np.abs(ours.astype(float) - theirs.astype(float)).max() <= (1 if dtype != "float32" else 1e-4)


def test_levels_are_made_once_and_cover_the_plane(tmp_path: Path) -> None:
    plane = np.random.default_rng(0).integers(0, 255, (1300, 2051, 3)).astype(np.uint8)
    shapes = level_shapes(*plane.shape[:2])
    assert shapes == [(1300, 2051), (650, 1026), (325, 513), (163, 257)]
    for number, shape in enumerate(shapes):
        level = open_level(plane, tmp_path / "p", number)
        assert level.shape == (*shape, 3)
    made = (tmp_path / "p" / "1.npy").stat().st_mtime_ns
    np.testing.assert_array_equal(open_level(plane, tmp_path / "p", 1), halve(plane))
    np.testing.assert_array_equal(open_level(plane, tmp_path / "p", 2), halve(halve(plane)))
    assert (tmp_path / "p" / "1.npy").stat().st_mtime_ns == made
    assert not list(tmp_path.glob(".*"))


def test_tiles_join_to_the_level(tmp_path: Path) -> None:
    plane = np.random.default_rng(0).integers(0, 9999, (1025, 600)).astype(np.int16)
    rows = [np.hstack([cut_tile(plane, row, column) for column in range(2)]) for row in range(3)]
    np.testing.assert_array_equal(np.vstack(rows), plane)
    assert cut_tile(plane, 2, 1).shape == (1, 600 - TILE_SIZE)
    for row, column in ((3, 0), (0, 2), (-1, 0)):
        with pytest.raises(ValueError, match="no tile"):
            cut_tile(plane, row, column)
    with pytest.raises(ValueError, match="level must lie"):
        open_level(plane, tmp_path / "p", 9)


def test_only_large_planes_are_tiled() -> None:
    assert not is_tiled((2048, 2048)) and is_tiled((10_000, 10_000)) and not is_tiled((1, 1))
