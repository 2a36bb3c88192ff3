"""The schedule before a game, and the terms of schedule, playoffs and altitude in the expected margin."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.builders.shipped import shipped_bundle

from dejavu_feed.live_inputs import LiveInputs
from dejavu_feed.off_season import season_on
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import GameResult, LiveRatings, RatedSchedule
from dejavu_models.online_state import INITIAL, OnlineState
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import (
    MAX_BREAK,
    NO_TERMS,
    GameSchedule,
    GameTerms,
    ScheduleHistory,
    TeamSchedule,
    TotalTerms,
    game_terms,
    total_terms,
)
from dejavu_models.team_filter import CODES, LEVEL, RatingSettings
from dejavu_models.types import ExpectedMarginTerms, Horizon

Played = tuple[date, str, str]
OPENING = date(2030, 10, 22)
JANUARY = date(2031, 1, 10)


def history(*games: tuple[int, str, str], since: date = OPENING) -> ScheduleHistory:
    """Return the history of games: days since a date, home and away team."""
    state = ScheduleHistory()
    for day, home, away in games:
        state = state.after(since + timedelta(day), home, away)
    return state


def seasons(seed: int, teams: int, days: int) -> list[Played]:
    """Draw the games of two seasons: up to two an evening, without a break of more than MAX_BREAK days."""
    rng, games = random.Random(seed), list[Played]()
    for opening in (OPENING, date(2031, 10, 24)):
        day = opening
        for _ in range(days):
            playing = rng.sample(CODES[:teams], 2 * rng.randint(1, 2))
            games += [(day, home, away) for home, away in zip(playing[::2], playing[1::2], strict=True)]
            day += timedelta(rng.choice((1, 1, 1, 1, 2, 2, 3, 7, MAX_BREAK)))
    return sorted(games)


def counted(games: list[Played], code: str, day: date) -> TeamSchedule:
    """Compute the schedule of a team by counts over all games."""
    ages = [(day - each[0]).days for each in games if code in each[1:] and season_on(each[0]) == season_on(day)]
    return TeamSchedule(1 in ages, 1 + sum(1 <= age < 6 for age in ages))


@given(seed=st.integers(0, 10**6), teams=st.integers(4, 30), days=st.integers(1, 40), late=st.randoms())
@example(seed=0, teams=4, days=40, late=random.Random(1))
def test_a_schedule_is_a_count_over_earlier_games_in_any_order_of_reports(
    seed: int, teams: int, days: int, late: random.Random
) -> None:
    games = seasons(seed, teams, days)
    state = ScheduleHistory()
    for day, home, away in sorted(games, key=lambda each: (each[0], late.random())):
        due = counted(games, home, day), counted(games, away, day)
        assert state.before(day, home, away)[:2] == due
        state = state.after(day, home, away)
        assert state.before(day, home, away)[:2] == due, "a game does not count for its own day"


def test_a_final_that_is_reported_late_counts_as_if_it_had_been_in_time() -> None:
    games = [((day - OPENING).days, home, away) for day, home, away in seasons(3, 8, 20)[:20]]
    assert history(*games[:4], *games[5:], games[4]) == history(*games)


@pytest.mark.parametrize(
    ("known", "day", "due"),
    [
        (ScheduleHistory(), JANUARY, GameSchedule()),
        (history((0, "BOS", "LAL")), JANUARY, GameSchedule()),  # other games were played since, but not seen
        (history((0, "LAL", "DEN")), None, GameSchedule()),
        # The ledger of a server that was started in January begins with the first final that it saw.
        (history((-1, "LAL", "DEN"), since=JANUARY), JANUARY, GameSchedule(TeamSchedule(played_yesterday=True))),
        (
            history((-5, "LAL", "DEN"), (-1, "NYK", "BOS"), since=JANUARY),
            JANUARY,
            GameSchedule(TeamSchedule(False, 2), TeamSchedule(True, 2)),
        ),
        # A break of the season is no gap; a longer one is.
        (
            history((0, "DEN", "BOS"), (MAX_BREAK, "NYK", "BOS"), since=JANUARY - timedelta(1 + MAX_BREAK)),
            JANUARY,
            GameSchedule(TeamSchedule(False, 1), TeamSchedule(True, 2)),
        ),
        (
            history((0, "DEN", "BOS"), (MAX_BREAK + 1, "NYK", "BOS"), since=JANUARY - timedelta(2 + MAX_BREAK)),
            JANUARY,
            GameSchedule(TeamSchedule(), TeamSchedule(played_yesterday=True)),
        ),
    ],
    ids=["no history", "old history", "no date", "begun yesterday", "begun five days ago", "break", "gap"],
)
def test_days_before_a_history_and_within_a_gap_are_not_known(
    known: ScheduleHistory, day: date | None, due: GameSchedule
) -> None:
    assert known.before(day, "DEN", "BOS") == due


def test_games_of_an_earlier_season_or_from_before_a_gap_change_nothing() -> None:
    state = history((0, "BOS", "LAL"), since=JANUARY)
    assert state.after(date(2030, 4, 1), "BOS", "NYK") == state
    assert state.after(JANUARY - timedelta(1), "BOS", "NYK") == state


def test_a_history_is_bounded_and_so_are_the_terms_of_impossible_finals() -> None:
    state = history(*((day // 30, "BOS", "LAL") for day in range(1000)), since=JANUARY)
    assert {len(games) for games in state.games.values()} == {128}
    schedule = state.before(JANUARY + timedelta(34), "BOS", "MIA")
    assert game_terms(schedule, "BOS", is_playoffs=False).games_in_6_days == 6 - 1


NEUTRAL = NO_TERMS._replace(home=0.0)
WEEK = history((0, "BOS", "LAL"), (1, "NYK", "LAL"), (2, "DEN", "BOS"), (3, "MIA", "LAL"))


@pytest.mark.parametrize(
    ("day", "home", "away", "due", "back_to_backs"),
    [
        (4, "BOS", "LAL", GameTerms(back_to_back=-1, games_in_6_days=-1), 1),
        (4, "LAL", "BOS", GameTerms(back_to_back=1, games_in_6_days=1), 1),
        (4, "MIA", "LAL", GameTerms(games_in_6_days=-2), 2),
        (4, "UTA", "LAL", GameTerms(back_to_back=-1, games_in_6_days=-3, altitude=1), 1),
        (3, "DEN", "NYK", GameTerms(back_to_back=1, altitude=1), 1),
        (9, "BOS", "LAL", NO_TERMS, 0),
        (40, "DEN", "LAL", GameTerms(altitude=1), 0),  # nothing is known then
    ],
)
def test_terms_tell_who_is_more_tired_and_where_air_is_thin(
    day: int, home: str, away: str, due: GameTerms, back_to_backs: int
) -> None:
    schedule = WEEK.before(OPENING + timedelta(day), home, away)
    assert schedule.is_known is (day < 40)
    for playoffs in (False, True):
        assert game_terms(schedule, home, is_playoffs=playoffs) == due._replace(playoffs=playoffs)
        total = TotalTerms(back_to_backs=back_to_backs, playoffs=playoffs, altitude=due.altitude)
        assert total_terms(schedule, home, is_playoffs=playoffs) == total


@pytest.mark.parametrize(
    ("day", "home", "away", "given", "neutral"),
    [
        (date(2024, 1, 11), "CLE", "BKN", None, True),  # Paris
        (date(2024, 1, 11), "BKN", "CLE", None, True),
        (date(2024, 1, 11), "DEN", "NOP", None, False),
        (date(2024, 1, 12), "CLE", "BKN", None, False),
        (date(2020, 7, 29), "DEN", "UTA", None, False),
        (date(2020, 10, 11), "MIA", "LAL", None, True),  # near Orlando
        (date(2031, 1, 20), "DEN", "BOS", True, True),
        (date(2031, 1, 20), "DEN", "BOS", None, False),
        (date(2024, 1, 11), "CLE", "BKN", False, False),
        (None, "DEN", "BOS", True, True),
    ],
)
def test_nobody_is_at_home_at_a_neutral_site(
    day: date | None, home: str, away: str, given: bool | None, neutral: bool
) -> None:
    for known in (ScheduleHistory(), history((0, "LAL", "MIA"), since=date(2031, 1, 19))):
        terms = game_terms(known.before(day, home, away, neutral_site=given), home, is_playoffs=False)
        assert (terms.home, terms.altitude) == ((0, 0) if neutral else (1, float(home == "DEN")))


WORTH = GameTerms(3.0, -2.0, -0.5, 0.75, 1.5)
"""Points."""


def with_coefficients() -> RatingFilter:
    state = RatingFilter.start(RatingSettings()).predict(2030, np.datetime64("2030-06-01")).predict(2031)
    mean = state.mean.copy()
    mean[:30], mean[31:] = np.arange(30) / 10, WORTH[1:]
    return replace(state, mean=mean, date=np.datetime64(OPENING - timedelta(9)))


def test_a_final_at_a_neutral_site_contains_no_information_on_the_home_advantage() -> None:
    before = LiveRatings.start(with_coefficients())
    played = GameResult("BOS", "LAL", 2031, OPENING, 31.0, neutral_site=True)
    after = RatedSchedule(before).after(played).ratings.filter
    assert after.mean[LEVEL] == before.filter.mean[LEVEL]
    assert after.strengths["BOS"] > before.filter.strengths["BOS"] + 1


@pytest.fixture(scope="module")
def rated() -> Forecaster:
    """The shipped models with coefficients."""
    shipped = shipped_bundle()
    return Forecaster(shipped.manifest, shipped.models, shipped.calibration, with_coefficients())


def asked(**fields: Any) -> ForecastQuery:
    given = {"home_team": "BOS", "away_team": "LAL", "game_date": OPENING + timedelta(4), **fields}
    return ForecastQuery(ScorePattern((0.0, 2.0)), Horizon.FINAL, **given)


def margin_terms(model: Forecaster, **fields: Any) -> ExpectedMarginTerms:
    forecast = model.forecast(asked(**fields))
    assert forecast.expected_margin_terms is not None
    assert forecast.expected_margin == forecast.expected_margin_terms.margin
    return forecast.expected_margin_terms


def test_a_forecast_states_the_terms_of_its_expected_margin(rated: Forecaster) -> None:
    rated.update(OnlineState(9, rated=replace(rated.bundled_ratings, schedule=WEEK)))
    strengths = rated.rating_filter.strengths
    tired = margin_terms(rated)
    due = strengths["BOS"] - strengths["LAL"], 3.0
    assert tired == ExpectedMarginTerms(*due, schedule=2.5, schedule_known=True)
    assert margin_terms(rated, is_playoffs=True) == replace(tired, playoffs=0.75)
    assert margin_terms(rated, game_date=OPENING + timedelta(20)) == ExpectedMarginTerms(*due), "nothing is known then"
    assert margin_terms(rated, game_date=None, is_playoffs=True) == ExpectedMarginTerms(*due, playoffs=0.75)
    high = margin_terms(rated, home_team="DEN")
    assert (high.altitude, high.schedule) == (1.5, 3.0), "Denver has played less than Boston"
    assert rated.forecast(asked()).point > rated.forecast(asked(game_date=None)).point
    neutral = margin_terms(rated, live=LiveInputs(neutral_site=True))
    assert (neutral.home_advantage, neutral.schedule) == (0.0, 2.5)
    for other in ({"pregame_margin": 2.0}, {"away_team": ""}):
        assert rated.forecast(asked(**other)).expected_margin_terms is None


def test_without_reported_finals_the_schedule_is_not_known(rated: Forecaster) -> None:
    rated.update(INITIAL)
    assert margin_terms(rated, game_date=OPENING).schedule_known is False
    assert margin_terms(rated, home_team="UTA").altitude == 1.5
