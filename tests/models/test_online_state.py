from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from dejavu_models.live_ratings import KNOWN_GAMES, GameResult, LiveRatings
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import NO_TERMS
from dejavu_models.team_filter import CODES, RatingSettings, carried_expectations

SETTINGS = RatingSettings()
LAST = date(2023, 6, 12)


def start() -> LiveRatings:
    """Return ratings of a bundle for the season 2024, with the last game in June 2023."""
    state = RatingFilter.start(SETTINGS).predict(2023, np.datetime64(LAST)).update("DEN", "MIA", 5.0)
    return LiveRatings.start(state.predict(2024))


def result(home: str = "BOS", away: str = "NYK", *, day: int = 140, **fields: Any) -> GameResult:
    given_: dict[str, Any] = {"season": 2024, "day": LAST + timedelta(days=day), "differential": 4.0, **fields}
    return GameResult(home, away, **given_)


def season(games: int) -> list[GameResult]:
    """Return one game per day, each between two random teams."""
    rng = np.random.default_rng(games)
    pairs = [rng.choice(CODES, 2, replace=False).tolist() for _ in range(games)]
    return [
        result(home, away, day=140 + place, differential=float(rng.integers(1, 30)))
        for place, (home, away) in enumerate(pairs)
    ]


def carried(results: list[GameResult], before: LiveRatings | None = None) -> LiveRatings:
    state = before or start()
    for each in results:
        state = state.after(each)
    return state


def test_ratings_advance_as_training_carries_them() -> None:
    results = season(80)
    _, _, due = carried_expectations(
        start().filter,
        np.array([each.season for each in results]),
        np.array([each.day for each in results], dtype="datetime64[D]"),
        np.array([each.home for each in results]),
        np.array([each.away for each in results]),
        np.array([each.differential for each in results]),
        [NO_TERMS] * len(results),
    )
    found = carried(results).filter
    assert np.array_equal(found.mean, due.mean)
    assert np.array_equal(found.covariance, due.covariance)
    assert (found.season, found.date) == (due.season, due.date)


@pytest.mark.parametrize("day", [0, -200])
def test_games_that_the_bundles_ratings_include_move_them_no_more_and_count_as_seen(day: int) -> None:
    before = start()
    after = before.after(result(day=day))
    assert (after.filter, after.finals, after.newest) == (before.filter, before.finals, before.newest)
    assert after.games == {"BOS": 1, "NYK": 1}


def test_a_game_of_a_season_that_is_over_changes_nothing() -> None:
    before = carried(season(5))
    assert before.after(result(season=2023, day=30)) is before


def test_a_game_told_of_late_counts_without_turning_the_clock_back() -> None:
    before = carried([result(day=160)])
    after = before.after(result("LAL", "UTA", day=150))
    assert after.filter.date == before.filter.date
    assert after.games == {"BOS": 1, "NYK": 1, "LAL": 1, "UTA": 1}
    assert not np.array_equal(after.filter.mean, before.filter.mean)


def test_teams_are_known_once_both_have_had_enough_games_of_the_season() -> None:
    state = start()
    for game in range(KNOWN_GAMES):
        assert not state.known("BOS", "NYK")
        state = state.after(result(day=140 + game))
    assert state.known("BOS", "NYK")
    assert not state.known("BOS", "LAL")


@pytest.mark.parametrize(("season", "day", "summers"), [(2025, 510, 1), (2026, 875, 2)])
def test_a_new_season_draws_teams_together_and_counts_their_games_anew(season: int, day: int, summers: int) -> None:
    """Also one after a season without any report."""
    before = carried([result(day=140 + game, differential=30.0) for game in range(KNOWN_GAMES)])
    after = before.after(result("LAL", "UTA", season=season, day=day))
    assert after.games == {"LAL": 1, "UTA": 1}
    assert not after.known("BOS", "NYK")
    lead = [state.filter.mean[CODES.index("BOS")] - state.filter.mean[CODES.index("NYK")] for state in (before, after)]
    assert lead[1] == pytest.approx(SETTINGS.carry**summers * lead[0], rel=0.02)


GAP = date(2026, 11, 21)
"""Three seasons after the last final of `start`."""


def after_gap(home: str, away: str, days: int = 0) -> GameResult:
    return result(home, away, season=2027, day=(GAP - LAST).days + days)


def test_after_a_gap_only_teams_with_a_result_since_are_known() -> None:
    state = carried([after_gap("BOS", "NYK")])
    assert state.newest == GAP
    assert state.unseen == dict.fromkeys(set(CODES) - {"BOS", "NYK"}, LAST)
    assert carried([after_gap("WAS", "BOS", 1)], state).unseen == dict.fromkeys(
        set(CODES) - {"BOS", "NYK", "WAS"}, LAST
    )


def test_once_every_team_has_had_a_result_the_gap_is_forgotten() -> None:
    evening = [after_gap(home, away) for home, away in zip(CODES[::2], CODES[1::2], strict=True)]
    assert len(carried(evening[:-1]).unseen) == 2
    assert carried(evening).unseen == {}


@pytest.mark.parametrize(("days", "unseen"), [(30, 0), (31, 28)])
def test_a_gap_is_more_than_thirty_days_within_a_season(days: int, unseen: int) -> None:
    state = carried([result(day=140), result(day=140 + days)])
    assert len(state.unseen) == unseen


def test_a_second_gap_ends_the_knowledge_of_each_team_where_it_was() -> None:
    state = carried([after_gap("BOS", "NYK"), after_gap("WAS", "OKC", 60)])
    assert {code: state.unseen.get(code) for code in ("BOS", "NYK", "WAS", "OKC", "LAL")} == {
        "BOS": GAP,
        "NYK": GAP,
        "WAS": None,
        "OKC": None,
        "LAL": LAST,
    }


def test_a_final_of_within_the_gap_told_late_moves_the_end_of_knowledge_only() -> None:
    state = carried([result(day=140), result(day=240), result("WAS", "OKC", day=180)])
    assert state.unseen["WAS"] == LAST + timedelta(180)
    assert state.unseen["LAL"] == LAST + timedelta(140)
    assert "WAS" not in carried([result("WAS", "LAL", day=239)], state).unseen
