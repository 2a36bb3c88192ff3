"""Fetches from a fake NBA statistics service: written files, exclusions, retries and resuming."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.support.fakes.stats_service import (
    Fault,
    PlayedOnce,
    StatsStandIn,
    cut_off,
    html,
    log_payload,
    plays_payload,
    season_of_games,
    stall,
    status,
    text,
    truncated,
)
from tests.support.harness.fetch import (
    ATTEMPTS,
    Killed,
    KilledAfter,
    Notes,
    fetch_from,
    files_of,
    rows_of,
    truth,
)

from dejavu_feed.errors import DataError
from dejavu_feed.pattern import Score
from dejavu_trainer.data.fetch import exclusive_lock
from dejavu_trainer.data.games import load_games
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.retries import FetchStopped
from dejavu_trainer.data.simulate import simulate_season

GAMES = season_of_games()
SECOND = GAMES[1].game_id
FILE = "plays_2025.parquet"

Spoil = Callable[[bytes], bytes]


@pytest.fixture
def service() -> Iterator[StatsStandIn]:
    with StatsStandIn(list(GAMES)) as service:
        yield service


def test_a_season_is_every_game_by_date_with_the_ids_of_the_nba(service: StatsStandIn, tmp_path: Path) -> None:
    (fetched,) = fetch_from(service, tmp_path)
    assert fetched.path == tmp_path / FILE
    assert rows_of(fetched.path) == truth(GAMES)
    neutral = load_games(tmp_path, [2025]).neutral
    assert neutral == [game.neutral or None for game in sorted(GAMES, key=lambda game: (game.day, game.game_id))]
    assert (fetched.not_over, fetched.missing, fetched.stopped) == (0, (), "")
    assert [asked.what for asked in service.asked][:4] == ["Regular Season", "IST", "PlayIn", "Playoffs"]


def test_the_final_of_the_cup_is_fetched_as_a_game_of_the_regular_season(tmp_path: Path) -> None:
    final = replace(GAMES[0], game_id="0062400001", type="CUP", day=date(2024, 12, 17))
    with StatsStandIn([*GAMES, final]) as service:
        fetch_from(service, tmp_path)
    of_final = [row for row in pq.read_table(tmp_path / FILE).to_pylist() if row["game_id"] == final.game_id]
    assert [(row["type"], row["game_date"]) for row in of_final] == [("RS", final.day)] * len(final.scores)
    assert service.plays_asked().count(GAMES[0].game_id) == 1


def test_several_seasons_are_several_files_and_have_the_parts_of_their_time(tmp_path: Path) -> None:
    earlier = [game for game in season_of_games(2, season=2019) if game.type != "PI"]
    with StatsStandIn([*GAMES, *earlier]) as service:
        paths = [fetched.path for fetched in fetch_from(service, tmp_path, seasons=[2019, 2025])]
    assert [path and rows_of(path) for path in paths] == [truth(earlier), truth(GAMES)]
    lists = [asked.what for asked in service.asked if not asked.what[0].isdigit()]
    assert lists == ["Regular Season", "Playoffs", "Regular Season", "IST", "PlayIn", "Playoffs"]


def test_killed_after_any_request_it_goes_on_to_the_same_files_and_asks_for_no_game_twice(
    service: StatsStandIn, tmp_path: Path
) -> None:
    fetch_from(service, tmp_path / "whole")
    service.asked.clear()
    out = tmp_path / "killed"
    for _ in GAMES[1:]:
        with pytest.raises(Killed):
            fetch_from(service, out, stats=KilledAfter(service, 4 + 1))  # four lists and one game
    for _ in range(2):
        fetch_from(service, out)
    assert sorted(service.plays_asked()) == sorted(game.game_id for game in GAMES)
    assert files_of(out) == files_of(tmp_path / "whole")


def test_games_that_are_not_over_are_left_out_and_come_later(service: StatsStandIn, tmp_path: Path) -> None:
    service.games = [replace(game, over=game.game_id != SECOND) for game in GAMES[:-1]]
    (fetched,) = fetch_from(service, tmp_path)
    assert (fetched.not_over, fetched.missing) == (1, ())
    assert rows_of(tmp_path / FILE) == truth([game for game in GAMES[:-1] if game.game_id != SECOND])
    service.games = list(GAMES)
    service.asked.clear()
    fetch_from(service, tmp_path)
    assert sorted(service.plays_asked()) == sorted([SECOND, GAMES[-1].game_id])
    assert rows_of(tmp_path / FILE) == truth(GAMES)


def test_a_result_that_the_nba_corrects_is_asked_for_again(service: StatsStandIn, tmp_path: Path) -> None:
    fetch_from(service, tmp_path)
    last = GAMES[0].scores[-1]
    corrected = replace(GAMES[0], scores=(*GAMES[0].scores, Score(last.elapsed, last.home + 1, last.away)))
    service.games[0] = corrected
    service.asked.clear()
    fetch_from(service, tmp_path)
    assert service.plays_asked() == [corrected.game_id]
    assert rows_of(tmp_path / FILE) == truth([corrected, *GAMES[1:]])


def half(game: PlayedOnce) -> Fault:
    return text(json.dumps(plays_payload(replace(game, scores=game.scores[: len(game.scores) // 2]))))


@pytest.mark.parametrize(
    ("faults", "asked", "reason"),
    [
        ([status(500)] * ATTEMPTS, ATTEMPTS, "status 500, after 3 attempts"),
        ([half(GAMES[1])], 1, r"its plays end with \w+ \d+, \w+ \d+; the list has \w+ \d+, \w+ \d+"),
    ],
)
def test_games_that_could_not_be_had_are_told_and_tried_again(
    service: StatsStandIn, tmp_path: Path, faults: list[Fault], asked: int, reason: str
) -> None:
    service.faults[SECOND] = faults
    notes = Notes()
    (fetched,) = fetch_from(service, tmp_path, notes=notes)
    assert service.plays_asked().count(SECOND) == asked
    assert rows_of(tmp_path / FILE) == truth([game for game in GAMES if game.game_id != SECOND])
    ((game, why),) = fetched.missing
    assert (game.game_id, game.date, sorted(game.teams.split(" @ "))) == (
        SECOND,
        GAMES[1].day,
        sorted([GAMES[1].home, GAMES[1].away]),
    )
    assert re.fullmatch(reason, why)
    assert notes.said == [f"{SECOND} {game.teams}, {game.date}: {why}"]
    assert notes.games == {"2024-25": len(GAMES)}
    service.asked.clear()
    (fetched,) = fetch_from(service, tmp_path)
    assert (service.plays_asked(), fetched.missing) == ([SECOND], ())
    assert rows_of(tmp_path / FILE) == truth(GAMES)


def test_faults_that_pass_leave_no_trace(service: StatsStandIn, tmp_path: Path) -> None:
    fetch_from(service, tmp_path / "without")
    service.asked.clear()
    faults = [status(403), status(429, Retry_After="0"), html(), text("{}"), truncated(), cut_off(), stall()]
    service.faults = {game.game_id: [fault] for game, fault in zip(GAMES, faults, strict=False)}
    service.faults["Regular Season"] = [text('{"resultSets": []}'), html()]
    notes = Notes()
    fetch_from(service, tmp_path / "with", notes=notes, timeout=0.4)
    assert len(service.asked) == 4 + len(GAMES) + len(faults) + 2
    assert [reason for _, reason in notes.waits][:3] == [
        "payload.resultSets holds no LeagueGameLog",
        "not JSON: begins with '<!DOCTYPE html><html><body>Access denied'",
        "status 403",
    ]
    assert files_of(tmp_path / "with") == files_of(tmp_path / "without")


@pytest.mark.parametrize(
    ("games", "what"),
    [
        (season_of_games(2, season=2024)[:2], "0022300001 of another season"),
        ([game for game in GAMES if game.type == "PO"], f"{GAMES[-1].game_id} of another part of the season"),
    ],
)
def test_a_list_of_another_season_is_not_believed(
    service: StatsStandIn, tmp_path: Path, games: list[PlayedOnce], what: str
) -> None:
    service.faults["Regular Season"] = [text(json.dumps(log_payload(games, "2024-25", "Regular Season")))]
    notes = Notes()
    fetch_from(service, tmp_path, notes=notes)
    assert notes.waits == [(0.0, f"holds game {what}")]
    assert rows_of(tmp_path / FILE) == truth(GAMES)


def test_a_game_that_the_list_garbles_is_told_and_not_asked_for(service: StatsStandIn, tmp_path: Path) -> None:
    listing = copy.deepcopy(log_payload([game for game in GAMES if game.type == "RS"], "2024-25", "Regular Season"))
    dropped = listing["resultSets"][0]["rowSet"].pop(0)[4]
    service.faults["Regular Season"] = [text(json.dumps(listing))]
    (fetched,) = fetch_from(service, tmp_path)
    assert [(game.game_id, why) for game, why in fetched.missing] == [
        (dropped, "the list has 1 rows of it, expected 2")
    ]
    assert dropped not in service.plays_asked()
    assert rows_of(tmp_path / FILE) == truth([game for game in GAMES if game.game_id != dropped])


def test_a_service_that_answers_no_more_is_left_alone(tmp_path: Path) -> None:
    games = season_of_games(20)
    with StatsStandIn(list(games)) as service:
        service.faults |= {game.game_id: [status(403)] * 99 for game in games[3:]}
        with pytest.raises(FetchStopped, match="2024-25: no valid response for 10 games in a row; try again later"):
            fetch_from(service, tmp_path)
        assert rows_of(tmp_path / FILE) == truth(games[:3])
        assert len(service.plays_asked()) == 3 + 10 * ATTEMPTS
        service.faults.clear()
        service.asked.clear()
        fetch_from(service, tmp_path)
        assert not {game.game_id for game in games[:3]} & set(service.plays_asked())
    assert rows_of(tmp_path / FILE) == truth(games)


def test_a_list_that_could_not_be_had_ends_it_and_changes_nothing(service: StatsStandIn, tmp_path: Path) -> None:
    fetch_from(service, tmp_path)
    before = files_of(tmp_path)
    service.faults["Playoffs"] = [status(403)] * ATTEMPTS
    message = "2024-25: the list of games, Playoffs, could not be fetched: status 403, after 3"
    with pytest.raises(FetchStopped, match=message):
        fetch_from(service, tmp_path)
    assert files_of(tmp_path) == before


def test_a_season_from_elsewhere_is_not_replaced_unasked(service: StatsStandIn, tmp_path: Path) -> None:
    path = write_plays(tmp_path, 2025, simulate_season(2025, games=3))
    before = path.read_bytes()
    with pytest.raises(DataError, match=f"{FILE}: already exists and was not written by fetch; use --overwrite"):
        fetch_from(service, tmp_path)
    assert (path.read_bytes(), service.asked) == (before, [])
    fetch_from(service, tmp_path, overwrite=True)
    assert rows_of(path) == truth(GAMES)


def test_two_fetches_into_one_folder_do_not_mix(service: StatsStandIn, tmp_path: Path) -> None:
    with exclusive_lock(tmp_path), pytest.raises(DataError, match="another fetch is running there"):
        fetch_from(service, tmp_path)
    assert service.asked == []


@pytest.mark.parametrize("spoil", [lambda kept: kept[:-9], lambda kept: b"{}", lambda kept: b""])
def test_a_spoilt_kept_game_is_asked_for_again(service: StatsStandIn, tmp_path: Path, spoil: Spoil) -> None:
    fetch_from(service, tmp_path)
    before = files_of(tmp_path)
    path = tmp_path / "fetched" / "2024-25" / f"{SECOND}.json.gz"
    path.write_bytes(spoil(path.read_bytes()))
    service.asked.clear()
    fetch_from(service, tmp_path)
    assert service.plays_asked() == [SECOND]
    assert files_of(tmp_path) == before
