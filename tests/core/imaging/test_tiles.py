"""Tiles of large images: each pixel is the mean of what it covers, counted out by hand with plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.imaging.tiles import box_mean, level_count, level_shape, tile

RNG = np.random.default_rng(11)


def slow_mean(array: np.ndarray, factor: int) -> np.ndarray:
    rows = range(0, array.shape[0], factor)
    columns = range(0, array.shape[1], factor)
    boxes = [
        [array[y : y + factor, x : x + factor].astype(np.float64).mean((0, 1)) for x in columns] for y in rows
    ]
    means = np.array(boxes)
    return means.astype(array.dtype) if array.dtype.kind == "f" else np.floor(means + 0.5).astype(array.dtype)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([1, 2, 4, 8, 16, 64]),
    st.sampled_from(["uint8", "uint16", "int16", "int32", "float32"]),
    st.booleans(),
)
def test_box_mean_is_the_mean(shape, factor, dtype, is_color):
    values = RNG.integers(0, 60000 if dtype == "uint16" else 120, (*shape, 3) if is_color else shape).astype(
        dtype
    )
    values = values - 50 if dtype.startswith(("int", "float")) else values
    found = box_mean(values, factor)
    assert found.dtype == values.dtype
    assert np.allclose(found, slow_mean(values, factor), rtol=1e-6)


def test_extreme_values_do_not_overflow():
    for dtype in (np.uint8, np.uint16, np.int16, np.int32):
        for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
            assert (box_mean(np.full((257, 300), value, dtype), 256) == value).all()


@pytest.mark.parametrize(
    ("height", "width", "levels"), [(1, 1, 1), (256, 256, 1), (257, 3, 2), (10000, 10000, 7)]
)
def test_levels_end_when_one_tile_holds_all(height, width, levels):
    assert level_count(height, width) == levels
    assert max(level_shape(height, width, levels - 1)) <= 256
    assert levels == 1 or max(level_shape(height, width, levels - 2)) > 256


def test_tiles_of_a_mapped_image_make_up_each_level(tmp_path):
    np.save(tmp_path / "large.npy", RNG.integers(0, 255, (700, 901, 3), dtype=np.uint8))
    array = np.load(tmp_path / "large.npy", mmap_mode="r")
    for level in range(level_count(*array.shape[:2], size=128)):
        rows, columns = level_shape(*array.shape[:2], level)
        whole = np.concatenate(
            [
                np.concatenate([tile(array, level, y, x, 128) for x in range(-(-columns // 128))], axis=1)
                for y in range(-(-rows // 128))
            ]
        )
        assert np.array_equal(whole, box_mean(array, 2**level))


@pytest.mark.parametrize("wanted", [(0, 3, 0), (0, -1, 0), (9, 0, 0), (-1, 0, 0), (1, 0, 2)])
def test_no_such_tile(wanted):
    with pytest.raises(ValueError, match="no tile"):
        tile(np.zeros((700, 900)), *wanted)
    with pytest.raises(ValueError, match="power of two"):
        box_mean(np.zeros((7, 9)), 3)
