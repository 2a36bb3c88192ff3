"""Ratings as a server carries them are those that the trainer evaluates: the same margins before every game."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from itertools import chain

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dejavu_models.expectations import Expectations, RatedGame
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import GameResult, RatedSchedule
from dejavu_models.online_state import OnlineState
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import GameTerms, ScheduleHistory, game_terms
from dejavu_models.team_filter import CODES, RatingSettings, carried_expectations
from dejavu_models.types import Horizon

SETTINGS = RatingSettings(daily=0.04, carry=0.63, seasonal=6.9, home_daily=0.001)
TOLERANCE = 1e-9
"""In points."""


Evening = list[GameResult]
"""The games of a day, in the order of the data; their finals are reported in the reverse order."""


def seasons_of(seed: int, first: int, number: int, days: int) -> list[Evening]:
    """Simulate seasons: some days of each, at random in it and the day after, with up to seven games a day."""
    rng, evenings = np.random.default_rng(seed), list[Evening]()
    for season in range(first, first + number):
        opening = date(season - 1, 10, 16) + timedelta(int(rng.integers(0, 12)))
        drawn = rng.choice(240, days, replace=False).tolist()
        for offset in sorted({*drawn, *(each + 1 for each in drawn[::2])}):
            teams = rng.permutation(CODES)[: 2 * int(rng.integers(1, 8))].tolist()
            evenings.append(
                [
                    GameResult(
                        *pair, season, opening + timedelta(offset), float(round(rng.normal(2.5, 14))), offset > 180
                    )
                    for pair in zip(teams[::2], teams[1::2], strict=True)
                ]
            )
    return evenings


def evaluated(start: RatingFilter, evenings: list[Evening], earlier: list[Evening]) -> tuple[list[float], RatingFilter]:
    """Return the margins that the trainer expects of each game, in points, and its state at the end.

    Args:
        start: its state before the games.
        evenings: the games.
        earlier: games before them that only their schedule follows.
    """
    history, terms, games = ScheduleHistory(), list[GameTerms](), list(chain(*evenings))
    for game in chain(*earlier, games):
        schedule = history.before(game.day, game.home, game.away)
        terms.append(game_terms(schedule, game.home, is_playoffs=game.is_playoffs))
        history = history.after(game.day, game.home, game.away)
    home, away, season, day, final = list(zip(*games, strict=True))[:5]
    columns = np.array(season), np.array(day, dtype="datetime64[D]"), np.array(home), np.array(away), np.array(final)
    means, _, after = carried_expectations(start, *columns, terms[-len(games) :])
    return means.tolist(), after


def served(bundled: RatingFilter, evenings: list[Evening], earlier: list[Evening]) -> tuple[list[float], RatingFilter]:
    """Return the margins that a server expects if the finals of a day are reported before the next day.

    Args:
        bundled: the ratings of its bundle.
        evenings: the games.
        earlier: games before them whose finals are in its ledger, although the bundle knows them.
    """
    live, margins = RatedSchedule.start(bundled), list[float]()
    for game in chain(*earlier):
        live = live.after(game)
    assert live.ratings.filter is bundled
    for evening in evenings:
        expected = Expectations(live)
        margins += [
            expected.margin_terms(RatedGame(game.home, game.away, game.day, game.is_playoffs)).margin
            for game in evening
        ]
        for game in reversed(evening):
            live = live.after(game)
    return margins, live.ratings.filter


@given(
    seed=st.integers(0, 10**6),
    days=st.integers(2, 12),
    share=st.floats(0.05, 0.5),
    is_over=st.booleans(),
    missing=st.integers(0, 1),
    followed=st.booleans(),
)
# published in summer, like the shipped bundle
@example(seed=1, days=12, share=0.25, is_over=True, missing=0, followed=False)
# refreshed during a season
@example(seed=1, days=12, share=0.375, is_over=False, missing=0, followed=False)
# refreshed during a season that the ledger has from its start
@example(seed=1, days=12, share=0.375, is_over=False, missing=0, followed=True)
# a season without a reported final
@example(seed=1, days=12, share=0.5, is_over=True, missing=1, followed=False)
# a season that is over, without a report of its end
@example(seed=1, days=12, share=0.5, is_over=False, missing=0, followed=True)
def test_a_server_expects_what_the_trainer_evaluates(
    seed: int, days: int, share: float, is_over: bool, missing: int, followed: bool
) -> None:
    evenings = seasons_of(seed, 2031, 4, days)
    before, later = evenings[: max(1, int(share * len(evenings)))], evenings[max(1, int(share * len(evenings))) :]
    _, state = evaluated(RatingFilter.start(SETTINGS), before, [])
    bundled, season = state, before[-1][0].season
    if is_over:
        bundled = state.predict(season + 1)
        later = [evening for evening in later if evening[0].season > season + missing]
    earlier = before if followed else []
    due, after = evaluated(state, later, earlier)
    found, final = served(bundled, later, earlier)
    assert found == pytest.approx(due, abs=TOLERANCE)
    assert np.abs(final.mean - after.mean).max() < TOLERANCE
    assert np.abs(final.covariance - after.covariance).max() < TOLERANCE
    assert (final.season, final.date) == (after.season, after.date)


def test_an_opening_night_after_a_season_that_was_served_finds_regressed_ratings(shipped: Forecaster) -> None:
    """Teams that were known in June are rated in October, with the intervals of frozen ratings."""
    live = shipped.bundled_ratings
    assert live.ratings.filter.awaits_season
    for game in range(110):
        home, away = ("BOS", "BKN") if game % 2 else ("LAL", "DEN")
        live = live.after(GameResult(home, away, 2025, date(2024, 10, 24) + timedelta(2 * game), 20.0))
    shipped.update(OnlineState(9, rated=live))
    june = ForecastQuery(
        ScorePattern((0.0, 2.0, 3.0)), Horizon.FINAL, 0.2, "BOS", "BKN", game_date=date(2025, 6, 10), record=True
    )  # fmt: skip
    october = replace(june, game_date=date(2025, 10, 22))
    in_june, in_october = shipped.forecast(june), shipped.forecast(october)
    state = live.ratings.filter
    now, due = (each.expected("BOS", "BKN")[0] for each in (state, state.predict(2026)))
    assert (in_june.expected_margin, in_october.expected_margin) == pytest.approx((now, due), abs=TOLERANCE)
    assert due < now - 1
    for forecast, query, is_known in ((in_june, june, True), (in_october, october, False)):
        known = replace(query, home_team="", away_team="", pregame_margin=forecast.expected_margin)
        assert (shipped.forecast(known).distribution == forecast.distribution) is is_known
