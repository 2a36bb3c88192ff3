"""Compares the predictive distributions with crepes, an independent implementation, and with theoretical coverage.

crepes does not support leads: it gets residuals mirrored towards the leader as in our code, and bins for cells.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.lead_groups import LEAD_EDGES
from dejavu_trainer.evaluation.coverage import conformal_region
from dejavu_trainer.evaluation.scoring.conformal import MIN_CELL, PredictiveDistribution

LARGE_CELLS = (1621, 1332, 1206, 1017)
"""Sizes at which no cells are merged, and no tested alpha gives an exact rank, which would depend on rounding."""

FEW_DECIDED = (1621, 1332, 1206, 317)
"""Sizes at which the last cell is too small and is merged with the previous one."""

RANGES = ((0.0, 3.4), (3.6, 8.4), (8.6, 15.4), (15.6, 40.0))


class Games(NamedTuple):
    """Leads, point forecasts and outcomes of games, (n,) each, in points."""

    leads: Floats
    points: Floats
    outcomes: Floats


def games_of(sizes: tuple[int, ...], seed: int, *, whole: bool = False) -> Games:
    """Draw games for each cell; the leader loses ground that the forecast misses, more so at large leads.

    Args:
        sizes: number of games by cell.
        seed: random seed.
        whole: whether leads, forecasts and outcomes are integers, so residuals tie.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.uniform(*bounds, count) for bounds, count in zip(RANGES, sizes, strict=True)]
    side = rng.choice([-1.0, 1.0], sum(sizes), p=[0.4, 0.6])
    leads = np.concatenate(drawn) * side
    if whole:
        leads = np.round(leads)
    size = np.abs(leads)
    points = leads + rng.normal(0.3, 1.0, len(leads))
    outcomes = points - side * size / 10 + (3 + size / 4) * rng.standard_gamma(4.0, len(leads)) / 2 - 6
    return Games(leads, np.round(points), np.round(outcomes)) if whole else Games(leads, points, outcomes)


class Reference:
    """crepes, fitted to the same games."""

    def __init__(self, games: Games, edges: tuple[float, ...]) -> None:
        from crepes import ConformalPredictiveSystem  # type: ignore[import-untyped]  # takes a second to load

        self.edges = edges
        turn = self.turn(games.leads)
        self.system = ConformalPredictiveSystem()
        self.system.fit(turn * (games.outcomes - games.points), bins=self.cells(games.leads))

    def cells(self, leads: Floats) -> NDArray[np.intp]:
        return np.digitize(np.abs(leads), self.edges)

    def turn(self, leads: Floats) -> Floats:
        return np.where((leads < 0) & (self.cells(leads) > 0), -1.0, 1.0)

    def intervals(self, games: Games, alpha: float) -> Floats:
        """Return intervals, (n, 2), in points."""
        turn = self.turn(games.leads)
        ends = self.system.predict_int(turn * games.points, bins=self.cells(games.leads), confidence=1 - alpha)
        return np.sort(turn[:, None] * ends, axis=1)


SIZES = [(LARGE_CELLS, LEAD_EDGES), (FEW_DECIDED, LEAD_EDGES[:2])]


def ours_of(games: Games, horizon: Horizon = Horizon.FINAL) -> PredictiveDistribution:
    return PredictiveDistribution.fit(horizon, games.points, games.leads, games.outcomes)


@pytest.mark.parametrize(("sizes", "edges"), SIZES)
def test_cells_that_are_too_small_join_their_neighbours(sizes: tuple[int, ...], edges: tuple[float, ...]) -> None:
    made = ours_of(games_of(sizes, 1))
    assert made.edges == edges
    assert min(cell.games for cell in made.cells) >= MIN_CELL


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("alpha", [0.02, 0.05, 0.2, 0.5])
@pytest.mark.parametrize(("sizes", "edges"), SIZES)
def test_intervals_are_those_of_crepes(
    sizes: tuple[int, ...], edges: tuple[float, ...], alpha: float, whole: bool
) -> None:
    past, asked = games_of(sizes, 1, whole=whole), games_of((50, 50, 50, 50), 2, whole=whole)
    ours = ours_of(past)
    ends = [ours.interval(point, lead, alpha) for lead, point, _ in zip(*map(np.ndarray.tolist, asked), strict=True)]
    expected = Reference(past, edges).intervals(asked, alpha)
    assert np.array([(each.lower, each.upper) for each in ends]) == pytest.approx(expected, abs=1e-9)


@st.composite
def made_of_games(draw: st.DrawFn) -> PredictiveDistribution:
    """Draw distributions fitted to little data, so cells differ by chance."""
    sizes = tuple(draw(st.integers(0, 60)) for _ in RANGES)
    assume(sum(sizes) >= 1)
    games = games_of(sizes, draw(st.integers(0, 2**32 - 1)), whole=draw(st.booleans()))
    horizon = draw(st.sampled_from(Horizon))
    return PredictiveDistribution.fit(
        horizon, games.points, games.leads, games.outcomes, min_cell=draw(st.integers(1, 40))
    )


@given(made_of_games(), st.floats(-60, 60), st.floats(-30, 30), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_intervals_are_nested_hold_the_point_and_end_at_ascending_quantiles(
    made: PredictiveDistribution, lead: float, shift: float, shares: list[float]
) -> None:
    point = lead + shift
    smallest = made.smallest_alpha
    assume(smallest < 0.9999)  # a cell of one game has no interval
    alphas = sorted(min(smallest + share * (1 - smallest), 0.9999) for share in shares)
    intervals = [made.interval(point, lead, alpha) for alpha in alphas]
    for wide, narrow in pairwise(intervals):
        assert wide.lower <= narrow.lower <= point <= narrow.upper <= wide.upper
    levels = [alpha / 2 for alpha in alphas] + [1 - alpha / 2 for alpha in reversed(alphas)]
    values = made.quantiles(point, lead, levels)
    assert all(one <= other for one, other in pairwise(values))
    for place, interval in enumerate(intervals):
        assert interval.lower == min(values[place], point)
        assert interval.upper == max(values[-1 - place], point)


@given(made_of_games(), st.lists(st.tuples(st.floats(-45, 45), st.floats(0, 2)), min_size=2, max_size=20))
def test_the_probability_never_falls_as_lead_and_point_rise_together(
    made: PredictiveDistribution, rising: list[tuple[float, float]]
) -> None:
    # Include the cell edges, where monotonicity would break first.
    edges = [side * edge for edge in made.edges for side in (-1, 1)]
    leads = np.sort(np.array([lead for lead, _ in rising] + edges + [np.nextafter(edge, 0) for edge in edges] + [0.0]))
    steps = np.resize([step for _, step in rising], len(leads))
    probabilities = made.home_lead_probability(leads + np.cumsum(steps), leads)
    assert (np.diff(probabilities) >= 0).all()
    assert ((probabilities > 0) & (probabilities < 1)).all()


REPETITIONS = 25
TRIALS = 200
ALPHAS = (0.05, 0.2, 0.5)


def held_by_cell(*, min_cell: int) -> NDArray[np.int64]:
    """Count covered outcomes over REPETITIONS of calibration and test, by alpha and range: (3, 4)."""
    held = np.zeros((len(ALPHAS), len(RANGES)), dtype=np.int64)
    for repetition in range(REPETITIONS):
        past = games_of(LARGE_CELLS, 1000 + repetition)
        made = PredictiveDistribution.fit(Horizon.FINAL, past.points, past.leads, past.outcomes, min_cell=min_cell)
        asked = games_of((TRIALS,) * len(RANGES), 2000 + repetition)
        for row, alpha in enumerate(ALPHAS):
            hits = [
                outcome in made.interval(point, lead, alpha)
                for lead, point, outcome in zip(*map(np.ndarray.tolist, asked), strict=True)
            ]
            held[row] += np.reshape(hits, (len(RANGES), TRIALS)).sum(axis=1)
    return held


def regions() -> NDArray[np.int64]:
    """Return the first and last plausible counts for exchangeable games, Bonferroni-corrected: (3, 4, 2)."""
    level = 1 - 0.01 / (len(ALPHAS) * len(RANGES))
    return np.array(
        [
            [conformal_region([TRIALS] * REPETITIONS, [count] * REPETITIONS, alpha, level) for count in LARGE_CELLS]
            for alpha in ALPHAS
        ]
    )


def test_coverage_holds_in_every_cell_and_would_not_without_cells() -> None:
    first, last = np.moveaxis(regions(), 2, 0)
    held = held_by_cell(min_cell=MIN_CELL)
    assert ((first <= held) & (held <= last)).all(), (first, held, last)
    pooled = held_by_cell(min_cell=10**9)
    assert ((pooled < first) | (pooled > last)).any(axis=1).all(), "a test that cells of one kind would pass too"
