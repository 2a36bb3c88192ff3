"""How well the ratings know a team: the part of its strength from games of this season, and the consequences."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from tests.support.harness.present import present

from dejavu_feed.live_inputs import LiveInputs
from dejavu_feed.teams import DECEMBER_DEVIATION, OPENING_DEVIATION
from dejavu_models.betting import Market, MarketKind
from dejavu_models.components.linear import MARGIN_SLOPE
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import KNOWN_GAMES, GameResult, OnlineState, RatedSchedule
from dejavu_models.ratings import CODES, USUAL_VARIANCES
from dejavu_models.types import Forecast, Horizon, MarginSource, WarningReason
from dejavu_models.uncertainty.adaptive import NORMAL

JUNE = date(2024, 6, 17)
"""Date of the newest final that the ratings of the shipped bundle know."""


PATTERN = ScorePattern((2.0, 3.0, 5.0, 1.0, 2.0, 4.0))


QUERY = ForecastQuery(PATTERN, Horizon.FINAL, 0.05, "BOS", "LAL")


MARKET = Market(0.5, 2.4, 1.6)


def after_rounds(start: RatedSchedule, season: int, first: date, rounds: int, days: int = 2) -> RatedSchedule:
    """Return the state after games of all teams, every few days."""
    for number in range(rounds):
        day = first + timedelta(days * number)
        codes = [CODES[0], *(CODES[1 + (index + number) % 29] for index in range(29))]
        for one, other in zip(codes[:15], codes[:14:-1], strict=True):
            home, away = (one, other) if number % 2 else (other, one)
            start = start.after(GameResult(home, away, season, day, 3.0, total=220.0))
    return start


AFTER_GAP = date(2025, 6, 5)


def after_gap(shipped: Forecaster) -> RatedSchedule:
    """Return the state after ten games of each team, and one of June."""
    ratings = after_rounds(shipped.bundled_ratings, 2025, date(2024, 10, 24), KNOWN_GAMES)
    return ratings.after(GameResult("BOS", "LAL", 2025, AFTER_GAP - timedelta(1), 3.0))


def asked(shipped: Forecaster, ratings: RatedSchedule, day: date | None, **fields: Any) -> Forecast:
    shipped.update(OnlineState(9, rated=ratings))
    return shipped.forecast(replace(QUERY, game_date=day, **fields))


def without_knowledge(shipped: Forecaster, forecast: Forecast, **fields: Any) -> Forecast:
    """Return the forecast with the same margin, given by the caller."""
    return shipped.forecast(replace(QUERY, pregame_margin=forecast.expected_margin, **fields))


@pytest.mark.parametrize("finals", [1, 2, 5])
def test_some_finals_do_not_make_ratings_of_june_2024_those_of_november_2026(shipped: Forecaster, finals: int) -> None:
    ratings = shipped.bundled_ratings
    for number in range(finals):
        ratings = ratings.after(GameResult("BOS", "LAL", 2027, date(2026, 11, 22) + timedelta(number), 5.0))
    forecast = asked(shipped, ratings, date(2026, 11, 28), markets=(MARKET,), record=True)
    assert [(known.finals, known.earlier_date) for known in forecast.teams_known] == [(finals, JUNE)] * 2
    assert min(known.deviation for known in forecast.teams_known) > OPENING_DEVIATION
    assert forecast.warnings == (WarningReason.TEAM_LITTLE_KNOWN,)
    assert forecast.market is not None
    assert forecast.market.unrated
    assert (forecast.market.side, forecast.market.stake) == (None, 0.0)
    given_margin = without_knowledge(shipped, forecast, record=True)
    widths = [each.distribution[-1] - each.distribution[0] for each in (forecast, given_margin)]
    assert widths[0] > widths[1]
    assert abs(forecast.home_lead_probability - 0.5) < abs(given_margin.home_lead_probability - 0.5)


def test_a_usual_season_goes_from_partly_to_well_known_by_december(shipped: Forecaster) -> None:
    """From then on, there is a stake and no warning."""
    seen = []
    for rounds in (0, 5, 10, 30):
        ratings = after_rounds(shipped.bundled_ratings, 2025, date(2024, 10, 24), rounds)
        day = date(2024, 10, 24) + timedelta(2 * rounds)
        forecast = asked(
            shipped, ratings, day, markets=(MARKET, Market(220.5, 1.9, 1.9, kind=MarketKind.TOTAL)), live=LiveInputs(30)
        )
        assert forecast.warnings == ()
        assert forecast.market is not None
        home, _ = forecast.teams_known
        assert (home.finals, home.earlier_date) == (rounds, JUNE)
        for market in (forecast.market, present(present(forecast.total).market)):
            assert market.unrated is (max(each.deviation for each in forecast.teams_known) > DECEMBER_DEVIATION)
            assert not (market.unrated and market.stake)
        seen.append((home.deviation, forecast.market.unrated))
    assert all(one > other for (one, _), (other, _) in pairwise(seen))
    assert [unrated for _, unrated in seen] == [True, True, True, False]


def test_a_given_margin_says_nothing_of_the_teams_but_for_the_total(shipped: Forecaster) -> None:
    ratings = shipped.bundled_ratings.after(GameResult("BOS", "LAL", 2027, date(2026, 11, 22), 5.0, total=220.0))
    day, total = date(2026, 11, 28), Market(220.5, 2.6, 1.6, kind=MarketKind.TOTAL)
    alone = asked(shipped, ratings, day, pregame_margin=3.0, markets=(MARKET,))
    assert alone.teams_known == ()
    both = asked(shipped, ratings, day, pregame_margin=3.0, markets=(MARKET, total), live=LiveInputs(30))
    assert [known.finals for known in both.teams_known] == [1, 1]
    of_line = replace(LiveInputs(30), pregame_total=221.5)
    assert asked(shipped, ratings, day, pregame_margin=3.0, markets=(total,), live=of_line).teams_known == ()
    for forecast in (alone, both):
        assert not present(forecast.market).unrated
        assert forecast.warnings == ()
    assert both.total is not None
    assert both.total.expected_total is not None
    assert present(both.total.market).unrated


def test_both_bets_of_a_query_share_the_caps_of_the_game(shipped: Forecaster) -> None:
    """One bet is on the lead, one on the points; the stakes of both were once twice the cap of a game."""
    ratings = after_rounds(shipped.bundled_ratings, 2025, date(2024, 10, 24), 30)
    live, total = LiveInputs(30), Market(217.5, 1.9, 1.95, bankroll=500.0, kind=MarketKind.TOTAL)
    alone = present(asked(shipped, ratings, date(2024, 12, 24), markets=(total,), live=live).total)
    assert present(alone.market).stake == pytest.approx(10.0)
    lead = Market(0.0, 1.7, 2.2, bankroll=1000.0)
    both = asked(shipped, ratings, date(2024, 12, 24), markets=(lead, total), live=live)
    assert present(both.market).stake == pytest.approx(20.0)
    assert both.total is not None
    assert both.total.market is not None
    assert (both.total.market.side, both.total.market.stake) == (None, 0.0)
    assert both.total.market.above.kelly_fraction > 0.05


def test_the_variance_beyond_the_usual_one_widens_the_distribution(shipped: Forecaster) -> None:
    """Results were missing for months, but each team has the games that make its margin count as known."""
    ratings, levels = after_gap(shipped), (0.1, 0.5, 0.9)
    forecast = asked(shipped, ratings, AFTER_GAP, record=True, quantile_levels=levels)
    same = without_knowledge(shipped, forecast, record=True, quantile_levels=levels)
    scores = [NORMAL.inv_cdf(each.home_lead_probability) for each in (same, forecast)]
    state = ratings.ratings.filter
    variance = state.predict(2025, AFTER_GAP).expected("BOS", "LAL")[1] - state.settings.noise
    slope = shipped.models.linear.coefficients[1, len(PATTERN.differentials)][1, MARGIN_SLOPE]
    added = slope**2 * (variance - USUAL_VARIANCES[MarginSource.KNOWN])
    assert added > 10
    spread = (same.quantiles[2].value - same.quantiles[0].value) / (2 * NORMAL.inv_cdf(0.9))
    assert (scores[0] / scores[1]) ** 2 - 1 == pytest.approx(added / spread**2, rel=0.1)
    assert forecast.quantiles[1] == same.quantiles[1]
    assert forecast.point == same.point
    assert forecast.interval.lower < same.interval.lower
    assert forecast.interval.upper > same.interval.upper
    assert all(value.is_integer() for value in forecast.distribution)


def test_days_of_play_that_were_not_seen_make_teams_less_known_than_a_break(shipped: Forecaster) -> None:
    """A gap in a season, and whole seasons; so one final afterwards does not make a team well known."""
    december = after_rounds(shipped.bundled_ratings, 2025, date(2024, 10, 24), 30)

    def deviation(season: int, day: date) -> float:
        after = december.after(GameResult("BOS", "LAL", season, day, 5.0))
        return asked(shipped, after, day + timedelta(1)).teams_known[0].deviation

    in_time, late = deviation(2025, date(2024, 12, 27)), deviation(2025, date(2025, 4, 1))
    one, two, three = (deviation(season, date(season - 1, 10, 25)) for season in (2026, 2027, 2028))
    assert in_time < DECEMBER_DEVIATION < late < three
    assert in_time < one < two < three
    # Each new season keeps about half of a strength, so old games soon have no influence.
    assert three - two < two - one
