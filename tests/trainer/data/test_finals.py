"""Finals from a fake NBA statistics service: results, games without one, retries and resuming."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.fakes.stats_service import PlayedOnce, StatsStandIn, season_of_games, status
from tests.support.harness.fetch import AT_ONCE, Notes

from dejavu_feed.errors import DataError
from dejavu_feed.nba.stats_service import NbaStats, Stats
from dejavu_models.live_ratings import GameResult
from dejavu_trainer.data import fetch_cache
from dejavu_trainer.data.finals import Finals, fetch_finals
from dejavu_trainer.data.retries import FetchStopped, RetryingClient

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
    stats: Stats | None = None,
    said: list[str] | None = None,
) -> Finals:
    lines = [] if said is None else said
    with closing(NbaStats(service.url, timeout=5.0)) as real:
        client = RetryingClient(AT_ONCE, Notes().waiting)
        return fetch_finals(stats or real, seasons, today, folder, client, lines.append)


def test_the_finals_of_seasons_take_four_requests_each_and_the_plays_of_games_without_a_host(
    service: StatsStandIn, tmp_path: Path
) -> None:
    said = list[str]()
    finals = finals_from(service, tmp_path, said=said)
    assert finals == Finals(results([*GAMES, *NEXT]), ())
    assert said == ["2024-25: 8 finals", "2025-26: 6 finals"]
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


def test_a_game_without_a_result_is_left_out_and_asked_for_again(service: StatsStandIn, tmp_path: Path) -> None:
    service.games[0] = replace(GAMES[0], over=False)
    finals = finals_from(service, tmp_path)
    assert finals.results == results([*GAMES[1:], *NEXT])
    (left_out,) = finals.left_out
    assert left_out.startswith(f"{GAMES[0].game_id} {GAMES[0].away} @ {GAMES[0].home}, {GAMES[0].day}: ")
    assert left_out.endswith("the list has no result of it")
    service.games[0] = GAMES[0]
    service.asked.clear()
    assert finals_from(service, tmp_path) == Finals(results([*GAMES, *NEXT]), ())
    assert [each.what for each in service.asked] == ["Regular Season"]


def test_a_game_whose_host_cannot_be_had_is_left_out(service: StatsStandIn, tmp_path: Path) -> None:
    service.faults[NEUTRAL.game_id] = [status(404)]
    finals = finals_from(service, tmp_path, seasons=[2025])
    assert finals.results == results([game for game in GAMES if game is not NEUTRAL])
    (left_out,) = finals.left_out
    assert left_out.endswith("its home team is not known: status 404, after 1 attempt")


class Killed(BaseException):
    """Stands in for a kill; no code may clean up after it."""


class KilledAfter:
    """A service that ends its caller after some requests."""

    def __init__(self, service: StatsStandIn, requests: int) -> None:
        self._stats = NbaStats(service.url, timeout=5.0)
        self._left = requests

    def game_log(self, season: str, season_type: str) -> Any:
        self._count()
        return self._stats.game_log(season, season_type)

    def plays(self, game_id: str) -> Any:
        self._count()
        return self._stats.plays(game_id)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            self._stats.close()
            raise Killed


def test_killed_after_every_request_it_goes_on_and_asks_for_nothing_twice_on_a_day(
    service: StatsStandIn, tmp_path: Path
) -> None:
    whole = finals_from(service, tmp_path / "whole")
    asked = [each.what for each in service.asked]
    service.asked.clear()
    for _ in asked[1:]:
        with pytest.raises(Killed):
            finals_from(service, tmp_path / "killed", stats=KilledAfter(service, 1))
    assert finals_from(service, tmp_path / "killed", stats=KilledAfter(service, 1)) == whole
    assert [each.what for each in service.asked] == asked
    service.asked.clear()
    finals_from(service, tmp_path / "killed", today=SUMMER + timedelta(days=1))
    assert len(service.asked) == 8, "the lists of another day, and no plays again"


@pytest.mark.parametrize("content", ["{", "[]", '{"form": 0}', '{"form":1,"day":"2026-07-01","games":[{"date":"x"}]}'])
def test_a_spoilt_list_is_asked_for_again(service: StatsStandIn, tmp_path: Path, content: str) -> None:
    finals = finals_from(service, tmp_path)
    (path,) = tmp_path.glob("fetched/2024-25/regular.json")
    path.write_text(content)
    service.asked.clear()
    assert finals_from(service, tmp_path) == finals
    assert [each.what for each in service.asked] == ["Regular Season"]


def test_a_list_that_cannot_be_had_ends_it_and_the_others_are_kept(service: StatsStandIn, tmp_path: Path) -> None:
    service.faults["Playoffs"] = [status(403)] * AT_ONCE.max_attempts
    with pytest.raises(FetchStopped, match="2024-25: the list of games, Playoffs, could not be fetched: status 403"):
        finals_from(service, tmp_path)
    service.asked.clear()
    assert finals_from(service, tmp_path, seasons=[2025]).results == results(GAMES)
    assert [each.what for each in service.asked] == ["Playoffs"]


def test_two_at_once_do_not_mix(service: StatsStandIn, tmp_path: Path) -> None:
    with fetch_cache.exclusive_lock(tmp_path), pytest.raises(DataError, match="another fetch is running there"):
        finals_from(service, tmp_path)
    assert service.asked == []
