from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.conformal import ConformalScores

RESIDUALS = st.lists(st.floats(-60, 60), min_size=1, max_size=80)
POINTS = st.floats(-80, 80)


def scores(residuals: list[float]) -> ConformalScores:
    return ConformalScores(np.sort(np.array(residuals)))


@given(st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=120, unique=True), st.floats(0.001, 0.999))
def test_each_tail_of_exchangeable_games_is_missed_no_more_often_than_alpha_allows(
    drawn: list[int], alpha: float
) -> None:
    """If every one of n + 1 games is equally likely to be the next, counting over all of them is the probability."""
    values = np.array(drawn, dtype=float)
    others = scores(values[1:].tolist())
    if alpha < others.smallest_alpha:
        return
    below = above = 0
    for game in range(len(values)):
        low, high = scores(np.delete(values, game).tolist()).offsets(alpha)
        below += values[game] < low
        above += values[game] > high
    assert below <= alpha / 2 * len(values)
    assert above <= alpha / 2 * len(values)


def test_the_interval_is_no_wider_than_the_finite_sample_needs() -> None:
    """For 19 residuals and alpha 0.2, the 2nd smallest and the 2nd largest: (19 + 1)·0.1 = 2."""
    assert scores([float(value) for value in range(-9, 10)]).offsets(0.2) == (-8.0, 8.0)


def test_the_interval_may_be_asymmetric() -> None:
    assert scores([-1.0] * 50 + [9.0] * 49).offsets(0.1) == (-1.0, 9.0)


@given(RESIDUALS, POINTS, st.floats(0.0001, 0.9999))
def test_the_interval_holds_the_point(residuals: list[float], point: float, alpha: float) -> None:
    held = scores(residuals)
    if alpha >= held.smallest_alpha:
        interval = held.interval(point, alpha)
        assert interval.lower <= point <= interval.upper


@given(RESIDUALS, POINTS, st.floats(0.0001, 0.9999), st.floats(0.0001, 0.9999))
def test_intervals_are_nested(residuals: list[float], point: float, one: float, other: float) -> None:
    held = scores(residuals)
    strict, loose = sorted((one, other))
    if strict >= held.smallest_alpha:
        wide, narrow = held.interval(point, strict), held.interval(point, loose)
        assert wide.lower <= narrow.lower
        assert narrow.upper <= wide.upper


def test_residuals_on_one_side_still_give_an_interval_around_the_point() -> None:
    assert scores([3.0, 4.0, 5.0]).offsets(0.99) == (0.0, 5.0)


@given(st.integers(2, 5000))
def test_the_smallest_alpha_is_the_smallest(games: int) -> None:
    held = scores([0.0] * games)
    assert held.smallest_alpha == pytest.approx(2 / (games + 1))
    held.offsets(held.smallest_alpha)
    with pytest.raises(ValueError):
        held.offsets(held.smallest_alpha * (1 - 1e-12))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5, -0.1])
def test_no_interval_for_what_is_no_rate(alpha: float) -> None:
    with pytest.raises(ValueError):
        scores([float(value) for value in range(100)]).offsets(alpha)


@given(RESIDUALS, st.lists(POINTS, min_size=2, max_size=10))
def test_the_lead_grows_likelier_with_the_point_and_is_never_certain(
    residuals: list[float], points: list[float]
) -> None:
    leads = scores(residuals).home_lead_probability(np.sort(points))
    assert (np.diff(leads) >= 0).all()
    assert (leads > 0).all()
    assert (leads < 1).all()


@given(RESIDUALS, st.integers(-80, 80), st.floats(0.01, 0.99))
def test_leads_of_both_sides_and_ties_share_what_there_is(residuals: list[float], lead: int, fraction: float) -> None:
    """Seen from the other bench, signs turn: what neither leads is the mass of sums that round to a tie."""
    point = np.array([lead + fraction])
    held = scores(residuals)
    home = held.home_lead_probability(point)[0]
    away = scores([-residual for residual in residuals]).home_lead_probability(-point)[0]
    sums = np.abs(point + held.residuals)
    tied = (sums < 0.5).sum() + 0.5 * (sums == 0.5).sum()
    # The game to come counts one half for each side.
    assert home + away == pytest.approx(1 - tied / (held.games + 1))


def test_a_tie_is_no_lead() -> None:
    exact = scores([0.0] * 99)
    assert exact.home_lead_probability(np.array([0.0, 1.0])).tolist() == [0.5 / 100, 99.5 / 100]


def test_lead_probabilities_are_calibrated_for_whole_outcomes() -> None:
    """Outcomes are whole, forecasts are not: without the half point, half of the ties would count as leads."""
    rng = np.random.default_rng(5)
    forecasts = rng.normal(0, 6, 100_000)
    outcomes = np.round(forecasts + rng.normal(0, 6, 100_000))
    points = np.linspace(-12, 12, 49)
    truth = [1 - NormalDist(point, 6).cdf(0.5) for point in points.tolist()]
    assert ConformalScores.of(outcomes, forecasts).home_lead_probability(points) == pytest.approx(truth, abs=0.008)


@pytest.mark.parametrize("bad", [[], [1.0, 0.0], [0.0, float("nan")], [0.0, float("inf")], [[0.0]]])
def test_scores_that_are_none_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError):
        ConformalScores(np.array(bad, dtype=float))
