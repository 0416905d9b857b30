"""Planes of values: the smallest type that holds them, whatever was guessed at first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.imaging.values import PlaneStack, Rescale, TooNarrow, narrow, smallest_type

WHOLE = st.sampled_from([1, -1, 2, 7, -3, 1000])
TYPES = st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])


@st.composite
def planes(draw: st.DrawFn) -> np.ndarray:
    kind = np.dtype(draw(TYPES))
    limits = np.iinfo(kind)
    near = st.one_of(
        st.integers(limits.min, limits.max), st.integers(-33_000, 33_000), st.integers(-300, 300)
    )
    ends = [max(limits.min, min(limits.max, draw(near))) for _ in range(4)]
    return np.array(ends, kind).reshape(2, 2)


@settings(max_examples=300, deadline=None)
@given(planes(), WHOLE, st.one_of(st.integers(-40_000, 40_000), st.sampled_from([0, -1024])))
def test_whole_numbers_stay_exact_or_the_type_is_refused(stored, slope, intercept):
    rescale = Rescale(float(slope), float(intercept))
    truth = stored.astype(object) * slope + intercept
    for kind in (np.uint8, np.int16, np.int32):
        limits = np.iinfo(kind)
        fits = truth.min() >= limits.min and truth.max() <= limits.max
        stack = PlaneStack(np.zeros((1, 2, 2), kind))
        room = stack.room_for(0, stored.dtype)
        source = stored
        if room is not None:  # as if read from a file straight into place
            room[...] = stored
            source = room
        if fits:
            stack.put(0, source, rescale)
            assert stack.array[0].tolist() == truth.tolist()
        else:
            with pytest.raises(TooNarrow) as refusal:
                stack.put(0, source, rescale)
            wider = PlaneStack(np.zeros((1, 2, 2), refusal.value.kind))
            if refusal.value.kind != np.uint8:
                wider.put(0, stored, rescale)
                assert np.allclose(wider.array[0].astype(float), truth.astype(float))


@settings(max_examples=200, deadline=None)
@given(planes(), WHOLE, st.integers(-40_000, 40_000))
def test_the_smallest_type_is_what_narrow_finds(stored, slope, intercept):
    values = stored.astype(np.int64) * slope + intercept
    expected = narrow(values).dtype
    if stored.dtype == np.uint8 and (slope, intercept) == (1, 0):
        expected = np.dtype(np.uint8)
    assert smallest_type(stored, [Rescale(slope, intercept)]) == expected


def test_fractions_and_floats_become_float32():
    assert smallest_type(np.zeros(2, np.int16), [Rescale(0.5, 0)]) == np.float32
    assert smallest_type(np.zeros(2, np.float64), [Rescale()]) == np.float32
    stack = PlaneStack(np.zeros((1, 1, 3), np.float32))
    stack.put(0, np.array([[0, np.nan, np.inf]]), Rescale())
    assert stack.array.tolist() == [[[0, 0, 0]]]
    assert stack.had_no_numbers
