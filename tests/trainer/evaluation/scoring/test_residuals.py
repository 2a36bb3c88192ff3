"""Conformal distributions of the references: those of crepes, an independent implementation, and right in theory.

crepes does not support leads: it gets residuals mirrored towards the leader as in our code, and bins for cells.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.lead_groups import LEAD_EDGES
from dejavu_trainer.evaluation.scoring.residuals import MIN_CELL, ResidualDistribution, interval
from dejavu_trainer.evaluation.table import LEVELS

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


def fitted(games: Games, horizon: Horizon = Horizon.FINAL, min_cell: int = MIN_CELL) -> ResidualDistribution:
    return ResidualDistribution.fit(horizon, games.points, games.leads, games.outcomes, min_cell=min_cell)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("sizes", "edges"), SIZES)
def test_intervals_are_those_of_crepes_with_small_cells_joined(
    sizes: tuple[int, ...], edges: tuple[float, ...], whole: bool
) -> None:
    past, asked = games_of(sizes, 1, whole=whole), games_of((50, 50, 50, 50), 2, whole=whole)
    made, reference = fitted(past), Reference(past, edges)
    assert made.edges == edges
    assert min(len(cell) for cell in made.cells) >= MIN_CELL
    columns = made.scored(asked.points, asked.leads, asked.outcomes)
    for level in LEVELS:
        ends = np.stack([columns[f"lower_{level}"], columns[f"upper_{level}"]], axis=1)
        assert ends == pytest.approx(reference.intervals(asked, 1 - level / 100), abs=1e-4)
        within = (ends[:, 0] <= asked.outcomes) & (asked.outcomes <= ends[:, 1])
        assert (columns[f"held_{level}"] == within).mean() > 0.99  # in single precision


@given(st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=120, unique=True), st.floats(0.001, 0.999))
def test_each_tail_of_exchangeable_games_is_missed_no_more_often_than_alpha_allows(
    drawn: list[int], alpha: float
) -> None:
    """Each of n + 1 games is equally likely to be the next one: the coverage is the share over all of them."""
    values = np.array(drawn, dtype=float)
    ends = [interval(np.sort(np.delete(values, game)), alpha) for game in range(len(values))]
    assume(np.isfinite(ends).all())
    low, high = np.array(ends).T
    for missed in (values < low, values > high):
        assert missed.sum() <= alpha / 2 * len(values) + 1e-6


def probability(residuals: list[float], point: float, threshold: float) -> float:
    """Return the probability that the home team leads, from a tie."""
    made = ResidualDistribution(threshold, (), (np.sort(residuals),), np.ones(4))
    return float(made.home_lead_probability(np.array([point]), np.zeros(1))[0])


@pytest.mark.parametrize(("threshold", "points"), [(0.5, (0.0, 1.0)), (0.0, (-0.1, 0.1))])
def test_a_tie_is_no_lead_at_the_half_and_none_is_left_at_the_end(threshold: float, points: tuple[float, ...]) -> None:
    assert [probability([0.0] * 99, point, threshold) for point in points] == [0.005, 0.995]


@given(st.data(), st.lists(st.tuples(st.floats(-45, 45), st.floats(0, 2)), min_size=2, max_size=20))
def test_the_probability_never_falls_as_lead_and_point_rise_together(
    data: st.DataObject, rising: list[tuple[float, float]]
) -> None:
    """Fitted to little data, so cells differ by chance."""
    sizes = tuple(data.draw(st.integers(0, 60)) for _ in RANGES)
    assume(sum(sizes) >= 1)
    games = games_of(sizes, data.draw(st.integers(0, 2**32 - 1)), whole=data.draw(st.booleans()))
    made = fitted(games, data.draw(st.sampled_from(Horizon)), data.draw(st.integers(1, 40)))
    # Include the cell edges, where monotonicity would break first.
    edges = [side * edge for edge in made.edges for side in (-1, 1)]
    leads = np.sort(np.array([lead for lead, _ in rising] + edges + [np.nextafter(edge, 0) for edge in edges] + [0.0]))
    steps = np.resize([step for _, step in rising], len(leads))
    probabilities = made.home_lead_probability(leads + np.cumsum(steps), leads)
    assert (np.diff(probabilities) >= 0).all()
    assert ((probabilities > 0) & (probabilities < 1)).all()
