"""Polygons and strokes: pixel centres decide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.draw import polygon2mask

from core.readings.outlines import mask_to_polygons, rasterise_polygon, rasterise_polygons, rasterise_stroke


def test_a_square_covers_its_pixels() -> None:
    mask = rasterise_polygon([(2, 1), (5, 1), (5, 4), (2, 4)], (6, 8))
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:5] = True
    assert np.array_equal(mask, expected)


def test_pixel_centres_decide() -> None:
    assert rasterise_polygon([(0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)], (2, 2)).tolist() == [
        [1, 0],
        [0, 0],
    ]
    assert not rasterise_polygon([(0, 0), (0.4, 0), (0.4, 0.4), (0, 0.4)], (2, 2)).any()


def test_same_as_scikit_image_for_random_triangles() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = rng.uniform(-10, 50, (3, 2))
        ours = rasterise_polygon(points, (40, 33))
        assert np.array_equal(ours, polygon2mask((40, 33), points[:, ::-1] - 0.5))


def test_crossing_outside_and_empty() -> None:
    bow = rasterise_polygon([(0, 0), (10, 10), (10, 0), (0, 10)], (10, 10))
    assert 0 < bow.sum() < 60
    assert rasterise_polygon([(-99, -99), (99, -99), (99, 99), (-99, 99)], (5, 7)).all()
    assert not rasterise_polygon([(1, 1), (3, 3)], (5, 7)).any()
    assert not rasterise_polygon([], (5, 7)).any()
    with pytest.raises(ValueError, match=r"\(n, 2\)"):
        rasterise_polygon([(1, 2, 3)], (5, 7))
    ring = rasterise_polygons([[(0, 0), (9, 0), (9, 9), (0, 9)], [(3, 3), (6, 3), (6, 6), (3, 6)]], (9, 9))
    assert ring.sum() == 72


def test_strokes() -> None:
    y, x = np.mgrid[:30, :40] + 0.5
    dot = rasterise_stroke([(20.3, 11.2)], 9, (30, 40))
    assert np.array_equal(dot, np.hypot(x - 20.3, y - 11.2) <= 4.5)
    line = rasterise_stroke([(5, 15), (35, 15)], 6, (30, 40))
    assert line[12:18, 5:35].all() and line.sum() == pytest.approx(30 * 6 + np.pi * 9, abs=6)
    thin = rasterise_stroke([(0, 0), (39.9, 29.9)], 0.2, (30, 40))
    assert thin.any(axis=0).all() and thin.any(axis=1).all()
    assert not rasterise_stroke([(-50, -50)], 5, (30, 40)).any() and not rasterise_stroke([], 5, (3, 4)).any()
    with pytest.raises(ValueError, match="positive"):
        rasterise_stroke([(1, 1)], 0, (3, 4))


@given(arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))))
def test_outlines_give_the_same_mask_again(mask: np.ndarray) -> None:
    outlines = mask_to_polygons(mask)
    assert np.array_equal(rasterise_polygons(outlines, mask.shape), mask)
    assert bool(outlines) == bool(mask.any())
