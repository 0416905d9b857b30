"""Growing through slices follows a thing, stops where it ends, and says what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from core.assist.grow import GrowOptions, grow_slices
from tests.core.assist.pictures import dice, disc, image_of, noisy

RADII = (0, 0, 12, 16, 19, 20, 19, 16, 12, 0, 0, 0)
TRUTH = np.stack(
    [disc((90, 110), (45, 40 + 2 * z), r) if r else np.zeros((90, 110), bool) for z, r in enumerate(RADII)]
)


def test_it_follows_a_thing_and_stops_at_its_ends() -> None:
    volume = np.stack([noisy(plane, seed=z) for z, plane in enumerate(TRUTH)])
    found = grow_slices(image_of(volume, "zyx"), 5, TRUTH[5], GrowOptions(20))
    assert sorted(found) == [2, 3, 4, 6, 7, 8]
    for z, plane in found.items():
        assert dice(plane, TRUTH[z]) > 0.9, z
    assert sorted(grow_slices(image_of(volume, "zyx"), 5, TRUTH[5], GrowOptions(1))) == [4, 6]
    assert sorted(grow_slices(image_of(volume, "zyx"), 5, TRUTH[5], GrowOptions(20, (1,)))) == [6, 7, 8]
    colour = np.stack([volume] * 3, axis=-1)
    assert sorted(grow_slices(image_of(colour, "zyxc"), 5, TRUTH[5], GrowOptions(20))) == [2, 3, 4, 6, 7, 8]


def test_flat_slices_and_bad_masks() -> None:
    flat = image_of(np.full((5, 20, 20), 3, np.int16), "zyx")
    assert all(
        plane.shape == (20, 20)
        for plane in grow_slices(flat, 2, np.ones((20, 20), bool), GrowOptions()).values()
    )
    with pytest.raises(ValueError, match="Mark the thing"):
        grow_slices(flat, 2, np.zeros((20, 20), bool), GrowOptions())
    with pytest.raises(ValueError, match="the mask must be"):
        grow_slices(flat, 2, np.ones((3, 3), bool), GrowOptions())
