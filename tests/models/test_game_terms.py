"""Terms by which schedule, playoffs and altitude enter the expected margin: in the filter and in answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from tests.support.builders.shipped import shipped_bundle

from dejavu_feed.live_inputs import LiveInputs
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import GameResult, LiveRatings, RatedSchedule
from dejavu_models.online_state import OnlineState
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import NO_TERMS, GameSchedule, GameTerms, ScheduleHistory, TeamSchedule, game_terms
from dejavu_models.team_filter import CODES, RatingSettings, carried_expectations
from dejavu_models.types import ExpectedMarginTerms, Horizon

OPENING = date(2030, 10, 22)
WORTH = GameTerms(3.0, -2.0, -0.5, 0.75, 1.5)
"""Points."""


def history(*games: tuple[int, str, str], since: date = OPENING) -> ScheduleHistory:
    """Return the history of games: days since the opening night, home and away team."""
    state = ScheduleHistory()
    for day, home, away in games:
        state = state.after(since + timedelta(day), home, away)
    return state


NEUTRAL = NO_TERMS._replace(home=0.0)
WEEK = history((0, "BOS", "LAL"), (1, "NYK", "LAL"), (2, "DEN", "BOS"), (3, "MIA", "LAL"))


@pytest.mark.parametrize(
    ("day", "home", "away", "due"),
    [
        (4, "BOS", "LAL", GameTerms(back_to_back=-1, games_in_6_days=-1)),
        (4, "LAL", "BOS", GameTerms(back_to_back=1, games_in_6_days=1)),
        (4, "MIA", "LAL", GameTerms(games_in_6_days=-2)),
        (4, "UTA", "LAL", GameTerms(back_to_back=-1, games_in_6_days=-3, altitude=1)),
        (3, "DEN", "NYK", GameTerms(back_to_back=1, altitude=1)),
        (9, "BOS", "LAL", NO_TERMS),
    ],
)
def test_terms_say_who_is_more_tired_and_where_air_is_thin(day: int, home: str, away: str, due: GameTerms) -> None:
    schedule = WEEK.before(OPENING + timedelta(day), home, away)
    assert schedule.is_known
    assert game_terms(schedule, home, is_playoffs=False) == due
    assert game_terms(schedule, home, is_playoffs=True) == due._replace(playoffs=1)


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        (GameSchedule(), GameTerms(altitude=1)),
        (ScheduleHistory().before(date(2031, 1, 20), "DEN", "BOS"), GameTerms(altitude=1)),
        (history((0, "LAL", "DEN"), since=date(2031, 1, 19)).before(date(2031, 1, 20), "DEN", "BOS"), None),
        (ScheduleHistory().before(date(2020, 8, 14), "DEN", "TOR"), NEUTRAL),  # played near Orlando
    ],
    ids=["no date", "no history", "begun yesterday", "not at home"],
)
def test_what_is_not_known_counts_as_equal_for_both(schedule: GameSchedule, due: GameTerms | None) -> None:
    assert not schedule.is_known
    played_yesterday = GameTerms(back_to_back=1, altitude=1)
    assert game_terms(schedule, "DEN", is_playoffs=False) == (due or played_yesterday)


@pytest.mark.parametrize(
    ("day", "home", "away", "given", "neutral"),
    [
        (date(2024, 1, 11), "CLE", "BKN", None, True),  # Paris
        (date(2024, 1, 11), "BKN", "CLE", None, True),
        (date(2024, 1, 11), "DEN", "NOP", None, False),
        (date(2024, 1, 12), "CLE", "BKN", None, False),
        (date(2020, 7, 29), "DEN", "UTA", None, False),
        (date(2020, 10, 11), "MIA", "LAL", None, True),
        (date(2031, 1, 20), "DEN", "BOS", True, True),
        (date(2031, 1, 20), "DEN", "BOS", None, False),
        (date(2024, 1, 11), "CLE", "BKN", False, False),
        (None, "DEN", "BOS", True, True),
    ],
)
def test_nobody_is_at_home_at_a_neutral_site(
    day: date | None, home: str, away: str, given: bool | None, neutral: bool
) -> None:
    terms = NO_TERMS
    for known in (ScheduleHistory(), history((0, "LAL", "MIA"), since=date(2031, 1, 19))):
        schedule = known.before(day, home, away, neutral_site=given)
        terms = game_terms(schedule, home, is_playoffs=False)
        assert (terms.home, terms.altitude) == ((0, 0) if neutral else (1, float(home == "DEN")))
    state = with_coefficients().ratings()
    difference = state.strengths[home] - state.strengths[away]
    at_home = 0.0 if neutral else state.home_advantage + terms.altitude * state.coefficients[-1]
    assert state.expected_margin(home, away, terms) == pytest.approx(difference + at_home)


def test_a_final_at_a_neutral_site_says_nothing_of_the_home_advantage() -> None:
    before = LiveRatings.start(with_coefficients())
    played = GameResult("BOS", "LAL", 2031, OPENING, 31.0, neutral_site=True)
    after = RatedSchedule(before).after(played).ratings.filter.ratings()
    assert after.home_advantage == before.filter.ratings().home_advantage
    assert after.strengths["BOS"] > before.filter.ratings().strengths["BOS"] + 1


def test_finals_that_cannot_be_move_no_margin_by_more_than_a_real_schedule() -> None:
    forged = GameSchedule(TeamSchedule(games_in_6_days=128), TeamSchedule(games_in_6_days=1), 10)
    assert game_terms(forged, "BOS", is_playoffs=False).games_in_6_days == 5


def with_coefficients(worth: GameTerms = WORTH, day: date = OPENING - timedelta(9)) -> RatingFilter:
    state = RatingFilter.start(RatingSettings()).predict(2030, np.datetime64("2030-06-01")).predict(2031)
    mean = state.mean.copy()
    mean[:30], mean[31:] = np.arange(30) / 10, worth[1:]
    return replace(state, mean=mean, date=np.datetime64(day))


def test_the_filter_finds_what_the_terms_are_worth() -> None:
    rng, games = np.random.default_rng(1), 3000
    terms = [GameTerms(1.0, *rng.integers(-1, 2, 2).tolist(), *rng.integers(0, 2, 2).tolist()) for _ in range(games)]
    teams = np.array([rng.choice(CODES, 2, replace=False) for _ in range(games)])
    final = np.round(np.array(terms) @ np.array(WORTH) + rng.normal(0, 10, games))
    days = np.datetime64("2030-10-20") + np.sort(rng.integers(0, 200, games)).astype("timedelta64[D]")
    start = RatingFilter.start(RatingSettings())
    means, _, state = carried_expectations(start, np.full(games, 2031), days, teams[:, 0], teams[:, 1], final, terms)
    found = state.ratings()
    errors = np.sqrt(np.diag(state.covariance)[31:])
    assert (np.abs(np.array(found.coefficients) - WORTH[1:]) < 4 * errors).all()
    assert errors.max() < 0.6
    ignored = carried_expectations(
        start, np.full(games, 2031), days, teams[:, 0], teams[:, 1], final, [NO_TERMS] * games
    )[0]
    assert np.square(final - means)[1000:].mean() < np.square(final - ignored)[1000:].mean() - 1


def test_a_result_counts_with_the_terms_of_its_game() -> None:
    """The visitors are tired: a loss by the margin expected of tired visitors says nothing of the teams."""
    state = RatedSchedule(LiveRatings.start(with_coefficients()))
    for day, home, away in ((0, "MIA", "LAL"), (1, "NYK", "LAL")):
        expected = state.ratings.filter.ratings().expected_margin(home, away)
        state = state.after(GameResult(home, away, 2031, OPENING + timedelta(day), expected, is_playoffs=False))
    before = state.ratings.filter.ratings()
    terms = GameTerms(back_to_back=-1, games_in_6_days=-2, playoffs=1)
    as_expected = before.expected_margin("BOS", "LAL", terms)
    assert as_expected > before.expected_margin("BOS", "LAL") + 2
    played = GameResult("BOS", "LAL", 2031, OPENING + timedelta(2), as_expected, is_playoffs=True)
    after = state.after(played).ratings.filter.ratings()
    assert dict(after.strengths) == pytest.approx(dict(before.strengths))
    assert state.after(played._replace(is_playoffs=False)).ratings.filter.ratings() != after


def test_games_that_a_bundle_knows_count_for_the_schedule_of_later_ones() -> None:
    """The bundle was refreshed last night: the games in the ledger still show which team is tired today."""
    bundled = with_coefficients(day=OPENING + timedelta(3))
    bundled = replace(bundled, awaits_season=False)
    state = RatedSchedule(LiveRatings.start(bundled))
    for day, home, away in ((0, "BOS", "LAL"), (3, "MIA", "LAL")):
        state = state.after(GameResult(home, away, 2031, OPENING + timedelta(day), 4.0))
    assert (state.ratings.filter, state.ratings.finals) == (bundled, 0)
    due = GameTerms(back_to_back=-1, games_in_6_days=-1)
    found = game_terms(state.schedule.before(OPENING + timedelta(4), "BOS", "LAL"), "BOS", is_playoffs=False)
    assert found == due


# ---------------------------------------------------------------- in answers


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


def test_an_answer_says_what_its_expected_margin_is_made_of(rated: Forecaster) -> None:
    rated.update(OnlineState(9, schedule=WEEK))
    strengths = rated.ratings.strengths
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
    for schedule in (None, ScheduleHistory()):
        rated.update(OnlineState(schedule=schedule))
        assert margin_terms(rated, game_date=OPENING).schedule_known is False
        assert margin_terms(rated, home_team="UTA").altitude == 1.5
