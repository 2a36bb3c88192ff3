"""Distributions of the references have their stated coverage, and a tie is no lead."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dejavu_models.arrays import Floats
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.lead_groups import UNSCALED, lead_groups
from dejavu_trainer.evaluation.scoring.conformal import ConformalScores, PredictiveDistribution

RESIDUALS = st.lists(st.floats(-60, 60), min_size=2, max_size=80)


def scores(residuals: list[float]) -> ConformalScores:
    return ConformalScores(np.sort(np.array(residuals)))


def one_cell(residuals: list[float], threshold: float = 0.0) -> PredictiveDistribution:
    return PredictiveDistribution(threshold, (), (scores(residuals),))


def leads(distribution: PredictiveDistribution, point: float) -> float:
    """Return the probability that the home team leads, from a tie."""
    return float(distribution.home_lead_probability(np.array([point]), np.zeros(1))[0])


def ends(distribution: PredictiveDistribution, alpha: float) -> tuple[float, float]:
    interval = distribution.interval(0.0, 0.0, alpha)
    return interval.lower, interval.upper


@given(st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=120, unique=True), st.floats(0.001, 0.999))
def test_each_tail_of_exchangeable_games_is_missed_no_more_often_than_alpha_allows(
    drawn: list[int], alpha: float
) -> None:
    """Each of n + 1 games is equally likely to be the next one: the coverage is the share over all of them."""
    values = np.array(drawn, dtype=float)
    assume(len(values) > 2 and alpha >= one_cell(values[1:].tolist()).smallest_alpha)
    below = above = 0
    for game in range(len(values)):
        low, high = ends(one_cell(np.delete(values, game).tolist()), alpha)
        below += values[game] < low
        above += values[game] > high
    assert below <= alpha / 2 * len(values) + 1e-6
    assert above <= alpha / 2 * len(values) + 1e-6


@given(st.integers(2, 5000))
def test_the_smallest_alpha_is_the_smallest(games: int) -> None:
    distribution = one_cell([0.0] * games)
    assert distribution.smallest_alpha == pytest.approx(2 / (games + 1))
    distribution.interval(0.0, 0.0, distribution.smallest_alpha)
    with pytest.raises(ValueError):
        distribution.interval(0.0, 0.0, distribution.smallest_alpha * (1 - 1e-5))


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5, -0.1, float("nan")])
def test_no_interval_for_what_is_no_rate(alpha: float) -> None:
    with pytest.raises(ValueError):
        one_cell([float(value) for value in range(100)]).interval(0.0, 0.0, alpha)


@given(RESIDUALS, st.integers(-80, 80), st.floats(0.01, 0.99))
def test_leads_of_both_sides_and_ties_share_what_there_is(residuals: list[float], lead: int, fraction: float) -> None:
    """For the away team all signs flip: the remaining probability is the mass of sums that round to a tie."""
    point = lead + fraction
    home = leads(one_cell(residuals, 0.5), point)
    away = leads(one_cell([-residual for residual in residuals], 0.5), -point)
    sums = np.abs(point + np.array(residuals))
    tied = (sums < 0.5).sum() + 0.5 * (sums == 0.5).sum()
    # The next game counts half for each side.
    assert home + away == pytest.approx(1 - tied / (len(residuals) + 1))


def test_a_tie_is_no_lead_at_the_half_and_none_is_left_at_the_end() -> None:
    exact = [0.0] * 99
    assert [leads(one_cell(exact, 0.5), point) for point in (0.0, 1.0)] == [0.005, 0.995]
    assert [leads(one_cell(exact, 0.0), point) for point in (-0.1, 0.1)] == [0.005, 0.995]


def test_scales_let_one_cell_speak_of_groups_that_are_differently_uncertain() -> None:
    rng = np.random.default_rng(3)
    scales = (2.0, 4.0, 6.0, 9.0)

    def games(count: int) -> tuple[Floats, Floats]:
        leads = rng.normal(0, 10, count).round()
        return leads, leads + rng.normal(0, 1, count) * np.array(scales)[lead_groups(leads)]

    leads, outcomes = games(4000)
    distribution = PredictiveDistribution.fit(Horizon.FINAL, leads, leads, outcomes, scales=scales, min_cell=10**9)
    assert len(distribution.cells) == 1
    leads, outcomes = games(20_000)
    for group in range(4):
        rows = np.flatnonzero(lead_groups(leads) == group)
        found = [distribution.interval(lead, lead, 0.2) for lead in leads[rows].tolist()]
        hits = [outcome in interval for outcome, interval in zip(outcomes[rows].tolist(), found, strict=True)]
        assert np.mean(hits) == pytest.approx(0.8, abs=0.03)


def test_samples_of_away_leads_are_turned() -> None:
    rng = np.random.default_rng(4)
    leads = rng.normal(0, 12, 1800).round()
    points, errors = leads + rng.normal(0, 2, 1800), rng.standard_gamma(4.0, 1800) - 4
    made = PredictiveDistribution.fit(Horizon.FINAL, points, leads, points + np.sign(leads) * errors, min_cell=100)
    assert len(made.cells) == 4
    levels = [0.05, 0.3, 0.5, 0.9]
    for lead in (-20.0, -10.0, -1.0, 0.0, 2.0, 12.0, 30.0):
        of_lead = made.residuals_for(lead)
        assert made.quantiles(7.0, lead, levels) == pytest.approx([7.0 + of_lead.quantile(level) for level in levels])


@pytest.mark.parametrize("bad", [[], [1.0, 0.0], [0.0, float("nan")], [0.0, float("inf")], [[0.0]]])
def test_scores_that_are_none_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError):
        ConformalScores(np.array(bad, dtype=float))


@pytest.mark.parametrize("edges", [(), (3.5, 8.5), (5.0,), (-3.5,), (float("nan"),), (float("inf"),)])
def test_cells_and_edges_must_fit_together(edges: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        PredictiveDistribution(0.0, edges, (scores([0.0]), scores([1.0])))


@pytest.mark.parametrize("scales", [(), UNSCALED[1:], (0.0, *UNSCALED[1:]), (float("inf"), *UNSCALED[1:])])
def test_scales_are_positive_and_one_for_each_group(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        PredictiveDistribution(0.0, (), (scores([0.0]),), scales)
