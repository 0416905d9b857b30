"""Whether a fine plane, made coarse again, is its input: measured, and brought about by the smallest change.

Large planes are gone through by bands of rows, with rows around them that a band's ends do not reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np

from core.imaging.resample import FloatArray
from core.tasks.super_resolution.degradation import Agreement
from core.tasks.super_resolution.scaling import ValueScale, to_dtype
from core.types import Array

BAND_PIXELS = 2**24  # fine pixels held as floats at once
AROUND = 24  # coarse rows around a band: the reach of its error's explanation


def rms_error(fine: Array, coarse: FloatArray, scale: ValueScale, agreement: Agreement) -> float:
    """Return the root mean square of what a fine plane leaves unexplained of its coarse input.

    Args:
        fine: (H, W, channels) in the image's units.
        coarse: (h, w, channels) on the network's scale, which the result is on, too.
        scale: the image's value scale.
        agreement: how fine planes are made coarse.
    """
    total = 0.0
    for around, inner in _bands(coarse.shape[0], fine, agreement):
        error = agreement.error(_rows(fine, around, scale, agreement), coarse[around])
        kept = error[inner.start - around.start : inner.stop - around.start]
        total += float(np.square(kept, dtype=np.float64).sum())
    return sqrt(total / coarse.size)


def agree(fine: Array, coarse: FloatArray, scale: ValueScale, agreement: Agreement) -> None:
    """Change a fine plane by the least that makes it agree with its coarse input, in place.

    Where the true image agrees, too, this brings every estimate nearer to it: a projection onto what agrees.

    Source: Irani and Peleg, Improving resolution by image registration, CVGIP 53 (1991), with the exact inverse.
    """
    rows = agreement.factors[0]
    changes: list[tuple[slice, Array]] = []
    for around, inner in _bands(coarse.shape[0], fine, agreement):
        band = _rows(fine, around, scale, agreement)
        change = agreement.correction(agreement.error(band, coarse[around]))
        kept = slice((inner.start - around.start) * rows, (inner.stop - around.start) * rows)
        place = slice(inner.start * rows, inner.stop * rows)
        changes.append((place, to_dtype(scale.from_network(band[kept] + change[kept]), fine.dtype)))
        if len(changes) > 1:  # the next band still looks at rows of this one: write one band behind
            fine[changes[0][0]] = changes.pop(0)[1]
    for place, values in changes:
        fine[place] = values


def _bands(height: int, fine: Array, agreement: Agreement) -> Iterator[tuple[slice, slice]]:
    """Yield (coarse rows with those around, coarse rows of the band); k-space needs all rows at once."""
    per_row = fine[0].size * agreement.factors[0]
    rows = height if agreement.reduction == "kspace" else max(2 * AROUND, BAND_PIXELS // per_row)
    for first in range(0, height, rows):
        end = min(height, first + rows)
        yield slice(max(0, first - AROUND), min(height, end + AROUND)), slice(first, end)


def _rows(fine: Array, coarse_rows: slice, scale: ValueScale, agreement: Agreement) -> FloatArray:
    rows = agreement.factors[0]
    return scale.to_network(fine[coarse_rows.start * rows : coarse_rows.stop * rows])
