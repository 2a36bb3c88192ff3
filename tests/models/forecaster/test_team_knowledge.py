"""How well the ratings know a team: how much of its strength rests on games of this season, and what follows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest

from dejavu_models.betting import Market, TotalMarket
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import GameResult, RatedSchedule
from dejavu_models.online_state import INITIAL, OnlineState
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.team_filter import CODES
from dejavu_models.types import DISTRIBUTION_LEVELS, Forecast, Horizon, Interval, MarginSource, WarningReason

JUNE = date(2023, 6, 12)
"""Date of the newest final that the ratings of the shipped bundle know."""
PATTERN = ScorePattern((2.0, 3.0, 5.0, 1.0, 2.0, 4.0))
MARKET = Market(0.5, 2.4, 1.6)


@pytest.fixture(scope="module")
def bundle() -> Forecaster:
    return load_bundle(default_bundle())


@pytest.fixture
def shipped(bundle: Forecaster) -> Iterator[Forecaster]:
    yield bundle
    bundle.update(INITIAL)


def after_rounds(start: RatedSchedule, season: int, first: date, rounds: int, days: int = 2) -> RatedSchedule:
    """Returns the state after games of all teams, every few days."""
    for number in range(rounds):
        day = first + timedelta(days * number)
        codes = [CODES[0], *(CODES[1 + (index + number) % 29] for index in range(29))]
        for one, other in zip(codes[:15], codes[:14:-1], strict=True):
            home, away = (one, other) if number % 2 else (other, one)
            start = start.after(GameResult(home, away, season, day, 3.0))
    return start


def asked(shipped: Forecaster, ratings: RatedSchedule | None, day: date | None, **fields: Any) -> Forecast:
    state = OnlineState(9, ratings=ratings.ratings, schedule=ratings.schedule) if ratings else INITIAL
    shipped.update(state)
    return shipped.forecast(ForecastQuery(PATTERN, Horizon.FINAL, 0.05, "BOS", "LAL", game_date=day, **fields))


def without_knowledge(shipped: Forecaster, forecast: Forecast, **fields: Any) -> Forecast:
    """Returns the forecast with the same margin, given by the caller."""
    return shipped.forecast(
        ForecastQuery(PATTERN, Horizon.FINAL, 0.05, "BOS", "LAL", pregame_margin=forecast.expected_margin, **fields)
    )


@pytest.mark.parametrize("finals", [1, 2, 5])
def test_some_finals_do_not_make_ratings_of_june_2023_those_of_november_2026(shipped: Forecaster, finals: int) -> None:
    ratings = shipped.bundled_ratings
    for number in range(finals):
        ratings = ratings.after(GameResult("BOS", "LAL", 2027, date(2026, 11, 22) + timedelta(number), 5.0))
    forecast = asked(shipped, ratings, date(2026, 11, 28), market=MARKET, record=True)
    for known, code in zip(forecast.teams_known, ("BOS", "LAL"), strict=True):
        assert (known.team, known.finals, known.earlier_date) == (code, finals, JUNE)
        assert known.is_hardly_known
    assert forecast.warnings == (WarningReason.TEAM_HARDLY_KNOWN,)
    assert forecast.market is not None
    assert forecast.market.hardly_known
    assert (forecast.market.side, forecast.market.stake) == (None, 0.0)
    given_margin = without_knowledge(shipped, forecast, record=True)
    assert forecast.distribution[0] < given_margin.distribution[0]
    assert forecast.distribution[-1] > given_margin.distribution[-1]
    assert abs(forecast.home_lead_probability - 0.5) < abs(given_margin.home_lead_probability - 0.5)


def test_a_usual_season_goes_from_partly_to_well_known_by_december(shipped: Forecaster) -> None:
    """Without a warning, and with a stake from then on."""
    seen = []
    for rounds in (0, 5, 10, 30):
        ratings = after_rounds(shipped.bundled_ratings, 2024, date(2023, 10, 24), rounds)
        day = date(2023, 10, 24) + timedelta(2 * rounds)
        forecast = asked(
            shipped, ratings, day, market=MARKET, total_points=30, total_market=TotalMarket(220.5, 1.9, 1.9)
        )
        assert forecast.warnings == ()
        assert forecast.market is not None
        assert forecast.total is not None
        assert forecast.total.market is not None
        home, _ = forecast.teams_known
        assert (home.finals, home.earlier_date) == (rounds, JUNE)
        for market in (forecast.market, forecast.total.market):
            assert market.hardly_known is not home.is_known
            assert home.is_known or market.stake == 0.0
        seen.append((home.deviation, home.is_known))
    assert all(one > other for (one, _), (other, _) in pairwise(seen))
    assert [is_known for _, is_known in seen] == [False, False, False, True]


def test_teams_that_are_known_as_usual_have_the_distribution_of_a_given_margin_to_the_last_bit(
    shipped: Forecaster,
) -> None:
    ratings = after_rounds(shipped.bundled_ratings, 2024, date(2023, 10, 24), 30)
    forecast = asked(shipped, ratings, date(2023, 12, 24), record=True, quantile_levels=(0.1, 0.9))
    same = without_knowledge(shipped, forecast, record=True, quantile_levels=(0.1, 0.9))
    for name in ("interval", "distribution", "home_lead_probability", "quantiles"):
        assert getattr(forecast, name) == getattr(same, name)


def test_a_given_margin_says_nothing_of_the_teams(shipped: Forecaster) -> None:
    forecast = asked(shipped, None, date(2026, 11, 28), pregame_margin=3.0, market=MARKET)
    assert forecast.teams_known == ()
    assert forecast.market is not None
    assert not forecast.market.hardly_known


def test_days_of_play_that_were_not_seen_make_teams_less_known_than_a_break(shipped: Forecaster) -> None:
    """A gap in a season, and whole seasons; so one final afterwards does not make a team well known."""
    december = after_rounds(shipped.bundled_ratings, 2024, date(2023, 10, 24), 30)

    def deviation(season: int, day: date) -> float:
        after = december.after(GameResult("BOS", "LAL", season, day, 5.0))
        return asked(shipped, after, day + timedelta(1)).teams_known[0].deviation

    in_time, late = deviation(2024, date(2023, 12, 27)), deviation(2024, date(2024, 4, 1))
    one, two, three = (deviation(season, date(season - 1, 10, 25)) for season in (2025, 2026, 2027))
    assert in_time < 2.3 < late < three
    assert in_time < one < two < three
    # Each season that passes carries about half of a strength, so old games soon say nothing.
    assert three - two < two - one
