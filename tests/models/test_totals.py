"""Totals: their distributions, beside differentials in the answers of a forecaster, and in the file of a bundle."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.bundles import without_totals
from tests.support.builders.shipped import shipped_bundle
from tests.support.harness.present import present

from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import KNOWN_GAMES, GameResult, OnlineState
from dejavu_models.totals import MOST_TO_COME, TotalInputs, forecast_total, total_tables
from dejavu_models.types import CASES, DISTRIBUTION_LEVELS, HORIZONS, Forecast, Horizon, MarginSource, TotalForecast
from dejavu_models.uncertainty.lattice.distribution import WholeNumberDistribution

TOTALS = present(shipped_bundle().totals)
KNOWN = TOTALS.models[MarginSource.KNOWN]
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
    return KNOWN.distribution(HORIZONS[when[0]], when[1], inputs_of(games))


@given(GAMES, WHEN)
def test_no_total_is_below_the_points_so_far(games: list[tuple[int, float, float]], when: tuple[int, int]) -> None:
    found, points = made(games, when), [game[0] for game in games]
    assert found.mass.sum(axis=1) == pytest.approx(1)
    assert (found.mass >= 0).all()
    assert found.mass.shape == (len(games), MOST_TO_COME + 1)
    assert found.first.tolist() == points
    for row, point in enumerate(points):
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


PLAIN = without_totals()
MODEL = Forecaster(PLAIN.manifest, PLAIN.models, PLAIN.calibration, PLAIN.rating_filter, TOTALS)
WITH_TEAMS = ForecastQuery(ScorePattern((1.0, 3.0, 2.0, 4.0)), Horizon.FINAL, 0.1, "BOS", "LAL", live=LiveInputs(18))


def total_of(forecast: Forecast) -> TotalForecast:
    return present(forecast.total)


@given(st.integers(1, 47), st.sampled_from(Horizon), st.integers(0, 60), st.floats(0.01, 0.5), st.booleans())
def test_a_total_changes_nothing_else_in_an_answer(
    minutes: int, horizon: Horizon, more: int, alpha: float, teams: bool
) -> None:
    minutes = min(minutes, horizon.last_slot)
    pattern = ScorePattern(tuple(float(minute % 5) for minute in range(minutes)))
    points = 2 * min(more, 3 * minutes + 18) + int(pattern.last)
    named = ("BOS", "LAL") if teams else ("", "")
    query = ForecastQuery(pattern, horizon, alpha, *named, live=LiveInputs(total_points=points), record=True)
    answer, plain = MODEL.forecast(query), PLAIN.forecast(query)
    assert replace(answer, total=None) == plain
    assert MODEL.forecast_many([query, query]) == [answer, answer]
    assert MODEL.forecast(replace(query, live=NO_LIVE_INPUTS)) == PLAIN.forecast(replace(query, live=NO_LIVE_INPUTS))
    total = total_of(answer)
    assert points <= total.interval.lower <= total.point <= total.interval.upper
    assert list(total.distribution) == sorted(total.distribution)
    assert len(total.distribution) == len(DISTRIBUTION_LEVELS)
    assert total.expected_total is None or teams


def test_quantiles_are_of_the_total_too_and_the_interval_holds_the_point_however_narrow_it_is() -> None:
    narrow = total_of(MODEL.forecast(replace(WITH_TEAMS, alpha=0.999, quantile_levels=(0.1, 0.5, 0.9))))
    assert narrow.interval.lower <= narrow.point <= narrow.interval.upper <= narrow.interval.lower + 2
    low, middle, high = (each.value for each in narrow.quantiles)
    assert 18 <= low < middle < high


def test_what_is_expected_comes_from_the_ratings_of_totals_unless_they_are_too_old() -> None:
    expected = total_of(MODEL.forecast(WITH_TEAMS)).expected_total
    assert expected == pytest.approx(TOTALS.ratings.expected("BOS", "LAL")[0])
    # A given margin says nothing of the total.
    assert total_of(MODEL.forecast(replace(WITH_TEAMS, pregame_margin=3.0))).expected_total == expected
    old = replace(WITH_TEAMS, game_date=date(2026, 12, 1))
    unknown = replace(WITH_TEAMS, home_team="", away_team="")
    assert total_of(MODEL.forecast(old)).expected_total is None
    assert total_of(MODEL.forecast(old)) == total_of(MODEL.forecast(unknown))


def test_reported_totals_move_what_is_expected_and_make_teams_known() -> None:
    state = MODEL.bundled_ratings
    for game in range(KNOWN_GAMES):
        day = date(2035, 11, 1 + 2 * game)
        state = state.after(GameResult("BOS", "LAL", 2036, day, 3.0, total=270.0))
    learned = Forecaster(PLAIN.manifest, PLAIN.models, PLAIN.calibration, PLAIN.rating_filter, TOTALS)
    learned.max_ratings_days = 365
    learned.update(OnlineState(sequence=7, rated=state))
    query = replace(WITH_TEAMS, game_date=date(2035, 11, 25))
    total = total_of(learned.forecast(query))
    assert total.expected_total is not None
    assert total.expected_total > TOTALS.ratings.expected("BOS", "LAL")[0] + 10
    tables = TOTALS.tables(MarginSource.KNOWN, Horizon.FINAL, 4)
    assert total == forecast_total(tables, query, total.expected_total)
    # For a game of the next season, teams are drawn together.
    later = present(total_of(learned.forecast(replace(query, game_date=date(2036, 10, 25)))).expected_total)
    assert later < total.expected_total
