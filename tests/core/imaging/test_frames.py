"""Planes on the wire: every type and shape comes back, damage is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.imaging.frames import WIRE_TYPES, Frame, pack_frame, unpack_frames, wire_type
from core.readings.runs import decode_runs, encode_runs


@given(
    kind=st.sampled_from(WIRE_TYPES[:5]),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 9)),
    channels=st.integers(1, 4),
    deflate=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_frames_come_back(kind, shape, channels, deflate, seed) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-300, 300, (*shape, channels)).astype(kind)
    values = values[..., 0] if channels == 1 else values
    content = pack_frame(Frame(7, shape, values), deflate) + pack_frame(Frame(8, shape, values), not deflate)
    frames = list(unpack_frames(content))
    assert [frame.index for frame in frames] == [7, 8]
    for frame in frames:
        assert frame.values.dtype == np.dtype(kind)
        np.testing.assert_array_equal(frame.values, values)


def test_runs_travel_as_frames() -> None:
    plane = np.random.default_rng(0).integers(0, 3, (6, 5)).astype(np.uint8)
    [frame] = unpack_frames(pack_frame(Frame(2, plane.shape, encode_runs(plane), is_runs=True), True))
    assert frame.is_runs and frame.shape == (6, 5)
    np.testing.assert_array_equal(decode_runs(frame.values, frame.shape), plane)


@pytest.mark.parametrize(
    ("dtype", "wire"),
    [
        ("uint8", "uint8"),
        ("int32", "int32"),
        ("float64", "float32"),
        ("int64", "float32"),
        ("uint32", "float32"),
    ],
)
def test_what_the_browser_lacks_travels_as_float(dtype: str, wire: str) -> None:
    assert wire_type(dtype) == wire


@pytest.mark.parametrize("content", [b"SLF1", b"nothing at all, but long enough to be a header", b"x"])
def test_damage_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match="frame"):
        list(unpack_frames(content))
    whole = pack_frame(Frame(0, (4, 4), np.zeros((4, 4), np.uint8)))
    with pytest.raises(ValueError, match="cut short"):
        list(unpack_frames(whole[:-1]))
