"""Finals from a fake NBA statistics service: results, games without one, and lists that can't be had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.support.fakes.stats_service import PlayedOnce, StatsStandIn, season_of_games, status
from tests.support.harness.fetch import Notes

from dejavu_feed.nba.stats_service import NbaStats
from dejavu_models.live_ratings import GameResult
from dejavu_trainer.data.finals import Finals, fetch_finals

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


def test_a_season_that_has_not_begun_has_none_and_games_of_today_count_tomorrow(
    service: StatsStandIn, tmp_path: Path
) -> None:
    last = max(game.day for game in NEXT)
    for today in (last, last + timedelta(days=1)):
        finals = finals_from(service, tmp_path, today=today, seasons=[2026, 2027])
        assert finals == Finals(results([game for game in NEXT if game.day < today]), ())


def test_games_without_a_result_or_a_host_are_left_out_and_count_later(service: StatsStandIn, tmp_path: Path) -> None:
    service.games[0] = replace(GAMES[0], over=False)
    service.faults[NEUTRAL.game_id] = [status(404)]
    finals = finals_from(service, tmp_path)
    assert finals.results == results([*GAMES[2:], *NEXT])
    assert [(each[:10], each.partition(": ")[2]) for each in finals.left_out] == [
        (GAMES[0].game_id, "the list has no result of it"),
        (NEUTRAL.game_id, "its home team is not known: status 404, after 1 attempt"),
    ]
    service.games[0] = GAMES[0]
    assert finals_from(service, tmp_path) == Finals(results([*GAMES, *NEXT]), ())
    service.asked.clear()
    finals_from(service, tmp_path)
    assert service.plays_asked() == [], "the plays are kept"
