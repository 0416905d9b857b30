"""Budgets end where the first limit is; learning rates rise, peak and fall as named."""

from __future__ import annotations

import pytest

from core.learning.schedule import FINAL_SHARE, Budget, learning_rate_share


def test_the_limit_that_comes_first_binds() -> None:
    both = Budget(epochs=10, seconds=100)
    assert both.progress(5, 10) == 0.5
    assert both.progress(1, 90) == 0.9
    assert both.progress(30, 300) == 1
    assert both.eta_seconds(5, 80) == 20  # time ends before epochs would
    assert both.eta_seconds(5, 10) == 10


def test_one_limit_is_enough_and_none_is_refused() -> None:
    assert Budget(4, 0).progress(1, 1e9) == 0.25
    assert Budget(0, 60).progress(1e9, 15) == 0.25
    assert Budget(4, 0).eta_seconds(0, 3) is None
    with pytest.raises(ValueError, match="epochs or seconds"):
        Budget(0, 0)


@pytest.mark.parametrize("name", ["cosine", "polynomial"])
def test_rates_rise_to_the_peak_then_fall_to_the_last_share(name: str) -> None:
    shares = [learning_rate_share(name, step / 200, warmup=0.1) for step in range(201)]
    assert max(shares) == shares[20] == 1
    assert shares[:21] == sorted(shares[:21])
    assert shares[20:] == sorted(shares[20:], reverse=True)
    assert shares[-1] == pytest.approx(FINAL_SHARE)


def test_cosine_is_halfway_in_the_middle_and_constant_stays() -> None:
    assert learning_rate_share("cosine", 0.5) == pytest.approx((1 + FINAL_SHARE) / 2)
    assert {learning_rate_share("constant", step / 10) for step in range(11)} == {1.0}
    with pytest.raises(ValueError, match="cosine"):
        learning_rate_share("linear", 0.5)  # type: ignore[arg-type]
