"""Speed of Dice + HD95 + NSD of a volume with several labels, against MONAI's functions on the CPU.

MONAI gets its one-hot tensors ready made (their making is not timed); ours starts from the label maps, and
computes IoU, sensitivity, precision, specificity and volume besides. Both results are compared first.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from core.evaluation.mask_scores import score_masks
from core.types import ImageInfo, make_labels

SPACING_MM = (2.5, 0.8, 0.8)
TOLERANCE_MM = 2.0
LABELS = make_labels(["a", "b", "c", "d"])
REPEATS = 3
GOAL = 2.0


def rows() -> list[dict[str, Any]]:
    """Return one row per kind of pair: ours and peer in seconds (best of 3), ratio = peer / ours."""
    return [
        _row("metrics-3d-4-labels", (64, 160, 160)),
        _row("metrics-2d-4-labels", (1024, 1024)),
    ]


def _row(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    prediction, reference = _label_maps(shape)
    spacing = SPACING_MM[-len(shape) :]
    info = ImageInfo("zyx" if len(shape) == 3 else "yx", shape, "uint8", spacing)

    def ours() -> dict[str, float]:
        return score_masks(prediction, reference, info, LABELS, TOLERANCE_MM)

    peer = _monai(prediction, reference, spacing)
    mine, theirs = ours(), peer()
    for key, value in theirs.items():
        if abs(mine[key] - value) > 1e-4:
            raise AssertionError(f"{name}: {key} is {mine[key]} here and {value} in MONAI.")
    seconds, peer_seconds = _best(ours), _best(peer)
    return {
        "name": name,
        "ours": seconds,
        "peer": peer_seconds,
        "peer_name": "MONAI Dice + HD95 + NSD",
        "ratio": peer_seconds / seconds,
        "goal": GOAL,
        "unit": "s",
        "device": "cpu",
    }


def _label_maps(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return two smooth label maps that mostly agree."""
    rng = np.random.default_rng(0)
    sigma = (0, *[6.0] * len(shape))
    size = (len(LABELS) + 1, *shape)
    fields = ndimage.gaussian_filter(rng.normal(size=size).astype(np.float32), sigma)
    noise = ndimage.gaussian_filter(rng.normal(size=size).astype(np.float32), sigma)
    return (fields + 0.3 * noise).argmax(0).astype(np.uint8), fields.argmax(0).astype(np.uint8)


def _monai(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> Callable[[], Any]:
    """Return a function that computes the mean of MONAI's three scores over the labels."""
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

    stacks = [np.stack([array == label.value for label in LABELS])[None] for array in (prediction, reference)]
    p, r = (torch.from_numpy(stack).float() for stack in stacks)
    tolerances = [TOLERANCE_MM] * len(LABELS)

    def scores() -> dict[str, float]:
        hd95 = compute_hausdorff_distance(p, r, include_background=True, percentile=95, spacing=spacing)
        nsd = compute_surface_dice(p, r, tolerances, include_background=True, spacing=spacing)
        dice = compute_dice(p, r, include_background=True)
        return {"dice": float(dice.mean()), "hd95": float(hd95.mean()), "nsd": float(nsd.mean())}

    return scores


def _best(function: Callable[[], Any]) -> float:
    """Return the shortest of a few runs, in seconds."""
    times = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(REPEATS):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    for row in rows():
        print(row)
