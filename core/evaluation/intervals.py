"""How sure a mean is: intervals that count patients, not images.

Images of one patient resemble each other, so the resampled unit is the patient (cluster bootstrap): patients
are drawn with replacement, each with all their cases, and the mean over the drawn cases is taken. The
interval is the 2.5th to 97.5th percentile. With fewer than about ten patients such an interval is somewhat
too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from core.types import Array

LEVEL = 0.95
_DRAWS_AT_ONCE = 2_000_000  # patients x resamples held in memory


class Interval(NamedTuple):
    """A mean over cases with its 95 % interval by patient; None for both ends below 2 patients."""

    mean: float
    lo: float | None
    hi: float | None
    n_cases: int
    n_patients: int


class PairedDifference(NamedTuple):
    """The mean of a - b over cases both have, its interval, and a Wilcoxon p over patients' means."""

    mean: float
    lo: float | None
    hi: float | None
    p: float | None
    n_cases: int
    n_patients: int
    n_excluded: int


def patient_bootstrap_ci(
    values: Sequence[float], patients: Sequence[str], n_boot: int = 2000, seed: int = 0
) -> Interval:
    """Return the mean of the defined values with its 95 % percentile interval, patients resampled.

    Args:
        values: one number per case; NaN and infinity are left out (``len(values) - n_cases`` of them).
        patients: the patient of each case.
        n_boot: number of resamples, at least 100.
        seed: the same seed gives the same interval.

    Raises:
        ValueError: when the lengths differ or ``n_boot`` is below 100.

    Source: Field and Welsh, Bootstrapping clustered data, J. R. Stat. Soc. B 69 (2007).
    """
    return patient_bootstrap_cis({"": values}, patients, n_boot, seed)[""]


def patient_bootstrap_cis(
    columns: Mapping[str, Sequence[float]], patients: Sequence[str], n_boot: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Return ``patient_bootstrap_ci`` of every column; those defined in the same cases share draws."""
    if n_boot < 100:
        raise ValueError(f"n_boot must be at least 100, got {n_boot}.")
    arrays = {key: np.asarray(values, np.float64) for key, values in columns.items()}
    groups: dict[bytes, list[str]] = {}
    for key, array in arrays.items():
        if len(array) != len(patients):
            raise ValueError(
                f"each value needs a patient, got {len(array)} values and {len(patients)} patients."
            )
        groups.setdefault(np.isfinite(array).tobytes(), []).append(key)
    result: dict[str, Interval] = {}
    for defined, keys in groups.items():
        kept = np.frombuffer(defined, np.bool_)
        table = np.stack([arrays[key][kept] for key in keys], axis=1)
        result |= dict(zip(keys, _intervals(table, _indices(patients, kept), n_boot, seed), strict=True))
    return {key: result[key] for key in columns}


def paired_difference_ci(
    a: Sequence[float], b: Sequence[float], patients: Sequence[str], n_boot: int = 2000, seed: int = 0
) -> PairedDifference:
    """Compare two readers case by case: the mean of ``a - b``, its interval by patient, and a p value.

    The p value is two-sided, from Wilcoxon's signed-rank test over the patients' mean differences (zeros are
    dropped); 1 when no patient differs, None for fewer than 2 patients.

    Args:
        a: scores of the first reader, one per case.
        b: scores of the second reader in the same cases; a pair with NaN on a side is left out and counted.
        patients: the patient of each case.
        n_boot: number of resamples, at least 100.
        seed: the same seed gives the same interval.

    Raises:
        ValueError: when the lengths differ or ``n_boot`` is below 100.
    """
    if len(a) != len(b):
        raise ValueError(f"both readers need one score per case, got {len(a)} and {len(b)}.")
    with np.errstate(invalid="ignore"):  # infinity minus infinity is left out below
        difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    interval = patient_bootstrap_ci(difference.tolist(), patients, n_boot, seed)
    kept = np.isfinite(difference)
    p = _wilcoxon_p(difference[kept], _indices(patients, kept)) if interval.n_patients > 1 else None
    return PairedDifference(
        interval.mean, interval.lo, interval.hi, p,
        interval.n_cases, interval.n_patients, len(difference) - interval.n_cases,
    )  # fmt: skip


def _intervals(table: Array, index: Array, n_boot: int, seed: int) -> list[Interval]:
    """Return the interval of each column of ``table`` (cases x columns); ``index`` is each case's patient."""
    n_cases, n_columns = table.shape
    if not n_cases:
        return [Interval(float("nan"), None, None, 0, 0)] * n_columns
    means = table.mean(axis=0)
    sizes = np.bincount(index)
    n_patients = len(sizes)
    if n_patients < 2:
        return [Interval(float(mean), None, None, n_cases, n_patients) for mean in means]
    sums = np.stack([np.bincount(index, weights=column) for column in table.T], axis=1)
    lows, highs = np.quantile(
        _resampled_means(sums, sizes, n_boot, seed), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0
    )
    return [
        Interval(float(mean), float(low), float(high), n_cases, n_patients)
        for mean, low, high in zip(means, lows, highs, strict=True)
    ]


def _resampled_means(sums: Array, sizes: Array, n_boot: int, seed: int) -> Array:
    """Return the means over cases (n_boot x columns) in draws of as many patients as there are."""
    rng = np.random.default_rng(seed)
    n = len(sizes)
    rows = max(1, _DRAWS_AT_ONCE // n)
    means = []
    for start in range(0, n_boot, rows):
        times_drawn = rng.multinomial(n, np.full(n, 1 / n), size=min(rows, n_boot - start)).astype(np.float64)
        means.append((times_drawn @ sums) / (times_drawn @ sizes)[:, None])
    return np.concatenate(means)


def _wilcoxon_p(difference: Array, index: Array) -> float:
    from scipy import stats  # slow to import, and most pages need no p value

    means = np.bincount(index, weights=difference) / np.bincount(index)
    # Scores that differ by rounding alone are ties, not evidence.
    means = np.where(np.abs(means) < 1e-12, 0.0, means)
    return float(stats.wilcoxon(means).pvalue) if means.any() else 1.0


def _indices(patients: Sequence[str], kept: Array) -> Array:
    """Return the patients of the kept cases as numbers 0, 1, 2 ..."""
    names = [patient for patient, keep in zip(patients, kept, strict=True) if keep]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.asarray([numbers[name] for name in names], dtype=np.int64)
