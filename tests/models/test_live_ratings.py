"""Ratings that advance with reported finals: those of a bundle, of the season in play, and after a gap."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from dejavu_models.live_ratings import KNOWN_GAMES, GameResult, LiveRatings, RatedSchedule, have_known_games
from dejavu_models.ratings import RatingFilter
from dejavu_models.team_filter import CODES, LEVEL, RatingSettings, TotalFilter

SETTINGS = RatingSettings()
LAST = date(2023, 6, 12)


def start() -> LiveRatings:
    """Return ratings of a bundle for the season 2024, with the last game in June 2023."""
    state = RatingFilter.start(SETTINGS).predict(2023, LAST).update("DEN", "MIA", 5.0)
    return LiveRatings.start(state.predict(2024))


def result(home: str = "BOS", away: str = "NYK", *, day: int = 140, **fields: Any) -> GameResult:
    given_: dict[str, Any] = {"season": 2024, "day": LAST + timedelta(days=day), "differential": 4.0, **fields}
    return GameResult(home, away, **given_)


def carried(results: list[GameResult]) -> LiveRatings:
    state = start()
    for each in results:
        state = state.after(each)
    return state


@pytest.mark.parametrize("day", [0, -200])
def test_games_that_the_bundles_ratings_include_move_them_no_more_and_count_as_seen(day: int) -> None:
    before = start()
    after = before.after(result(day=day))
    assert (after.filter, after.finals, after.newest) == (before.filter, before.finals, before.newest)
    assert after.games == {"BOS": 1, "NYK": 1}


def test_a_game_of_a_season_that_is_over_changes_nothing() -> None:
    before = carried([result()])
    assert before.after(result(season=2023, day=30)) is before


def test_a_game_told_of_late_counts_without_turning_the_clock_back() -> None:
    before = carried([result(day=160)])
    after = before.after(result("LAL", "UTA", day=150))
    assert after.newest == before.newest
    assert after.games == {"BOS": 1, "NYK": 1, "LAL": 1, "UTA": 1}
    assert not np.array_equal(after.filter.mean, before.filter.mean)


def test_a_final_at_a_neutral_site_contains_no_information_on_the_home_advantage() -> None:
    before = RatedSchedule.start(start().filter)
    after = before.after(result(differential=31.0, neutral_site=True)).ratings.filter
    assert after.mean[LEVEL] == before.ratings.filter.mean[LEVEL]
    assert after.strengths["BOS"] > before.ratings.filter.strengths["BOS"] + 1


def test_ratings_of_totals_advance_with_the_others_and_wait_for_totals_that_are_not_known() -> None:
    state = RatedSchedule.start(start().filter, TotalFilter.start().predict(2024, LAST))
    known, unknown = (state.after(result(total=total)) for total in (251.0, None))
    assert known.ratings.filter.mean.tolist() == unknown.ratings.filter.mean.tolist()
    assert unknown.totals is state.totals
    assert state.totals is not None
    assert known.totals is not None
    due = state.totals.filter.predict(2024, result().day).update("BOS", "NYK", 251.0)
    assert known.totals.filter.mean.tolist() == due.mean.tolist()
    # A game that the ratings include moves them no more, and counts as one of the season's.
    included = state.after(result(total=251.0, day=0)).totals
    assert included is not None
    assert (included.filter, included.games) == (state.totals.filter, {"BOS": 1, "NYK": 1})
    assert state.after(result(total=251.0, day=30, season=2023)).totals is state.totals
    assert RatedSchedule.start(start().filter).after(result(total=251.0)).totals is None


def test_teams_are_known_once_both_have_had_enough_games_of_the_season() -> None:
    state = start()
    for game in range(KNOWN_GAMES):
        assert not have_known_games(state.games, "BOS", "NYK")
        state = state.after(result(day=140 + game))
    assert have_known_games(state.games, "BOS", "NYK")
    assert not have_known_games(state.games, "BOS", "LAL")


GAP = LAST + timedelta(days=1258)
"""Three seasons after the last final of `start`."""


def after_gap(home: str, away: str, days: int = 0) -> GameResult:
    return result(home, away, season=2027, day=(GAP - LAST).days + days)


EVENING = [after_gap(home, away) for home, away in zip(CODES[::2], CODES[1::2], strict=True)]
ALL = dict.fromkeys(CODES, LAST)
UNSEEN: dict[str, tuple[list[GameResult], dict[str, date | None]]] = {
    "a first result": ([after_gap("BOS", "NYK")], {**ALL, "BOS": None, "NYK": None}),
    "a second one": (
        [after_gap("BOS", "NYK"), after_gap("WAS", "BOS", 1)],
        {**ALL, "BOS": None, "NYK": None, "WAS": None},
    ),
    "all but one game": (EVENING[:-1], dict.fromkeys([EVENING[-1].home, EVENING[-1].away], LAST)),
    "all teams": (EVENING, {}),
    "thirty days": ([result(), result(day=170)], {}),
    "a day more": ([result(), result(day=171)], {**dict.fromkeys(CODES, result().day), "BOS": None, "NYK": None}),
    "a second gap": (
        [after_gap("BOS", "NYK"), after_gap("WAS", "OKC", 60)],
        {**ALL, "BOS": GAP, "NYK": GAP, "WAS": None, "OKC": None},
    ),
    "a final of within the gap told late": (
        [result(), result(day=240), result("WAS", "OKC", day=180), result("OKC", "LAL", day=239)],
        {**dict.fromkeys(CODES, result().day), "BOS": None, "NYK": None, "WAS": result(day=180).day}
        | {"OKC": None, "LAL": None},
    ),
}


@pytest.mark.parametrize(("results", "due"), UNSEEN.values(), ids=UNSEEN)
def test_after_a_gap_only_teams_with_a_result_since_are_known(
    results: list[GameResult], due: dict[str, date | None]
) -> None:
    assert carried(results).unseen == {code: day for code, day in due.items() if day is not None}
