"""Distributions of totals: whole numbers, never fewer than there are, the same for one game as for many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calibrations import steady_totals

from dejavu_models.totals.model import MOST_TO_COME, TABLES, TotalInputs
from dejavu_models.totals.totals import total_tables
from dejavu_models.types import CASES, HORIZONS, MarginSource
from dejavu_models.uncertainty.lattice.distribution import WholeNumberDistribution

TOTALS = steady_totals()
MODEL = TOTALS.models[MarginSource.KNOWN]
GAMES = st.lists(
    st.tuples(st.integers(0, 500), st.floats(-60, 60), st.floats(150, 280)).map(
        lambda game: (game[0], max(min(game[1], game[0]), -game[0]), game[2])
    ),
    min_size=1,
    max_size=6,
)
WHEN = st.sampled_from(CASES)


def inputs_of(games: list[tuple[int, float, float]]) -> TotalInputs:
    return TotalInputs(*np.array(games, dtype=float).T)


def made(games: list[tuple[int, float, float]], when: tuple[int, int]) -> WholeNumberDistribution:
    return MODEL.distribution(HORIZONS[when[0]], when[1], inputs_of(games))


@given(GAMES, WHEN)
def test_no_total_is_below_the_points_so_far(games: list[tuple[int, float, float]], when: tuple[int, int]) -> None:
    found, points = made(games, when), [game[0] for game in games]
    assert found.mass.sum(axis=1) == pytest.approx(1)
    assert (found.mass >= 0).all()
    assert found.mass.shape == (len(games), MOST_TO_COME + 1)
    assert found.first.tolist() == points
    for row, point in enumerate(points):
        assert found.above(point - 1)[row] == 1
        assert found.quantiles([0.0005, 0.9995])[row].min() >= point


@given(st.sampled_from(MarginSource), GAMES, WHEN, st.lists(st.floats(1e-5, 1 - 1e-5), min_size=1, max_size=9))
def test_a_game_alone_has_the_distribution_that_it_has_in_a_batch(
    source: MarginSource, games: list[tuple[int, float, float]], when: tuple[int, int], levels: list[float]
) -> None:
    model, horizon, minute = TOTALS.models[source], HORIZONS[when[0]], when[1]
    batch = model.distribution(horizon, minute, inputs_of(games))
    points = batch.first + model.to_come(horizon, minute, inputs_of(games))
    for row, (so_far, lead, expected) in enumerate(games):
        alone = total_tables(model, horizon, minute).game(so_far, lead, expected)
        found = [alone.cumulative(total) for total in range(so_far - 1, so_far + MOST_TO_COME + 2)]
        assert found == pytest.approx([0, *batch.below[row], 1], abs=1e-9)
        assert alone.point == pytest.approx(points[row], abs=1e-9)
        due = batch.quantiles(levels)[row].tolist()
        assert alone.quantiles(levels) == [alone.quantiles([level])[0] for level in levels] == due


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_another_shape_or_that_are_not_finite_are_refused(name: str) -> None:
    table = getattr(MODEL, name)
    with pytest.raises(ValueError, match=name):
        replace(MODEL, **{name: table[:-1]})
    with pytest.raises(ValueError, match=name):
        replace(MODEL, **{name: np.full_like(table, np.nan)})


FAR_SCALES = {
    "a lead of 200": (-1, (0.0, 0.0, 18.0, 0.0)),
    "no lead": (-1, (0.0, 0.0, 0.0, 360.0)),
    "nothing to come": (0, (0.0, 120.0, 0.0, 0.0)),
    # The scale is finite at the leads that a verification queries (0, 14 and -40), and infinite at 17.
    "a lead between": (-1, (-25200.0, 0.0, 18000.0, 25200.0)),
}


@pytest.mark.parametrize(("row", "of_row"), FAR_SCALES.values(), ids=FAR_SCALES)
def test_a_scale_beyond_arithmetic_in_some_game_is_refused(row: int, of_row: tuple[float, ...]) -> None:
    scale = MODEL.scale.copy()
    scale[row] = of_row
    with pytest.raises(ValueError, match=r"scale gives some game a scale beyond exp\(±300\)"):
        replace(MODEL, scale=scale)
