"""A line of a betting market in a request: the models and distributions in use, warnings, and stakes."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from tests.support.builders.bundles import without_line
from tests.support.builders.shipped import shipped_bundle

from dejavu_feed.live_inputs import LiveInputs
from dejavu_models.betting import Market, MarketKind
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import Forecast, Horizon, WarningReason

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


@pytest.mark.parametrize(
    ("margin", "teams", "warned"),
    [
        (30.0, ("BOS", "DAL"), True),
        (-8.0, ("BOS", "DAL"), True),  # the wrong sign
        (7.0, ("BOS", "DAL"), False),
        (30.0, ("", ""), False),
    ],
)
def test_a_margin_far_from_that_of_the_ratings_is_used_with_a_warning(
    margin: float, teams: tuple[str, str], warned: bool
) -> None:
    forecast = asked(SHIPPED, pregame_margin=margin, home_team=teams[0], away_team=teams[1])
    assert (WarningReason.IMPLAUSIBLE_MARGIN in forecast.warnings) is warned
    assert forecast.expected_margin == margin
    bare = asked(SHIPPED, pregame_margin=margin)
    assert (forecast.point, forecast.interval) == (bare.point, bare.interval)


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
    fields = {"live": LiveInputs(28, None, 221.5), "markets": (Market(line, 2.0, 2.0, kind=MarketKind.TOTAL),)}
    given, rated = (
        asked(SHIPPED, home_team="BOS", away_team="DAL", **{**fields, "live": live})
        for live in (fields["live"], LiveInputs(28))
    )
    assert given.total is not None
    assert rated.total is not None
    assert (given.total.expected_total, given.total.market.unrated) == (221.5, unrated)  # type: ignore[union-attr]
    assert rated.total.expected_total != 221.5
    alone = asked(SHIPPED, **fields)
    assert alone.total is not None
    assert alone.total.point == given.total.point, "the teams are not asked for"
