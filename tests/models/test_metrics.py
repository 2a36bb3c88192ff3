from __future__ import annotations

import itertools
import math
from statistics import NormalDist, mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models import metrics
from dejavu_models.types import DISTRIBUTION_LEVELS

points = st.floats(-60, 60, allow_nan=False)


samples = st.lists(points, min_size=1, max_size=40)


@given(points, samples, points)
def test_crps_is_the_integral_of_its_definition(point: float, residuals: list[float], outcome: float) -> None:
    """Integrate (F(x) − 1{outcome ≤ x})² piecewise between its jumps."""
    sample = [point + each for each in residuals]
    due = sum(
        (mean(value <= left for value in sample) - (outcome <= left)) ** 2 * (right - left)
        for left, right in itertools.pairwise(sorted([*sample, outcome]))
    )
    assert metrics.crps([point], residuals, [outcome]) == pytest.approx([due], abs=1e-9)


@given(st.lists(points, min_size=50, max_size=50), points)
def test_crps_of_quantiles_is_that_of_the_distribution_that_puts_equal_weight_on_each(
    values: list[float], outcome: float
) -> None:
    (due,) = metrics.crps([0.0], values, [outcome])
    assert metrics.crps_of_quantiles(sorted(values), outcome) == pytest.approx(due, abs=1e-9)


@pytest.mark.parametrize(("shift", "spread"), [(0.3, 11.0), (5.0, 9.0)])
def test_the_cramer_distance_of_normal_distributions_is_the_difference_of_their_scores_to_expect(
    shift: float, spread: float
) -> None:
    """With E|X − Y| of a normal difference: ∫ (F − G)² = E|X − Y| − ½ E|X − X′| − ½ E|Y − Y′|."""
    normal = NormalDist()
    own, other = (
        np.array([[center + scale * normal.inv_cdf(level) for level in DISTRIBUTION_LEVELS]])
        for center, scale in ((shift, spread), (0.0, 11.0))
    )

    z = shift / (both := math.hypot(spread, 11.0))
    apart = shift * (2 * normal.cdf(z) - 1) + 2 * both * normal.pdf(z)
    due = apart - (spread + 11.0) / math.sqrt(math.pi)
    assert metrics.cramer_distance(own, other) == pytest.approx([due], rel=0.02, abs=1e-12)
    assert metrics.cramer_distance(other, own) == pytest.approx(metrics.cramer_distance(own, other))
    lead = np.full((1, 50), 3.0)
    assert metrics.cramer_distance(lead, lead + 1.0) == pytest.approx([0.98**2]), "quantiles leave out both tails"


@given(points, st.floats(0, 40), points, st.floats(0.01, 0.99))
def test_winkler_is_the_quantile_losses_of_both_ends(lower: float, width: float, outcome: float, alpha: float) -> None:
    """Gneiting & Raftery 2007, section 6.2: 2/alpha times the sum of the quantile losses."""

    def loss(quantile: float, level: float) -> float:
        return (quantile - outcome) * ((outcome <= quantile) - level)

    upper = lower + width
    (found,) = metrics.winkler([lower], [upper], [outcome], alpha)
    assert found == pytest.approx(2 / alpha * (loss(lower, alpha / 2) + loss(upper, 1 - alpha / 2)), rel=1e-6, abs=1e-6)
    assert found >= upper - lower


def test_scores_of_games_are_what_their_names_say() -> None:
    assert metrics.brier([1.0, 0.5, 0.2], [True, False, True]) == pytest.approx([0.0, 0.25, 0.64])
    found = metrics.log_loss([0.8, 0.8, 0.5, 1.0, 0.0], [True, False, True, True, True])
    assert found == pytest.approx([-math.log(0.8), -math.log(0.2), math.log(2), 0.0, math.inf])
    assert metrics.probability_bin([0.0, 0.049, 0.05, 0.5, 0.999, 1.0]).tolist() == [0, 0, 1, 10, 19, 19]
    assert metrics.GameBootstrap(2).estimate(np.sqrt, [9.0, 16.0]).value == pytest.approx(math.sqrt(12.5))


@pytest.mark.parametrize("degrees", [1, 2, 7, 101, 102, 1000])
def test_the_quantile_of_students_t_is_that_of_scipy(degrees: int) -> None:
    from scipy import stats  # takes a second to load

    assert metrics.student_quantile(degrees) == pytest.approx(float(stats.t.ppf(0.975, degrees)), rel=1e-9)


def test_bootstrap_intervals_hold_at_their_rate() -> None:
    from scipy.stats import binom  # it takes a second to import, in every process that collects this file

    rng = np.random.default_rng(1)
    bootstrap = metrics.GameBootstrap(100, resamples=500, level=0.9)
    estimates = [bootstrap.mean(rng.normal(3.0, size=100)) for _ in range(400)]
    held = sum(estimate.lower <= 3.0 <= estimate.upper for estimate in estimates)
    first, last = binom.interval(0.9999, 400, 0.9)
    assert first <= held <= last


def test_a_paired_difference_is_sharper_than_the_figures_that_it_compares() -> None:
    rng = np.random.default_rng(0)
    easy = rng.exponential(5.0, size=1000)
    harder = easy + 0.1 + rng.normal(scale=0.05, size=1000)
    bootstrap = metrics.GameBootstrap(1000)
    difference = bootstrap.mean(harder - easy)
    assert difference.value == pytest.approx(np.mean(harder - easy))
    assert 0 < difference.lower < 0.1 < difference.upper < 0.12
    assert bootstrap.mean(easy).upper > bootstrap.mean(harder).lower
    ratio = bootstrap.ratio(harder, easy)
    assert 1 < ratio.lower < ratio.value < ratio.upper
    with pytest.raises(ZeroDivisionError):
        metrics.GameBootstrap(2).ratio([1.0, 2.0], [0.0, 1.0])  # a resample may contain the first game twice
