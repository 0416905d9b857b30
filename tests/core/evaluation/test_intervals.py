"""Intervals by patient: against SciPy, their coverage, and what is left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from core.evaluation.intervals import paired_difference_ci, patient_bootstrap_ci, patient_bootstrap_cis


def test_one_case_per_patient_equals_scipy() -> None:
    values = np.random.default_rng(0).beta(8, 2, size=40)
    ours = patient_bootstrap_ci(values.tolist(), [f"p{i}" for i in range(40)], n_boot=20_000)
    peer = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert (ours.lo, ours.hi) == pytest.approx((peer.low, peer.high), abs=0.02 * (peer.high - peer.low))
    assert (ours.n_cases, ours.n_patients) == (40, 40)


def test_equals_a_plain_loop_over_patients() -> None:
    """Unequal numbers of cases: against resampling written out case by case."""
    rng = np.random.default_rng(3)
    patients = [f"p{i}" for i in range(12) for _ in range(1 + i % 4)]
    values = rng.normal(size=len(patients)) + np.array([int(p[1:]) % 3 for p in patients])
    means = []
    for _ in range(4000):
        drawn = rng.integers(0, 12, 12)
        means.append(
            np.mean([v for i in drawn for v, p in zip(values, patients, strict=True) if p == f"p{i}"])
        )
    lo, hi = np.quantile(means, [0.025, 0.975])
    ours = patient_bootstrap_ci(values.tolist(), patients, n_boot=20_000)
    assert (ours.lo, ours.hi) == pytest.approx((lo, hi), abs=0.05 * (hi - lo))


def test_copies_of_a_patient_do_not_narrow_the_interval() -> None:
    values = [0.2, 0.9, 0.6, 0.7, 0.4, 0.8]
    single = patient_bootstrap_ci(values, list("abcdef"))
    copied = patient_bootstrap_ci(values * 10, list("abcdef") * 10)
    assert (copied.lo, copied.hi) == pytest.approx((single.lo, single.hi))
    assert (copied.n_cases, copied.n_patients) == (60, 6)
    naive = patient_bootstrap_ci(values * 10, [str(i) for i in range(60)])
    assert naive.hi - naive.lo < 0.5 * (copied.hi - copied.lo)


def test_coverage_on_simulated_patients() -> None:
    """With 30 patients of 1 to 5 alike cases, about 95 of 100 intervals hold the true mean."""
    rng = np.random.default_rng(11)
    held = 0
    for trial in range(300):
        sizes = rng.integers(1, 6, size=30)
        patients = np.repeat(np.arange(30), sizes)
        values = rng.normal(size=30)[patients] + 0.3 * rng.normal(size=len(patients))
        interval = patient_bootstrap_ci(
            values.tolist(), patients.astype(str).tolist(), n_boot=500, seed=trial
        )
        held += interval.lo <= 0 <= interval.hi
    assert 0.89 <= held / 300 <= 0.98


def test_undefined_values_are_left_out_and_counted() -> None:
    values = [0.5, math.nan, 0.7, math.inf, 0.9]
    interval = patient_bootstrap_ci(values, ["a", "b", "c", "d", "a"])
    assert interval.mean == pytest.approx(0.7)
    assert (interval.n_cases, interval.n_patients) == (3, 2)
    assert interval == patient_bootstrap_ci([0.5, 0.7, 0.9], ["a", "c", "a"])


def test_too_few_patients_have_no_interval() -> None:
    assert patient_bootstrap_ci([0.5, 0.7], ["a", "a"]) == (pytest.approx(0.6), None, None, 2, 1)
    nothing = patient_bootstrap_ci([], [])
    assert math.isnan(nothing.mean)
    assert nothing[1:] == (None, None, 0, 0)
    assert patient_bootstrap_ci([math.nan], ["a"])[1:] == (None, None, 0, 0)


def test_same_seed_same_interval_and_columns_equal_single_calls() -> None:
    rng = np.random.default_rng(2)
    patients = rng.integers(0, 15, size=50).astype(str).tolist()
    columns = {key: rng.random(50).tolist() for key in "abc"}
    columns["c"][7] = math.nan
    together = patient_bootstrap_cis(columns, patients, seed=5)
    assert list(together) == ["a", "b", "c"]
    for key, values in columns.items():
        assert together[key] == pytest.approx(patient_bootstrap_ci(values, patients, seed=5))
    assert patient_bootstrap_ci(columns["a"], patients, seed=6) != together["a"]


def test_many_patients_are_resampled_in_pieces() -> None:
    values = np.random.default_rng(0).random(5000)
    interval = patient_bootstrap_ci(values.tolist(), [str(i) for i in range(5000)])
    half = 1.96 * values.std() / math.sqrt(5000)
    assert interval.hi - interval.lo == pytest.approx(2 * half, rel=0.1)


def test_paired_difference() -> None:
    rng = np.random.default_rng(1)
    b = rng.random(30)
    a = b + 0.05 + 0.02 * rng.normal(size=30)
    patients = [str(i) for i in range(30)]
    result = paired_difference_ci(a.tolist(), b.tolist(), patients)
    assert result.mean == pytest.approx((a - b).mean())
    assert result.lo > 0
    assert result.p == pytest.approx(stats.wilcoxon(a, b).pvalue)
    back = paired_difference_ci(b.tolist(), a.tolist(), patients)
    assert (back.mean, back.lo, back.hi) == pytest.approx((-result.mean, -result.hi, -result.lo))
    # Every case three times is the same evidence, not three times as much.
    again = paired_difference_ci([*a] * 3, [*b] * 3, patients * 3)
    assert again.p == pytest.approx(result.p)


def test_paired_difference_without_evidence() -> None:
    same = paired_difference_ci([0.3, 0.1 + 0.2], [0.3, 0.3], ["a", "b"])
    assert same.p == 1.0
    one_patient = paired_difference_ci([0.5, 0.6], [0.4, 0.4], ["a", "a"])
    assert (one_patient.lo, one_patient.hi, one_patient.p) == (None, None, None)
    holes = paired_difference_ci([0.5, math.nan, 0.4, math.inf], [0.4, 0.4, math.nan, math.inf], list("abcd"))
    assert (holes.n_cases, holes.n_patients, holes.n_excluded) == (1, 1, 3)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="each value needs a patient, got 2 values and 1"):
        patient_bootstrap_ci([0.1, 0.2], ["a"])
    with pytest.raises(ValueError, match="at least 100"):
        patient_bootstrap_ci([0.1], ["a"], n_boot=10)
    with pytest.raises(ValueError, match="one score per case"):
        paired_difference_ci([0.1], [0.1, 0.2], ["a"])
