"""Look at a large plane through overlapping windows and blend what was seen, row band by row band.

Written here rather than taken from MONAI (whose import takes ten seconds, and which holds all of the plane's
probabilities at once); tests compare the two. Memory is one band of windows, however tall the plane is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from core.learning.planes import FloatArray

# Width of the Gaussian as a share of the window; nnU-Net's and MONAI's value.
SIGMA_SHARE = 0.125
# Least weight along an axis relative to the centre, so that what is seen once is divided by a sound number.
LEAST_WEIGHT = 1e-3
LEAST_MARGIN_WEIGHT = 1e-6

ReadRows = Callable[[int, int], FloatArray]  # first row, last row + 1 -> (rows, width, channels)
Network = Callable[[FloatArray], FloatArray]  # (N, H, W, channels) -> (N, maps, H, W), finer by the factors


@dataclass(frozen=True)
class Windows:
    """Windows of one size over a plane at least as large.

    Attributes:
        plane: (height, width) of the plane.
        size: (height, width) of a window.
        overlap: share of a window that the next one covers again, 0 to below 1.
        batch: windows given to the network at once.
        factors: how many times finer the network's output is along y and x.
        margin: pixels at a window's edge where the network lacks its surroundings: they count only where no other
            window sees better, and windows overlap by three margins; 0 weighs every window by a Gaussian.
    """

    plane: tuple[int, int]
    size: tuple[int, int]
    overlap: float = 0.5
    batch: int = 4
    factors: tuple[int, int] = (1, 1)
    margin: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must lie in [0, 1), got {self.overlap}.")
        if self.plane[0] < self.size[0] or self.plane[1] < self.size[1]:
            raise ValueError(f"the plane {self.plane} must be at least as large as the window {self.size}.")

    def starts(self, axis: int) -> list[int]:
        """Return where windows begin along an axis: evenly spread, the last one ends with the plane."""
        room = self.plane[axis] - self.size[axis]
        step = self.size[axis] - 3 * self.margin if self.margin else int(self.size[axis] * (1 - self.overlap))
        step = max(1, step)
        return [int(start) for start in np.linspace(0, room, -(-room // step) + 1).round()]

    @property
    def finer_size(self) -> tuple[int, int]:
        """(height, width) of what the network gives for a window."""
        return self.size[0] * self.factors[0], self.size[1] * self.factors[1]

    def weights(self) -> FloatArray:
        """Return the weight of each pixel that the network gives for a window."""
        if not self.margin:
            return gaussian_weights(self.finer_size)
        axes = [
            margin_weights(length, self.margin * factor)
            for length, factor in zip(self.finer_size, self.factors, strict=True)
        ]
        return np.outer(axes[0], axes[1])


def margin_weights(length: int, margin: int) -> FloatArray:
    """Return weights along an axis: next to nothing in the margin, a ramp in the next one, then 1."""
    inside = np.minimum(np.arange(length), np.arange(length)[::-1]) - margin
    ramp = np.clip((inside + 1) / (margin + 1), LEAST_MARGIN_WEIGHT, 1)
    return ramp.astype(np.float32)


def gaussian_weights(size: tuple[int, int]) -> FloatArray:
    """Return the weight of each pixel of a window (height, width): 1 in the centre, small at the edge."""
    axes = []
    for length in size:
        offset = (np.arange(length) - (length - 1) / 2) / (length * SIGMA_SHARE)
        weights = np.exp(-0.5 * offset**2)
        # Per axis, not on the product: along an edge of the plane a window's own border must stay the weaker.
        axes.append(np.maximum(weights / weights.max(), LEAST_WEIGHT))
    return np.outer(axes[0], axes[1]).astype(np.float32)


def blend_windows(
    read_rows: ReadRows, network: Network, windows: Windows
) -> Iterator[tuple[int, FloatArray]]:
    """Yield (first row, maps (maps, rows, width)) for bands of rows, from top to bottom, on the network's grid.

    Each pixel's values are the weighted mean over all windows that hold it.
    """
    (rows_finer, columns_finer), (height, width) = windows.factors, windows.finer_size
    tops, lefts = windows.starts(0), windows.starts(1)
    weights = windows.weights()
    row_weight = np.zeros((height, windows.plane[1] * columns_finer), dtype=np.float32)
    for left in lefts:
        row_weight[:, left * columns_finer :][:, :width] += weights
    total: FloatArray | None = None
    total_weight = np.zeros_like(row_weight)
    for number, top in enumerate(tops):
        rows = read_rows(top, top + windows.size[0])
        for first in range(0, len(lefts), windows.batch):
            chosen = lefts[first : first + windows.batch]
            seen = network(np.stack([rows[:, left : left + windows.size[1]] for left in chosen]))
            if total is None:
                total = np.zeros((seen.shape[1], *row_weight.shape), dtype=np.float32)
            for left, one in zip(chosen, seen, strict=True):
                total[:, :, left * columns_finer :][:, :, :width] += one * weights
        if total is None:
            raise ValueError("a plane needs at least one window.")
        total_weight += row_weight
        # Rows above the next band of windows are seen for the last time: hand them out, move the rest up.
        done = (tops[number + 1] - top) * rows_finer if number + 1 < len(tops) else height
        yield top * rows_finer, total[:, :done] / total_weight[:done]
        for buffer in (total, total_weight):
            buffer[..., : height - done, :] = buffer[..., done:, :].copy()
            buffer[..., height - done :, :] = 0
