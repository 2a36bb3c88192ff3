from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_trainer.evaluation.coverage import binomial_region, conformal_region, detected_rates


@given(st.integers(1, 120), st.sampled_from([0.5, 0.8, 0.95, 0.01]), st.sampled_from([0.9, 0.99]))
def test_a_binomial_region_is_the_exact_central_one(trials: int, rate: float, level: float) -> None:
    first, last = binomial_region(trials, rate, level)

    def between(low: int, high: int) -> float:
        return sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(low, high + 1))

    tail = (1 - level) / 2
    assert between(0, first - 1) <= tail < between(0, first)
    assert between(last + 1, trials) <= tail < between(last, trials)


@given(st.integers(1, 60), st.integers(9, 60), st.sampled_from([0.5, 0.8, 0.95]), st.sampled_from([0.9, 0.99]))
def test_a_conformal_region_is_the_exact_central_one(trials: int, calibration: int, alpha: float, level: float) -> None:
    """The ranks of the residuals that bound the interval are the same for any order of calibration and test games."""
    first, last = conformal_region(trials, calibration, alpha, level)
    missed = 2 * math.floor((calibration + 1) * alpha / 2)
    held = calibration + 1 - missed

    def between(low: int, high: int) -> float:
        # Pólya urn: `held` gaps between calibration residuals inside the interval, `missed` gaps outside.
        ways = (
            math.comb(held + k - 1, k) * math.comb(missed + trials - k - 1, trials - k) for k in range(low, high + 1)
        )
        return sum(ways) / math.comb(calibration + trials, trials)

    tail = (1 - level) / 2
    assert between(0, first - 1) <= tail < between(0, first)
    assert between(last + 1, trials) <= tail < between(last, trials)


def test_a_calibration_that_allows_no_interval_has_no_conformal_region() -> None:
    with pytest.raises(ValueError, match=r"no intervals at alpha 0\.01 from 50 games"):
        conformal_region(100, 50, 0.01)


@pytest.mark.parametrize(("trials", "rate"), [(0, 0.5), (10, 0.0), (10, 1.0)])
def test_a_degenerate_rate_has_no_region(trials: int, rate: float) -> None:
    with pytest.raises(ValueError, match="no binomial"):
        binomial_region(trials, rate)


def test_several_tests_with_calibrations_of_their_own_have_the_region_of_their_sum() -> None:
    """Simulates 40 and 60 test games with intervals from 99 and 199 calibration games."""
    rng = np.random.default_rng(5)
    draws, held = 20000, np.zeros(20000)
    for trials, calibration in ((40, 99), (60, 199)):
        missed = 2 * math.floor((calibration + 1) * 0.2 / 2)
        rates = rng.beta(calibration + 1 - missed, missed, draws)
        held += rng.binomial(trials, rates)
    first, last = conformal_region([40, 60], [99, 199], 0.2, level=0.9)
    outside = np.mean(held < first), np.mean(held > last)
    assert max(outside) <= 0.05 + 0.005
    assert np.mean(held <= first) > 0.05 - 0.005
    assert np.mean(held >= last) > 0.05 - 0.005


@given(st.data(), st.integers(1, 120), st.sampled_from([0.5, 0.8, 0.95]))
def test_a_region_excludes_the_rates_that_it_detects_with_the_stated_power(
    data: st.DataObject, trials: int, power: float
) -> None:
    first = data.draw(st.integers(0, trials))
    last = data.draw(st.integers(first, trials))
    below, above = detected_rates(trials, first, last, power)

    def between(low: int, high: int, rate: float) -> float:
        return sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(low, high + 1))

    assert math.isnan(below) == (first == 0)
    assert math.isnan(above) == (last == trials)
    if first > 0:
        assert between(0, first - 1, below) == pytest.approx(power)
    if last < trials:
        assert between(last + 1, trials, above) == pytest.approx(power)


@pytest.mark.parametrize(("first", "last", "power"), [(-1, 5, 0.8), (6, 5, 0.8), (0, 11, 0.8), (0, 5, 1.0)])
def test_what_is_no_region_has_no_power(first: int, last: int, power: float) -> None:
    with pytest.raises(ValueError, match="no region of 10 trials"):
        detected_rates(10, first, last, power)
