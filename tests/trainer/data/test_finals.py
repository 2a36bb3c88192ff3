"""Finals from a fake NBA statistics service: results, games without one, and lists that can't be had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.support.fakes.stats_service import PlayedOnce, StatsStandIn, season_of_games, status
from tests.support.harness.fetch import ATTEMPTS, Notes

from dejavu_feed.errors import DataError
from dejavu_feed.nba.stats_service import NbaStats
from dejavu_models.live_ratings import GameResult
from dejavu_trainer.data.fetch import exclusive_lock
from dejavu_trainer.data.finals import Finals, fetch_finals
from dejavu_trainer.data.retries import FetchStopped

GAMES = season_of_games()
NEUTRAL = GAMES[1]
NEXT = season_of_games(4, season=2026, seed=2)
SUMMER = date(2026, 7, 1)


@pytest.fixture
def service() -> Iterator[StatsStandIn]:
    with StatsStandIn([*GAMES, *NEXT]) as service:
        yield service


def results(games: Sequence[PlayedOnce]) -> tuple[GameResult, ...]:
    return tuple(game.result for game in sorted(games, key=lambda game: (game.day, game.game_id)))


def finals_from(
    service: StatsStandIn,
    folder: Path,
    *,
    today: date = SUMMER,
    seasons: Sequence[int] = (2025, 2026),
    notes: Notes | None = None,
) -> Finals:
    notes = notes or Notes()
    with closing(NbaStats(service.url, timeout=5.0)) as stats:
        return fetch_finals(stats, seasons, today, folder, notes.client(), notes.said.append)


def test_the_finals_of_seasons_take_four_requests_each_and_the_plays_of_games_without_a_host(
    service: StatsStandIn, tmp_path: Path
) -> None:
    notes = Notes()
    finals = finals_from(service, tmp_path, notes=notes)
    assert finals == Finals(results([*GAMES, *NEXT]), ())
    assert notes.said == ["2024-25: 8 finals", "2025-26: 6 finals"]
    of_season = ["Regular Season", "IST", "PlayIn", "Playoffs"]
    neutral = [game.game_id for game in (*GAMES, *NEXT) if game.neutral]
    assert sorted(each.what for each in service.asked) == sorted([*of_season, *of_season, *neutral])


def test_a_season_that_has_not_begun_has_none(service: StatsStandIn, tmp_path: Path) -> None:
    assert finals_from(service, tmp_path, seasons=[2026, 2027]).results == results(NEXT)


def test_games_of_today_count_tomorrow(service: StatsStandIn, tmp_path: Path) -> None:
    last = max(game.day for game in NEXT)
    for today in (last, last + timedelta(days=1)):
        finals = finals_from(service, tmp_path, today=today)
        assert finals == Finals(results([*GAMES, *(game for game in NEXT if game.day < today)]), ())


def test_a_game_without_a_result_is_left_out_and_counts_later(service: StatsStandIn, tmp_path: Path) -> None:
    service.games[0] = replace(GAMES[0], over=False)
    finals = finals_from(service, tmp_path)
    assert finals.results == results([*GAMES[1:], *NEXT])
    (left_out,) = finals.left_out
    assert left_out.startswith(f"{GAMES[0].game_id} {GAMES[0].away} @ {GAMES[0].home}, {GAMES[0].day}: ")
    assert left_out.endswith("the list has no result of it")
    service.games[0] = GAMES[0]
    assert finals_from(service, tmp_path) == Finals(results([*GAMES, *NEXT]), ())


def test_a_game_whose_host_cannot_be_had_is_left_out(service: StatsStandIn, tmp_path: Path) -> None:
    service.faults[NEUTRAL.game_id] = [status(404)]
    finals = finals_from(service, tmp_path, seasons=[2025])
    assert finals.results == results([game for game in GAMES if game is not NEUTRAL])
    (left_out,) = finals.left_out
    assert left_out.endswith("its home team is not known: status 404, after 1 attempt")


def test_a_list_that_cannot_be_had_ends_it_and_kept_plays_are_not_asked_for_again(
    service: StatsStandIn, tmp_path: Path
) -> None:
    service.faults["Playoffs"] = [status(403)] * ATTEMPTS
    with pytest.raises(FetchStopped, match="2024-25: the list of games, Playoffs, could not be fetched: status 403"):
        finals_from(service, tmp_path)
    service.asked.clear()
    assert finals_from(service, tmp_path, seasons=[2025]).results == results(GAMES)
    assert service.plays_asked() == []


def test_two_at_once_do_not_mix(service: StatsStandIn, tmp_path: Path) -> None:
    with exclusive_lock(tmp_path), pytest.raises(DataError, match="another fetch is running there"):
        finals_from(service, tmp_path)
    assert service.asked == []
