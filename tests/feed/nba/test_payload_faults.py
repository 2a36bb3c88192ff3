"""The parser on payloads with missing or impossible values: it refuses one game, a play or the file."""

from __future__ import annotations

import copy
import json
import random
from datetime import date
from functools import cache
from typing import Any

import pytest
from tests.support.fakes.clock import SteppedClock
from tests.support.harness.laws import NIGHTLY

from dejavu_feed.errors import MalformedFeed
from dejavu_feed.nba.live_feed import LIVE_PATH
from dejavu_feed.nba.live_payloads import read_game_state, read_plays, read_scoreboard
from dejavu_feed.nba.plays import inputs_from_plays, known_minutes
from dejavu_feed.pattern import slots
from dejavu_feed.replay.games import simulated_evening
from dejavu_feed.replay.replay import Replay


@cache
def _evening() -> tuple[str, dict[str, Any]]:
    clock = SteppedClock()
    replay = Replay(simulated_evening(random.Random(4), 3), now=clock)
    clock.step(3600)
    game_id = next(iter(replay.games))
    paths = {
        "board": "scoreboard/todaysScoreboard_00.json",
        "plays": f"playbyplay/playbyplay_{game_id}.json",
        "box": f"boxscore/boxscore_{game_id}.json",
    }
    return game_id, {name: json.loads(replay.respond(LIVE_PATH + path).body) for name, path in paths.items()}


def file(name: str) -> Any:
    """Return the scoreboard, plays or box score of an evening at half-time, which the test may change."""
    return copy.deepcopy(_evening()[1][name])


def test_what_only_decorates_may_be_missing_and_a_team_outside_of_the_league_keeps_its_code() -> None:
    payload = file("board")
    del payload["scoreboard"]["gameDate"]  # nba_api itself fails without this one
    for game in payload["scoreboard"]["games"]:
        for key in ("gameClock", "gameTimeUTC", "gameStatusText", "gameLeaders"):
            del game[key]
        del game["homeTeam"]["periods"]
        game["homeTeam"]["teamTricode"] = "leb"
    games = read_scoreboard(payload).games
    assert [(game.clock, game.tip_off, game.text, game.home_periods, game.home) for game in games] == [
        (None, None, "", (), "LEB")
    ] * 3


def test_half_of_a_surrogate_pair_is_replaced() -> None:
    """Formerly, one in a team's code ended the poller's metrics, which UTF-8 can't encode."""
    payload = file("board")
    for game in payload["scoreboard"]["games"]:
        game["homeTeam"]["teamTricode"], game["gameStatusText"] = "\ud800x", "\udfff"
    games = read_scoreboard(payload).games
    assert [(game.home, game.text) for game in games] == [("?X", "?")] * 3


def test_a_game_listed_twice_counts_once_and_not_at_all_with_two_states() -> None:
    payload = file("board")
    games = payload["scoreboard"]["games"]
    ids = [game["gameId"] for game in games]
    games += [dict(games[0]), {**games[1], "gameStatus": 3, "period": 4}]
    board = read_scoreboard(payload)
    assert [game.game_id for game in board.games] == [ids[0], *ids[2:]]
    assert [str(fault) for fault in board.faults] == [f"game {ids[1]} is listed twice"]


DAMAGES: list[dict[str, Any]] = [
    {"scoreHome": ""},
    {"scoreAway": None},
    {"scoreHome": "999"},
    {"scoreAway": "0", "scoreHome": "0"},
    {"clock": ""},
    {"clock": "PT12M00.00S", "period": 5},
    {"clock": "PT13M00.00S"},
    {"period": 0},
    {"period": 4},
    {"orderNumber": None},
    {"orderNumber": 10**9},
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_play_costs_at_most_the_minutes_whose_score_it_has(damage: dict[str, Any]) -> None:
    """Every fifth play is damaged in turn; in nightly runs, every play."""
    payload = file("plays")
    true = read_plays(payload, _evening()[0]).plays
    known = known_minutes(true)
    pattern, inputs = slots((play.score for play in true), known), inputs_from_plays(true, known, "BKN")
    for index in range(20, len(true) - 20, 1 if NIGHTLY else 5):
        payload = file("plays")
        payload["game"]["actions"][index] |= damage
        read = read_plays(payload, _evening()[0])
        minutes = known_minutes(read.plays)
        assert slots((play.score for play in read.plays), minutes) == pattern[:minutes]
        for found, expected in zip(inputs_from_plays(read.plays, minutes, "BKN"), inputs, strict=False):
            assert found.total_points == expected.total_points
            assert found.last_score in (expected.last_score, None)
        before, play, after = true[index - 1 : index + 2]
        scores = play.score[1:] != before.score[1:]
        touched = scores and any(before.elapsed <= 60 * minute < after.elapsed for minute in range(1, 25))
        assert minutes == known or (touched and minutes >= before.elapsed // 60 - 1)
        assert len(read.faults) <= 1
        if "scoreHome" in damage or damage.get("clock") == "":
            assert len(read.faults) == 1


def test_plays_of_which_none_can_be_read_are_refused() -> None:
    payload = file("plays")
    for action in payload["game"]["actions"]:
        action["clock"] = ""
    with pytest.raises(MalformedFeed, match="which is not a valid game clock"):
        read_plays(payload, _evening()[0])


@pytest.mark.parametrize(("first", "last"), [(0, 100), (40, 100)])
def test_minutes_whose_plays_are_not_listed_are_not_known(first: int, last: int) -> None:
    payload = file("plays")
    before = read_plays(payload, _evening()[0]).plays[:first]
    del payload["game"]["actions"][first:last]
    read = read_plays(payload, _evening()[0]).plays
    assert known_minutes(read) == (known_minutes(before) if before else 0)


@pytest.mark.parametrize("columns", [("scoreHome",), ("scoreHome", "scoreAway")])
@pytest.mark.parametrize("first", [50, -2])
def test_plays_whose_score_starts_again_at_zero_are_refused(columns: tuple[str, ...], first: int) -> None:
    payload = file("plays")
    for action in payload["game"]["actions"][first:]:
        action.update(dict.fromkeys(columns, "0"))
    with pytest.raises(MalformedFeed, match="the score falls from"):
        read_plays(payload, _evening()[0])


def test_the_answer_of_another_game_is_refused() -> None:
    for name, read in (("plays", read_plays), ("box", read_game_state)):
        payload = file(name)
        payload["game"]["gameId"] = "0022000001"
        with pytest.raises(MalformedFeed, match="0022000001"):
            read(payload, _evening()[0])


def test_of_a_play_that_is_listed_twice_the_version_edited_last_counts() -> None:
    payload = file("plays")
    true, actions = read_plays(payload, _evening()[0]).plays, payload["game"]["actions"]
    actions.append(actions[5] | {"subType": "old", "edited": "2020-01-01T00:00:00Z"})
    actions.insert(0, actions[7] | {"subType": "new", "edited": "2030-01-01T00:00:00Z"})
    plays = read_plays(payload, _evening()[0]).plays
    assert [play.order for play in plays] == [play.order for play in true]
    assert (plays[5], plays[7].detail) == (true[5], "new")


@pytest.mark.parametrize(
    ("code", "time", "day"),
    [
        ("20230420/SACGSW", "2023-04-23T02:00:00Z", date(2023, 4, 20)),
        ("2023/XY", "2026-11-21T03:30:00Z", date(2026, 11, 20)),  # 22:30 in New York
        ("", "", None),
    ],
)
def test_a_game_s_date_is_that_of_its_code_else_of_its_start(code: str, time: str, day: date | None) -> None:
    payload = file("board")
    payload["scoreboard"]["games"][0] |= {"gameCode": code, "gameTimeUTC": time}
    assert read_scoreboard(payload).games[0].date == day


def test_a_game_id_sent_as_a_number_is_a_game() -> None:
    game_id, board, plays, box = _evening()[0], file("board"), file("plays"), file("box")
    for each in (*board["scoreboard"]["games"], plays["game"], box["game"]):
        each["gameId"] = int(each["gameId"])
    assert game_id in {each.game_id for each in read_scoreboard(board).games}
    assert read_plays(plays, game_id) == read_plays(file("plays"), game_id)
    assert read_game_state(box, game_id) == read_game_state(file("box"), game_id)
