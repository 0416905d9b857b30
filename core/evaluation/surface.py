"""How far apart two outlines run: HD95 and normalised surface Dice.

The outline of a mask is its boundary pixels: marked pixels with an unmarked 4- (2-D) or 6-neighbour (3-D);
outside of the image counts as unmarked. Every boundary pixel weighs the same, distances run between pixel
centres. This is the default of MONAI (``get_mask_edges``; ``use_subvoxels=False``), and both numbers equal
``compute_hausdorff_distance(percentile=95, directed=False)`` and ``compute_surface_dice`` of MONAI. The
surface-distance package of DeepMind weighs boundary pixels by surface area and differs slightly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from core.types import Array


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance of every boundary pixel to the other outline, float32, in no particular order.

    Attributes:
        to_reference: from each boundary pixel of the prediction; empty when the prediction is.
        to_prediction: from each boundary pixel of the reference; empty when the reference is.

    When just one mask is empty, the distances of the other are infinite.
    """

    to_reference: Array
    to_prediction: Array

    @property
    def both_empty(self) -> bool:
        """True when neither mask marks anything."""
        return not self.to_reference.size and not self.to_prediction.size

    @property
    def one_empty(self) -> bool:
        """True when exactly one mask marks nothing."""
        return bool(self.to_reference.size) != bool(self.to_prediction.size)


def boundary(mask: Array) -> Array:
    """Return the marked pixels that have an unmarked neighbour along an axis, as a boolean array."""
    mask = mask.astype(bool, copy=False)
    inner = mask.copy()
    for axis in range(mask.ndim):
        source, target = np.moveaxis(mask, axis, 0), np.moveaxis(inner, axis, 0)
        target[1:] &= source[:-1]
        target[:-1] &= source[1:]
        target[0] = False  # what lies outside of the image is unmarked
        target[-1] = False
    return mask & ~inner


def surface_distances(
    prediction: Array, reference: Array, spacing: Sequence[float] | None = None
) -> SurfaceDistances:
    """Measure from each outline to the nearest point of the other.

    Args:
        prediction: binary mask, 2-D or 3-D.
        reference: binary mask of the same shape.
        spacing: length of one step along each axis (mm); None measures in pixels.

    Raises:
        ValueError: when shapes differ, or spacing is not one positive number per axis.
    """
    steps = _check(prediction, reference, spacing)
    prediction, reference = prediction.astype(bool, copy=False), reference.astype(bool, copy=False)
    box = _joint_box(prediction, reference)
    if box is None:
        nothing = np.zeros(0, np.float32)
        return SurfaceDistances(nothing, nothing)
    edge_p, edge_r = boundary(prediction[box]), boundary(reference[box])
    return SurfaceDistances(_distances(edge_p, edge_r, steps), _distances(edge_r, edge_p, steps))


def hausdorff95(prediction: Array, reference: Array, spacing: Sequence[float] | None = None) -> float:
    """Return the larger of both directions' 95th percentile of surface distances, in units of ``spacing``.

    0 when both masks are empty, NaN when one is. Arguments as for ``surface_distances``.

    Source: MONAI ``compute_hausdorff_distance(percentile=95, directed=False)``.
    """
    return hausdorff95_of(surface_distances(prediction, reference, spacing))


def surface_dice(
    prediction: Array, reference: Array, spacing: Sequence[float] | None = None, tolerance: float = 2.0
) -> float:
    """Return the share of both outlines that lies within ``tolerance`` of the other (NSD), in [0, 1].

    1 when both masks are empty, 0 when one is. ``tolerance`` has the unit of ``spacing``.

    Source: Nikolov et al., arXiv:1809.04430; boundary pixels as in MONAI ``compute_surface_dice``.
    """
    return surface_dice_of(surface_distances(prediction, reference, spacing), tolerance)


def hausdorff95_of(distances: SurfaceDistances) -> float:
    """Return HD95 from measured distances; the rules of ``hausdorff95``."""
    if distances.both_empty:
        return 0.0
    if distances.one_empty:
        return float("nan")
    return max(
        float(np.quantile(part.astype(np.float64), 0.95))
        for part in (distances.to_reference, distances.to_prediction)
    )


def surface_dice_of(distances: SurfaceDistances, tolerance: float) -> float:
    """Return NSD from measured distances; the rules of ``surface_dice``.

    Raises:
        ValueError: when ``tolerance`` is negative or not finite.
    """
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance must be zero or a positive number, got {tolerance}.")
    if distances.both_empty:
        return 1.0
    # In float32 on purpose: three steps of 0.1 mm are then within a tolerance of 0.3 mm.
    limit = np.float32(tolerance)
    near = np.count_nonzero(distances.to_reference <= limit) + np.count_nonzero(
        distances.to_prediction <= limit
    )
    return float(near / (distances.to_reference.size + distances.to_prediction.size))


def _check(prediction: Array, reference: Array, spacing: Sequence[float] | None) -> tuple[float, ...]:
    """Return the step along each axis, or raise ValueError."""
    if prediction.shape != reference.shape:
        raise ValueError(f"masks must have one shape, got {prediction.shape} and {reference.shape}.")
    steps = (1.0,) * prediction.ndim if spacing is None else tuple(float(step) for step in spacing)
    if len(steps) != prediction.ndim or not all(np.isfinite(step) and step > 0 for step in steps):
        raise ValueError(f"spacing must be {prediction.ndim} positive numbers, got {steps}.")
    return steps


def _joint_box(prediction: Array, reference: Array) -> tuple[slice, ...] | None:
    """Return the smallest box around both masks, or None; cropping to it moves no boundary."""
    either = prediction | reference
    box = []
    for axis in range(either.ndim):
        others = tuple(other for other in range(either.ndim) if other != axis)
        used = np.flatnonzero(either.any(axis=others))
        if not used.size:
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)


def _distances(edge: Array, other: Array, steps: tuple[float, ...]) -> Array:
    """Return the distance from each pixel of ``edge`` to the nearest one of ``other``, as float32."""
    total = int(np.count_nonzero(edge))
    if total and not other.any():
        return np.full(total, np.inf, np.float32)
    result = np.zeros(total, np.float32)
    apart = np.argwhere(edge & ~other)  # shared pixels are at distance 0: nothing to search
    if len(apart):
        scale = np.asarray(steps)
        # Built for one query: a quickly made tree beats a tidy one.
        tree = KDTree(np.argwhere(other) * scale, leafsize=32, compact_nodes=False, balanced_tree=False)
        result[: len(apart)] = tree.query(apart * scale)[0]
    return result
