"""The schedule before a game, and the terms of schedule, playoffs and altitude in the expected margin."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dejavu_feed.off_season import season_on
from dejavu_models.forecaster.active_state import Expectations, RatedGame
from dejavu_models.live_ratings import RatedSchedule
from dejavu_models.ratings import CODES, LEVEL, RatingFilter
from dejavu_models.schedule import (
    MAX_BREAK,
    GameSchedule,
    GameTerms,
    ScheduleHistory,
    TeamSchedule,
    TotalTerms,
    game_terms,
    total_terms,
)
from dejavu_models.types import ExpectedMarginTerms

Played = tuple[date, str, str]


OPENING = date(2030, 10, 22)


JANUARY = date(2031, 1, 10)


def history(*games: tuple[int, str, str]) -> ScheduleHistory:
    """Return the history of games: days since a day in January, home and away team."""
    state = ScheduleHistory()
    for day, home, away in games:
        state = state.after(JANUARY + timedelta(day), home, away)
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


@pytest.mark.parametrize(
    ("known", "day", "due"),
    [
        (ScheduleHistory(), JANUARY, GameSchedule()),
        (history((-80, "BOS", "LAL")), JANUARY, GameSchedule()),  # other games were played since, but not seen
        # The ledger of a server that was started in January begins with the first final that it saw.
        (history((-1, "LAL", "DEN")), JANUARY, GameSchedule(TeamSchedule(True))),
        # A break of the season is no gap; a longer one is.
        (
            history((-1 - MAX_BREAK, "DEN", "BOS"), (-1, "NYK", "BOS")),
            JANUARY,
            GameSchedule(TeamSchedule(False, 1), TeamSchedule(True, 2)),
        ),
        (
            history((-2 - MAX_BREAK, "DEN", "BOS"), (-1, "NYK", "BOS")),
            JANUARY,
            GameSchedule(TeamSchedule(), TeamSchedule(True)),
        ),
    ],
    ids=["no history", "old history", "begun yesterday", "break", "gap"],
)
def test_days_before_a_history_and_within_a_gap_are_not_known(
    known: ScheduleHistory, day: date | None, due: GameSchedule
) -> None:
    assert known.before(day, "DEN", "BOS") == due


def test_games_of_an_earlier_season_or_from_before_a_gap_change_nothing() -> None:
    state = history((0, "BOS", "LAL"))
    assert state.after(date(2030, 4, 1), "BOS", "NYK") == state
    assert state.after(JANUARY - timedelta(1), "BOS", "NYK") == state


def test_a_history_is_bounded_and_so_are_the_terms_of_impossible_finals() -> None:
    state = history(*((day // 30, "BOS", "LAL") for day in range(1000)))
    assert {len(games) for games in state.games.values()} == {128}
    schedule = state.before(JANUARY + timedelta(34), "BOS", "MIA")
    assert game_terms(schedule, "BOS", is_playoffs=False).games_in_6_days == 6 - 1


WEEK = history((-9, "UTA", "NYK"), (0, "BOS", "LAL"), (1, "NYK", "LAL"), (2, "DEN", "BOS"), (3, "MIA", "LAL"))


@pytest.mark.parametrize(
    ("day", "home", "away", "due", "back_to_backs"),
    [
        (4, "BOS", "LAL", GameTerms(back_to_back=-1, games_in_6_days=-1), 1),
        (4, "LAL", "BOS", GameTerms(back_to_back=1, games_in_6_days=1), 1),
        (4, "UTA", "LAL", GameTerms(back_to_back=-1, games_in_6_days=-3, altitude=1), 1),
        (3, "DEN", "NYK", GameTerms(back_to_back=1, altitude=1), 1),
        (40, "DEN", "LAL", GameTerms(altitude=1), 0),  # nothing is known then
    ],
)
def test_terms_tell_who_is_more_tired_and_where_air_is_thin(
    day: int, home: str, away: str, due: GameTerms, back_to_backs: int
) -> None:
    schedule = WEEK.before(JANUARY + timedelta(day), home, away)
    assert schedule.is_known is (day < 40)
    for playoffs in (False, True):
        assert game_terms(schedule, home, is_playoffs=playoffs) == due._replace(playoffs=playoffs)
        total = TotalTerms(back_to_backs=back_to_backs, playoffs=playoffs, altitude=due.altitude)
        assert total_terms(schedule, home, is_playoffs=playoffs) == total


@pytest.mark.parametrize(
    ("day", "home", "away", "given", "neutral"),
    [
        (date(2024, 1, 11), "CLE", "BKN", None, True),  # Paris
        (date(2024, 1, 11), "DEN", "NOP", None, False),
        (date(2031, 1, 20), "DEN", "BOS", True, True),
        (date(2024, 1, 11), "CLE", "BKN", False, False),
        (None, "DEN", "BOS", True, True),
    ],
)
def test_nobody_is_at_home_at_a_neutral_site(
    day: date | None, home: str, away: str, given: bool | None, neutral: bool
) -> None:
    for known in (ScheduleHistory(), history((9, "LAL", "MIA"))):
        terms = game_terms(known.before(day, home, away, neutral_site=given), home, is_playoffs=False)
        assert (terms.home, terms.altitude) == ((0, 0) if neutral else (1, float(home == "DEN")))


def with_coefficients() -> RatingFilter:
    state = RatingFilter.start().predict(2030, date(2030, 6, 1)).predict(2031)
    mean = state.mean.copy()
    mean[:LEVEL], mean[LEVEL:] = np.arange(LEVEL) / 10, (3.0, -2.0, -0.5, 0.75, 1.5)
    return replace(state, mean=mean, date=OPENING - timedelta(9))


RATED = RatedSchedule.start(with_coefficients())


FOURTH = JANUARY + timedelta(4)


@pytest.mark.parametrize(
    ("schedule", "game", "due"),
    [
        (WEEK, RatedGame("BOS", "LAL", FOURTH), {"schedule": 2.5, "schedule_known": True}),
        (WEEK, RatedGame("BOS", "LAL", FOURTH, True), {"schedule": 2.5, "schedule_known": True, "playoffs": 0.75}),
        (WEEK, RatedGame("DEN", "LAL", FOURTH), {"schedule": 3.0, "schedule_known": True, "altitude": 1.5}),
        (
            WEEK,
            RatedGame("DEN", "LAL", FOURTH, neutral_site=True),
            {"schedule": 3.0, "schedule_known": True, "home_advantage": 0.0},
        ),
        # nothing is known then
        (WEEK, RatedGame("BOS", "LAL", JANUARY + timedelta(20)), {}),
        (WEEK, RatedGame("BOS", "LAL", None, True), {"playoffs": 0.75}),
        (ScheduleHistory(), RatedGame("UTA", "LAL", OPENING), {"altitude": 1.5}),
    ],
)
def test_an_expected_margin_is_the_sum_of_its_terms(
    schedule: ScheduleHistory, game: RatedGame, due: dict[str, float]
) -> None:
    terms = Expectations(replace(RATED, schedule=schedule)).margin_terms(game)
    assert terms.strength_difference == pytest.approx((CODES.index(game.home) - CODES.index(game.away)) / 10)
    assert terms == replace(ExpectedMarginTerms(terms.strength_difference, 3.0), **due)  # type: ignore[arg-type]
