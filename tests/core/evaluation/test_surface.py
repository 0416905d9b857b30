"""HD95 and NSD against MONAI, the classical Hausdorff distance against scikit-image."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from core.evaluation.surface import boundary, hausdorff95, surface_dice, surface_distances

Peer = Callable[..., tuple[float, float]]
TOLERANCE = 2.0


@pytest.fixture(scope="session")
def monai() -> Peer:
    """MONAI's (HD95, NSD) of two binary masks; its import takes seconds, so once per session."""
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    def scores(p: np.ndarray, r: np.ndarray, spacing, tolerance: float = TOLERANCE) -> tuple[float, float]:
        a, b = (torch.from_numpy(np.ascontiguousarray(m))[None, None].float() for m in (p, r))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hd = compute_hausdorff_distance(a, b, include_background=True, percentile=95, spacing=spacing)
            nsd = compute_surface_dice(a, b, [tolerance], include_background=True, spacing=spacing)
        return float(hd), float(nsd)

    return scores


def blobs(seed: int, shape: tuple[int, ...], sigma: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Two masks that mostly agree, with holes, islands and pixels at the image border."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    other = field + 0.5 * ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    return field > 0.5 * field.std(), other > 0.5 * field.std()


CASES = [
    ((64, 80), None),
    ((64, 80), (1.0, 1.0)),
    ((64, 80), (0.7, 0.31)),
    ((1, 50), (2.0, 0.5)),
    ((20, 24, 28), None),
    ((12, 24, 28), (5.0, 0.7, 0.9)),
    ((24, 12, 7), (0.4, 3.0, 1.1)),
]


@pytest.mark.parametrize(("shape", "spacing"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_random_blobs_equal_monai(monai: Peer, shape, spacing, seed: int) -> None:
    p, r = blobs(seed, shape)
    if not (p.any() and r.any()):
        pytest.skip("an empty draw is another test")
    hd, nsd = monai(p, r, spacing)
    assert hausdorff95(p, r, spacing) == pytest.approx(hd, rel=1e-5, abs=1e-5)
    assert surface_dice(p, r, spacing, TOLERANCE) == pytest.approx(nsd, abs=1e-5)


@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_noise_and_far_masks_equal_monai(monai: Peer, shape, spacing) -> None:
    rng = np.random.default_rng(5)
    for share_p, share_r in ((0.02, 0.5), (0.5, 0.5), (0.9, 0.03)):
        p, r = rng.random(shape) < share_p, rng.random(shape) < share_r
        p.flat[0] = r.flat[-1] = True
        hd, nsd = monai(p, r, spacing, 0.6)
        assert hausdorff95(p, r, spacing) == pytest.approx(hd, rel=1e-5, abs=1e-5)
        assert surface_dice(p, r, spacing, 0.6) == pytest.approx(nsd, abs=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
def test_one_voxel_equals_monai(monai: Peer, ndim: int) -> None:
    spacing = (3.0, 0.5, 2.0)[:ndim]
    p, r = np.zeros((9,) * ndim, bool), np.zeros((9,) * ndim, bool)
    p[(1,) * ndim] = True
    r[(4,) * ndim] = True
    expected = 3 * math.sqrt(sum(step**2 for step in spacing))
    assert hausdorff95(p, r, spacing) == pytest.approx(expected, rel=1e-6)
    assert monai(p, r, spacing) == pytest.approx((expected, 0.0), rel=1e-6)
    assert surface_dice(p, r, spacing, expected + 1e-3) == 1.0
    assert hausdorff95(r, r, spacing) == 0.0
    assert surface_dice(r, r, spacing, 0.0) == 1.0


def test_one_voxel_against_a_solid(monai: Peer) -> None:
    p, r = np.zeros((21, 21, 21), bool), np.ones((21, 21, 21), bool)
    p[10, 10, 10] = True
    assert (hausdorff95(p, r), surface_dice(p, r)) == pytest.approx(monai(p, r, None), abs=1e-5)


def test_planted_shift_has_the_known_distance() -> None:
    """A bar moved by two rows of 1.5 mm is 3 mm away; 4 mm tolerance forgives it, 2 mm does not wholly."""
    p, r = np.zeros((30, 60), bool), np.zeros((30, 60), bool)
    p[12, 5:55] = True
    r[14, 5:55] = True
    assert hausdorff95(p, r, (1.5, 0.5)) == pytest.approx(3.0)
    assert surface_dice(p, r, (1.5, 0.5), 3.0) == 1.0
    assert surface_dice(p, r, (1.5, 0.5), 2.9) == 0.0


def test_hd95_takes_the_worse_direction() -> None:
    """A far extra island in one mask is seen, whichever of the two it is in."""
    p = np.zeros((60, 60), bool)
    p[10:20, 10:20] = True
    r = p.copy()
    r[50:56, 50:56] = True
    assert hausdorff95(p, r) == hausdorff95(r, p) > 30


def test_tolerance_forgives_float_rounding() -> None:
    """Three steps of 0.1 mm are within 0.3 mm though 3 * 0.1 > 0.3 in double precision."""
    p, r = np.zeros((9, 3), bool), np.zeros((9, 3), bool)
    p[2, 1] = r[5, 1] = True
    assert surface_dice(p, r, (0.1, 0.1), 0.3) == 1.0


@pytest.mark.parametrize("shape", [(40, 50), (10, 20, 30)])
def test_empty_padding_changes_nothing(shape) -> None:
    p, r = blobs(7, shape)
    spacing = (2.0, 0.7, 0.9)[-len(shape) :]
    pad = [(3, 5)] * len(shape)
    wide_p, wide_r = np.pad(p, pad), np.pad(r, pad)
    assert hausdorff95(wide_p, wide_r, spacing) == hausdorff95(p, r, spacing)
    assert surface_dice(wide_p, wide_r, spacing) == surface_dice(p, r, spacing)


def test_exact_distances_against_a_distance_transform() -> None:
    p, r = blobs(3, (14, 30, 30))
    spacing = (3.0, 0.8, 1.2)
    dense = ndimage.distance_transform_edt(~boundary(r), sampling=spacing)[boundary(p)]
    ours = surface_distances(p, r, spacing).to_reference
    assert np.allclose(np.sort(ours), np.sort(dense), rtol=1e-6)


def test_maximum_equals_scikit_image() -> None:
    from skimage.metrics import hausdorff_distance

    p, r = blobs(1, (48, 48))
    distances = surface_distances(p, r)
    ours = max(distances.to_reference.max(), distances.to_prediction.max())
    assert ours == pytest.approx(hausdorff_distance(boundary(p), boundary(r)), rel=1e-6)


def test_boundary_equals_erosion() -> None:
    for seed, shape in enumerate([(30, 40), (8, 20, 20), (1, 9), (5, 1, 5)]):
        mask = np.random.default_rng(seed).random(shape) < 0.7
        assert (boundary(mask) == (mask & ~ndimage.binary_erosion(mask))).all()


def test_empty_rules() -> None:
    nothing, something = np.zeros((6, 6), bool), np.eye(6, dtype=bool)
    assert (hausdorff95(nothing, nothing), surface_dice(nothing, nothing)) == (0.0, 1.0)
    for p, r in ((nothing, something), (something, nothing)):
        assert math.isnan(hausdorff95(p, r))
        assert surface_dice(p, r) == 0.0


def test_wrong_arguments_are_named() -> None:
    mask = np.ones((3, 3), bool)
    with pytest.raises(ValueError, match="one shape"):
        hausdorff95(mask, np.ones((3, 4), bool))
    for spacing in ((1.0,), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(ValueError, match="2 positive numbers"):
            hausdorff95(mask, mask, spacing)
    for tolerance in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="tolerance"):
            surface_dice(mask, mask, None, tolerance)
