from __future__ import annotations

import itertools
import math
import random
import tracemalloc
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models import metrics
from dejavu_models.types import DISTRIBUTION_LEVELS

points = st.floats(-60, 60, allow_nan=False)
samples = st.lists(points, min_size=1, max_size=40)


def test_errors_are_of_each_game() -> None:
    assert metrics.absolute_error([1.0, -2.0], [4, -3]).tolist() == [3.0, 1.0]
    assert metrics.squared_error([1.0, -2.0], [4, -3]).tolist() == [9.0, 1.0]


def crps_by_definition(sample: list[float], outcome: float) -> float:
    """Integrates (F(x) − 1{outcome ≤ x})² piecewise between its jumps."""
    places = sorted([*sample, outcome])
    total = 0.0
    for left, right in itertools.pairwise(places):
        below = sum(value <= left for value in sample) / len(sample)
        total += (below - (outcome <= left)) ** 2 * (right - left)
    return total


@given(points, samples, points)
def test_crps_is_the_integral_of_its_definition(point: float, residuals: list[float], outcome: float) -> None:
    (found,) = metrics.crps([point], residuals, [outcome])
    assert found == pytest.approx(crps_by_definition([point + r for r in residuals], outcome), abs=1e-9)


@given(points, points)
def test_crps_of_a_certain_forecast_is_its_absolute_error(point: float, outcome: float) -> None:
    (found,) = metrics.crps([point], [0.0], [outcome])
    assert found == pytest.approx(abs(point - outcome), abs=1e-9)


@given(samples, points)
def test_crps_is_never_negative_nor_above_the_mean_distance(residuals: list[float], outcome: float) -> None:
    (found,) = metrics.crps([0.0], residuals, [outcome])
    assert -1e-9 <= found <= np.mean(np.abs(np.array(residuals) - outcome)) + 1e-9


@given(samples, points, points)
def test_crps_moves_with_forecast_and_outcome_together(residuals: list[float], outcome: float, shift: float) -> None:
    (here,) = metrics.crps([0.0], residuals, [outcome])
    (there,) = metrics.crps([shift], residuals, [outcome + shift])
    assert here == pytest.approx(there, abs=1e-9)


def test_crps_does_not_depend_on_the_order_of_residuals_nor_on_other_games() -> None:
    rng = np.random.default_rng(0)
    residuals, point, outcome = rng.normal(size=500), rng.normal(size=50), rng.normal(size=50)
    together = metrics.crps(point, residuals, outcome)
    assert together == pytest.approx(metrics.crps(point, rng.permutation(residuals), outcome))
    assert together == pytest.approx(
        [metrics.crps([p], residuals, [o])[0] for p, o in zip(point, outcome, strict=True)]
    )


def test_crps_favours_the_distribution_that_outcomes_come_from() -> None:
    rng = np.random.default_rng(0)
    outcome, zero = rng.normal(scale=6.0, size=4000), np.zeros(4000)
    true, narrow, wide = (metrics.crps(zero, rng.normal(scale=s, size=2000), outcome).mean() for s in (6.0, 3.0, 12.0))
    assert true < min(narrow, wide)
    # In closed form for N(0, s²): s / √π.
    assert true == pytest.approx(6.0 / math.sqrt(math.pi), rel=0.03)


@given(st.lists(points, min_size=50, max_size=50), points)
def test_crps_of_quantiles_is_that_of_the_distribution_that_puts_equal_weight_on_each(
    values: list[float], outcome: float
) -> None:
    (due,) = metrics.crps([0.0], values, [outcome])
    assert metrics.crps_of_quantiles(sorted(values), outcome) == pytest.approx(due, abs=1e-9)


def test_crps_of_the_quantiles_of_a_normal_distribution_is_its_crps() -> None:
    """σ·(z(2Φ(z) − 1) + 2φ(z) − 1/√π) for the outcome z standard deviations from the mean: Gneiting & Raftery 2007."""
    normal = NormalDist(3.0, 12.0)
    quantiles = [normal.inv_cdf(level) for level in DISTRIBUTION_LEVELS]
    for z in (-2.0, 0.0, 0.7):
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        due = 12 * (z * (2 * NormalDist().cdf(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))
        assert metrics.crps_of_quantiles(quantiles, 3.0 + 12 * z) == pytest.approx(due, abs=0.05)


@pytest.mark.parametrize("count", [0, 49, 51])
def test_crps_of_another_number_of_quantiles_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="expected 50"):
        metrics.crps_of_quantiles([1.0] * count, 0.0)


def test_crps_without_residuals_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one residual"):
        metrics.crps([0.0], [], [0.0])


@given(points, st.floats(0, 40), points, st.floats(0.01, 0.99))
def test_winkler_is_the_quantile_losses_of_both_ends(lower: float, width: float, outcome: float, alpha: float) -> None:
    """Gneiting & Raftery 2007, section 6.2: 2/alpha times the sum of the quantile losses."""

    def loss(quantile: float, level: float) -> float:
        return (quantile - outcome) * ((outcome <= quantile) - level)

    upper = lower + width
    (found,) = metrics.winkler([lower], [upper], [outcome], alpha)
    assert found == pytest.approx(2 / alpha * (loss(lower, alpha / 2) + loss(upper, 1 - alpha / 2)), rel=1e-6, abs=1e-6)
    assert found >= upper - lower


def test_winkler_of_known_intervals() -> None:
    found = metrics.winkler([-5.0, -5.0, -5.0], [5.0, 5.0, 5.0], [0.0, 8.0, -6.0], alpha=0.1)
    assert found == pytest.approx([10.0, 10.0 + 20 * 3, 10.0 + 20 * 1])


def test_winkler_is_least_at_the_true_quantiles() -> None:
    outcome = np.random.default_rng(0).normal(size=20_000)
    true, narrow, wide = (metrics.winkler(np.full_like(outcome, -h), h, outcome, 0.05).mean() for h in (1.96, 1.5, 2.5))
    assert true < min(narrow, wide)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_winkler_refuses_what_is_no_miscoverage_rate(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        metrics.winkler([0.0], [1.0], [0.0], alpha)


def test_winkler_refuses_an_interval_turned_round() -> None:
    with pytest.raises(ValueError, match="above"):
        metrics.winkler([1.0], [0.0], [0.0], 0.1)


def test_an_interval_holds_its_ends() -> None:
    assert metrics.covered([-1, -1, -1, -1], [2, 2, 2, 2], [-1, 2, -1.01, 2.01]).tolist() == [True, True, False, False]


def test_brier_is_of_known_probabilities() -> None:
    assert metrics.brier([1.0, 0.5, 0.2], [True, False, True]) == pytest.approx([0.0, 0.25, 0.64])


@pytest.mark.parametrize("probability", [-0.1, 1.1, math.nan])
def test_brier_refuses_what_is_no_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        metrics.brier([probability], [True])


def test_bootstrap_agrees_with_the_normal_approximation_of_a_mean() -> None:
    values = np.random.default_rng(0).exponential(5.0, size=1300)
    found = metrics.GameBootstrap(1300, resamples=4000).mean(values)
    half = 1.96 * values.std() / math.sqrt(1300)
    assert found.value == pytest.approx(values.mean())
    assert found.lower == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.upper == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bootstrap_intervals_hold_at_their_rate() -> None:
    rng = np.random.default_rng(1)
    bootstrap = metrics.GameBootstrap(100, resamples=500, level=0.9)
    estimates = [bootstrap.mean(rng.normal(3.0, size=100)) for _ in range(400)]
    held = sum(estimate.lower <= 3.0 <= estimate.upper for estimate in estimates)
    first, last = metrics.binomial_region(400, 0.9, level=0.9999)
    assert first <= held <= last


def test_equal_seeds_resample_the_same_games() -> None:
    values = np.random.default_rng(0).normal(size=200)
    assert metrics.GameBootstrap(200, seed=7).mean(values) == metrics.GameBootstrap(200, seed=7).mean(values)
    assert metrics.GameBootstrap(200, seed=7).mean(values) != metrics.GameBootstrap(200, seed=8).mean(values)


def test_a_paired_difference_is_sharper_than_the_figures_that_it_compares() -> None:
    rng = np.random.default_rng(0)
    easy = rng.exponential(5.0, size=1000)
    harder = easy + 0.1 + rng.normal(scale=0.05, size=1000)
    bootstrap = metrics.GameBootstrap(1000)
    difference = bootstrap.difference(harder, easy)
    assert difference.value == pytest.approx(np.mean(harder - easy))
    assert 0 < difference.lower < 0.1 < difference.upper < 0.12
    assert bootstrap.mean(easy).upper > bootstrap.mean(harder).lower
    ratio = bootstrap.ratio(harder, easy)
    assert 1 < ratio.lower < ratio.value < ratio.upper


def test_there_is_no_ratio_to_a_score_of_zero() -> None:
    with pytest.raises(ZeroDivisionError):
        metrics.GameBootstrap(2).ratio([1.0, 2.0], [0.0, 1.0])  # a resample may contain the first game twice


def test_a_root_mean_is_of_the_mean_not_of_each_game() -> None:
    assert metrics.GameBootstrap(2).root_mean([9.0, 16.0]).value == pytest.approx(math.sqrt(12.5))


def test_a_bootstrap_needs_the_games_that_it_was_made_for() -> None:
    with pytest.raises(ValueError, match="at least one game"):
        metrics.GameBootstrap(0)
    with pytest.raises(ValueError, match="scores of 3 games; expected 2"):
        metrics.GameBootstrap(2).mean([1.0, 2.0, 3.0])


@given(st.integers(1, 120), st.sampled_from([0.5, 0.8, 0.95, 0.01]), st.sampled_from([0.9, 0.99]))
def test_a_binomial_region_is_the_exact_central_one(trials: int, rate: float, level: float) -> None:
    first, last = metrics.binomial_region(trials, rate, level)

    def between(low: int, high: int) -> float:
        return sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(low, high + 1))

    tail = (1 - level) / 2
    assert between(0, first - 1) <= tail < between(0, first)
    assert between(last + 1, trials) <= tail < between(last, trials)


def test_a_binomial_region_of_a_season_is_what_chance_alone_does() -> None:
    first, last = metrics.binomial_region(1314, 0.95)
    assert first / 1314 == pytest.approx(0.95 - 2.576 * math.sqrt(0.95 * 0.05 / 1314), abs=0.002)
    assert last / 1314 == pytest.approx(0.95 + 2.576 * math.sqrt(0.95 * 0.05 / 1314), abs=0.002)


@given(st.integers(1, 60), st.integers(9, 60), st.sampled_from([0.5, 0.8, 0.95]), st.sampled_from([0.9, 0.99]))
def test_a_conformal_region_is_the_exact_central_one(trials: int, calibration: int, alpha: float, level: float) -> None:
    """The ranks of the residuals that bound the interval are the same for any order of calibration and test games."""
    first, last = metrics.conformal_region(trials, calibration, alpha, level)
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


def test_a_conformal_region_is_wider_than_the_binomial_one_and_comes_near_it_with_many_calibration_games() -> None:
    binomial = metrics.binomial_region(1314, 0.8)
    few, many = metrics.conformal_region(1314, 2494, 0.2), metrics.conformal_region(1314, 10**7 - 1, 0.2)
    assert few[0] < binomial[0] < binomial[1] < few[1]
    assert many == pytest.approx(binomial, abs=1)


def test_a_calibration_that_allows_no_interval_has_no_conformal_region() -> None:
    with pytest.raises(ValueError, match=r"no intervals at alpha 0\.01 from 50 games"):
        metrics.conformal_region(100, 50, 0.01)


@pytest.mark.parametrize(("trials", "rate"), [(0, 0.5), (10, 0.0), (10, 1.0)])
def test_a_degenerate_rate_has_no_region(trials: int, rate: float) -> None:
    with pytest.raises(ValueError, match="no binomial"):
        metrics.binomial_region(trials, rate)


probabilities = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def test_log_loss_is_what_was_given_to_what_came() -> None:
    found = metrics.log_loss([0.8, 0.8, 0.5], [True, False, True])
    assert found == pytest.approx([-math.log(0.8), -math.log(0.2), math.log(2)])
    assert metrics.log_loss([1.0, 0.0], [True, False]).tolist() == [0.0, 0.0]
    assert metrics.log_loss([0.0], [True]).tolist() == [math.inf]


@pytest.mark.parametrize("bad", [-0.01, 1.01, math.nan])
def test_log_loss_refuses_what_is_no_probability(bad: float) -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        metrics.log_loss([0.5, bad], [True, True])


def test_probabilities_fall_into_bins_of_equal_width() -> None:
    assert metrics.probability_bin([0.0, 0.049, 0.05, 0.5, 0.999, 1.0]).tolist() == [0, 0, 1, 10, 19, 19]


def test_calibration_error_of_a_case_worked_out_by_hand() -> None:
    """Four forecasts at 0.72, three events (gap 0.03); one at 0.1, no event (gap 0.1): (4 · 0.03 + 1 · 0.1) / 5."""
    found = metrics.expected_calibration_error([0.72] * 4 + [0.1], [True, True, True, False, False])
    assert found == pytest.approx(0.044)


@given(probabilities)
def test_calibration_error_lies_between_the_overall_gap_and_one(pairs: list[tuple[float, bool]]) -> None:
    stated, came = np.array([p for p, _ in pairs]), np.array([c for _, c in pairs])
    found = metrics.expected_calibration_error(stated, came)
    assert abs(stated.mean() - came.mean()) - 1e-9 <= found <= 1 + 1e-9


@given(probabilities, st.randoms(use_true_random=False))
def test_calibration_error_does_not_depend_on_the_order(pairs: list[tuple[float, bool]], random: random.Random) -> None:
    shuffled = random.sample(pairs, len(pairs))
    found = [metrics.expected_calibration_error(*zip(*each, strict=True)) for each in (pairs, shuffled)]
    assert found[0] == pytest.approx(found[1])


def test_calibration_error_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one forecast"):
        metrics.expected_calibration_error([], [])


def test_several_tests_with_calibrations_of_their_own_have_the_region_of_their_sum() -> None:
    """Simulates 40 and 60 test games with intervals from 99 and 199 calibration games."""
    rng = np.random.default_rng(5)
    draws, held = 20000, np.zeros(20000)
    for trials, calibration in ((40, 99), (60, 199)):
        missed = 2 * math.floor((calibration + 1) * 0.2 / 2)
        rates = rng.beta(calibration + 1 - missed, missed, draws)
        held += rng.binomial(trials, rates)
    first, last = metrics.conformal_region([40, 60], [99, 199], 0.2, level=0.9)
    outside = np.mean(held < first), np.mean(held > last)
    assert max(outside) <= 0.05 + 0.005
    assert np.mean(held <= first) > 0.05 - 0.005
    assert np.mean(held >= last) > 0.05 - 0.005


def test_the_region_of_one_test_is_the_same_alone_or_in_a_list() -> None:
    assert metrics.conformal_region([150], [1000], 0.05, 0.999) == metrics.conformal_region(150, 1000, 0.05, 0.999)


def test_resampled_means_are_those_of_games_drawn_again() -> None:
    """The mean of a constant is that constant in every resample, and all columns use the same resamples."""
    bootstrap = metrics.GameBootstrap(200, seed=1, resamples=50)
    values = np.random.default_rng(2).normal(5, 3, 200)
    means = bootstrap.resampled_means(np.stack([values, np.full(200, 7.0), 2 * values], axis=1))
    assert means.shape == (50, 3)
    assert means[:, 1] == pytest.approx(7.0)
    assert means[:, 2] == pytest.approx(2 * means[:, 0], rel=1e-5)
    assert means[:, 0].std() == pytest.approx(3 / math.sqrt(200), rel=0.4)


def test_thousands_of_games_are_resampled_in_little_memory() -> None:
    tracemalloc.start()
    try:
        bootstrap = metrics.GameBootstrap(6250, resamples=500)
        bootstrap.resampled_means(np.ones((6250, 4)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 500 * 6250 * 4  # twice the counts in single precision
