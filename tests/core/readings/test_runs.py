"""Label maps as runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.readings.runs import decode_runs, encode_runs


@given(
    arrays.arrays(
        np.uint16, arrays.array_shapes(min_dims=1, max_dims=3, max_side=12), elements=st.integers(0, 3)
    )
)
def test_runs_come_back(values: np.ndarray) -> None:
    runs = encode_runs(values)
    assert runs.dtype == np.uint32 and runs[:, 1].sum() == values.size
    assert (runs[1:, 0] != runs[:-1, 0]).all()  # no run could be longer
    np.testing.assert_array_equal(decode_runs(runs, values.shape, np.uint16), values)


def test_runs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="cover 12 pixels, got 11"):
        decode_runs(np.array([[1, 11]]), (3, 4))
    with pytest.raises(ValueError, match="300, too large"):
        decode_runs(np.array([[300, 12]]), (3, 4), np.uint8)
    assert encode_runs(np.zeros((0, 3), np.uint8)).shape == (0, 2)
