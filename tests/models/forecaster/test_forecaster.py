"""Forecasts of the shipped bundle: by the score, the teams, and the line of a betting market."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.bundles import without_line
from tests.support.builders.models import queries
from tests.support.builders.shipped import shipped_bundle
from tests.support.harness.present import present

from dejavu_feed.live_inputs import LiveInputs
from dejavu_models.betting import Market, MarketKind
from dejavu_models.errors import AlphaTooSmall, QuantileTooExtreme
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import Forecast, Horizon, WarningReason
from dejavu_models.uncertainty.lattice.calibration import SMALLEST_ALPHA

ROUNDING = 1e-4


QUERIES = queries(home_team=st.sampled_from(["", "BOS", "LAL"]), pregame_margin=st.none() | st.floats(-15, 15)).map(
    lambda query: replace(query, explain=True, away_team="BKN" if query.home_team == "BOS" else "")
)


@pytest.fixture(scope="module")
def shipped() -> Forecaster:
    return shipped_bundle()


def query(*differentials: float, **fields: Any) -> ForecastQuery:
    return ForecastQuery(ScorePattern(differentials or tuple(float(m) for m in range(18))), **fields)


@settings(max_examples=30)
@given(QUERIES, QUERIES, st.integers(-9, 9))
def test_minutes_are_the_steps_between_the_predictions_of_the_linear_models(
    shipped: Forecaster, asked: ForecastQuery, other: ForecastQuery, correction: int
) -> None:
    """An explanation in a batch, after a correction of the last minute, agrees with forecasts issued one by one."""
    *known, last = asked.pattern.differentials
    corrected = replace(asked, pattern=ScorePattern((*known, last + correction)))
    _, forecast, _ = shipped.forecast_many([asked, corrected, other])
    shares = present(forecast.explanation).attribution
    earlier = [
        shipped.forecast(replace(corrected, pattern=ScorePattern(corrected.pattern.differentials[:minutes])))
        for minutes in range(1, corrected.pattern.minutes + 1)
    ]
    issued = [each.explanation.components[0].prediction for each in earlier if each.explanation is not None]
    assert shares.before_tipoff + shares.minutes[0] == pytest.approx(issued[0], abs=ROUNDING)
    assert shares.minutes[1:] == pytest.approx(np.diff(issued).tolist(), abs=2 * ROUNDING)


@pytest.mark.parametrize("horizon", list(Horizon))
@pytest.mark.parametrize("teams", [{}, {"home_team": "BOS", "away_team": "BKN"}])
@pytest.mark.parametrize("shape", ["flat", "late"])
def test_the_probability_rises_with_the_lead(
    shipped: Forecaster, horizon: Horizon, teams: dict[str, str], shape: str
) -> None:
    for minute in (6, 12, 18, 23, 30, 42, 47):
        if minute <= horizon.last_slot:
            course = {"flat": np.ones(minute), "late": np.eye(minute)[-1]}[shape]
            asked = [query(*(lead * course).tolist(), horizon=horizon, **teams) for lead in range(-30, 31)]
            probabilities = [forecast.home_lead_probability for forecast in shipped.forecast_many(asked)]
            assert probabilities == sorted(probabilities)
            assert probabilities[0] < 0.25
            assert probabilities[-1] > 0.75


def test_the_similar_games_that_are_listed_are_earlier_than_the_game(shipped: Forecaster) -> None:
    for day, known in ((None, True), (date(2024, 11, 1), True), (date(2016, 6, 19), True), (date(2000, 1, 1), False)):
        made = present(shipped.forecast(query(game_date=day, explain=True)).explanation)
        assert len(made.similar_games) == (5 if known else 0)
        assert all(day is None or game.date < day for game in made.similar_games)
        distances = [game.distance for game in made.similar_games]
        assert distances == sorted(distances)


def test_strength_counts_where_both_teams_are_given(shipped: Forecaster) -> None:
    strengths = shipped.rating_filter.strengths
    best, worst = max(strengths, key=strengths.__getitem__), min(strengths, key=strengths.__getitem__)
    for horizon in Horizon:
        favoured = shipped.forecast(query(0.0, 0.0, home_team=best, away_team=worst, horizon=horizon))
        unknown = shipped.forecast(query(0.0, 0.0, horizon=horizon))
        outmatched = shipped.forecast(query(0.0, 0.0, home_team=worst, away_team=best, horizon=horizon))
        assert favoured.point > unknown.point > outmatched.point
        assert favoured.expected_margin == pytest.approx(shipped.rating_filter.expected(best, worst)[0])
        assert unknown.expected_margin is None


def test_a_pregame_margin_takes_the_place_of_the_ratings(shipped: Forecaster) -> None:
    given_alone = shipped.forecast(query(pregame_margin=-7.5))
    assert given_alone.expected_margin == -7.5
    assert shipped.forecast(query(home_team="BOS")) == shipped.forecast(query()), "one team alone tells nothing"
    with_teams = shipped.forecast(query(pregame_margin=-7.5, home_team="BOS", away_team="BKN"))
    assert replace(with_teams, warnings=(), rated_margin=None) == given_alone
    assert shipped.forecast(query(pregame_margin=7.5)).point > given_alone.point


def test_an_alpha_or_a_quantile_beyond_the_calibration_games_is_refused_with_what_can_be_had(
    shipped: Forecaster,
) -> None:
    assert shipped.info.smallest_alpha == SMALLEST_ALPHA
    with pytest.raises(AlphaTooSmall) as small:
        shipped.forecast(query(alpha=1e-5))
    [stated] = re.findall(r"at least (0\.0*[1-9]\d{0,2}),", str(small.value))
    for alpha in (SMALLEST_ALPHA, float(stated)):
        assert shipped.forecast(query(alpha=alpha)).alpha == alpha
    with pytest.raises(QuantileTooExtreme, match=r"levels\[1\]") as extreme:
        shipped.check(query(quantile_levels=(0.5, 1 - 1e-6)))
    [bounds] = re.findall(r"expected (\S+) to (\S+),", str(extreme.value))
    shipped.check(query(quantile_levels=tuple(map(float, bounds))))


def test_threads_do_not_disturb_each_other(shipped: Forecaster) -> None:
    rng = np.random.default_rng(1)
    queries = [
        query(*rng.normal(0, 2.5, int(minutes)).cumsum().round().tolist(), horizon=Horizon.FINAL, explain=True)
        for minutes in rng.integers(1, 48, 200)
    ]
    alone = [shipped.forecast(asked) for asked in queries]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(shipped.forecast, queries)) == alone


SHIPPED = shipped_bundle()


PATTERN = ScorePattern((2.0, 3.0, 5.0, 1.0, 2.0, 4.0))


DAY = date(2024, 6, 18)
"""The day after the newest final that the ratings of the shipped bundle know."""


def asked(model: Forecaster, **fields: Any) -> Forecast:
    return model.forecast(ForecastQuery(PATTERN, Horizon.FINAL, game_date=DAY, **fields))


def spread(forecast: Forecast) -> float:
    return float(np.abs(np.array(forecast.distribution) - forecast.point).sum())


@pytest.mark.parametrize("live", [LiveInputs(), LiveInputs(20, None, 221.5)], ids=["score", "live"])
def test_the_line_is_answered_by_tables_of_its_own_if_the_bundle_has_them(live: LiveInputs) -> None:
    given, plain = (asked(model, pregame_margin=6.0, live=live, record=True) for model in (SHIPPED, without_line()))
    assert spread(given) < spread(plain)
    assert given.point != plain.point
    assert (SHIPPED.info.line, without_line().info.line) == (True, False)
    for teams in ({}, {"home_team": "BOS", "away_team": "DAL"}):
        assert asked(SHIPPED, **teams, live=live) == asked(without_line(), **teams, live=live)


def test_a_margin_far_from_that_of_the_ratings_is_used_with_a_warning() -> None:
    for margin, warned in ((-8.0, True), (7.0, False)):
        forecast = asked(SHIPPED, pregame_margin=margin, home_team="BOS", away_team="DAL")
        assert (WarningReason.IMPLAUSIBLE_MARGIN in forecast.warnings) is warned
        assert forecast.expected_margin == margin


@pytest.mark.parametrize(
    ("line", "horizon", "stakes"),
    [
        (6.0, Horizon.FINAL, False),
        (7.5, Horizon.FINAL, False),
        (14.0, Horizon.FINAL, True),
        (0.0, Horizon.FINAL, True),  # on the winner
        (3.5, Horizon.HALFTIME, False),
        (9.0, Horizon.HALFTIME, True),
    ],
)
def test_a_bet_beside_the_line_that_made_the_forecast_has_no_stake(line: float, horizon: Horizon, stakes: bool) -> None:
    market = Market(line, 2.2, 1.8)
    forecast = SHIPPED.forecast(ForecastQuery(PATTERN, horizon, pregame_margin=6.0, markets=(market,), game_date=DAY))
    assert forecast.market is not None
    assert forecast.market.unrated is not stakes
    assert stakes or forecast.market.chosen is None


@pytest.mark.parametrize(("line", "unrated"), [(221.5, True), (230.5, False)])
def test_a_given_total_replaces_that_of_the_ratings_and_is_no_bet(line: float, unrated: bool) -> None:
    fields: dict[str, Any] = {"live": LiveInputs(28, None, 221.5)}
    fields["markets"] = (Market(line, 2.0, 2.0, kind=MarketKind.TOTAL),)
    given = present(asked(SHIPPED, home_team="BOS", away_team="DAL", **fields).total)
    assert (given.expected_total, present(given.market).unrated) == (221.5, unrated)
    alone = asked(SHIPPED, **fields)
    assert present(alone.total).point == given.point, "the teams are not asked for"
