"""The parser on real payloads of the NBA's live feed, and the peculiarities of each."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.plays_files import halftime_differential, live_pattern

from dejavu_feed.nba.event_rows import attempt_of
from dejavu_feed.nba.live_payloads import GameStatus, read_game_state, read_plays, read_scoreboard
from dejavu_feed.nba.plays import Play
from dejavu_feed.nba.sides import contradiction

pytestmark = pytest.mark.real_data
GAME = "0022000001"


@pytest.fixture(scope="module")
def feed(data_dir: Path) -> Path:
    return data_dir / "feed"


@pytest.fixture(scope="module")
def actions(feed: Path) -> list[dict[str, Any]]:
    actions: list[dict[str, Any]] = json.loads((feed / f"playbyplay_{GAME}.json").read_text())["game"]["actions"]
    return actions


@pytest.fixture(scope="module")
def plays(actions: list[dict[str, Any]]) -> tuple[Play, ...]:
    return read(actions)


def read(actions: list[dict[str, Any]]) -> tuple[Play, ...]:
    return read_plays({"game": {"gameId": GAME, "actions": actions}}, GAME).plays


def test_every_play_of_a_game_is_read(plays: tuple[Play, ...]) -> None:
    assert len(plays) == 610
    assert (plays[-1].home, plays[-1].away) == (125, 99)
    assert plays[-1].elapsed == 48 * 60
    assert (plays[-1].action, plays[-1].detail) == ("game", "end")


def test_the_pattern_ends_with_the_lead_at_six_minutes_of_the_second_quarter(plays: tuple[Play, ...]) -> None:
    pattern = live_pattern(plays, 18)

    assert pattern is not None
    assert len(pattern) == 18
    assert pattern[-1] == 20
    assert halftime_differential(plays) == 18


def test_plays_are_ordered_by_order_number_although_neither_action_number_nor_time_is_monotone(
    actions: list[dict[str, Any]], plays: tuple[Play, ...]
) -> None:
    by_number = sorted(actions, key=lambda action: int(action["actionNumber"]))
    assert by_number != actions, "the payload should show the trap"
    times = [play.actual for play in plays if play.actual is not None]
    assert times != sorted(times), "the payload should show the trap"

    assert read(by_number) == plays


def test_the_feed_says_how_many_free_throws_a_foul_gives(plays: tuple[Play, ...]) -> None:
    announced = [
        (before.free_throws, attempt_of(play.detail))
        for before, play in pairwise(plays)
        if play.action == "freethrow" and before.free_throws is not None
    ]
    assert len(announced) > 30
    for coming, (attempt, attempts) in announced:
        assert coming == attempts - attempt + 1


def test_a_scoreboard_in_mid_evening(feed: Path) -> None:
    board = read_scoreboard(json.loads((feed / "todaysScoreboard_2023-04-20.json").read_text()))

    assert board.date == "2023-04-20"
    assert not board.faults
    second_quarter, first_quarter, final = board.games
    assert (second_quarter.home, second_quarter.away) == ("GSW", "SAC")
    assert (second_quarter.status, second_quarter.period, second_quarter.clock) == (GameStatus.LIVE, 2, 435.0)
    assert (second_quarter.home_score, second_quarter.away_score) == (39, 30)
    assert second_quarter.home_periods == (29, 10, 0, 0), "quarters not yet played are filled with 0"
    assert second_quarter.tip_off is not None
    assert second_quarter.tip_off.isoformat() == "2023-04-21T02:00:00+00:00"
    assert (first_quarter.period, first_quarter.clock) == (1, 365.0)
    assert (final.status, final.clock, final.text) == (GameStatus.FINAL, None, "Final"), "the clock of a final is empty"


@pytest.mark.parametrize(
    ("mark", "neutral"),
    [({}, False), ({"isNeutral": False}, False), ({"isNeutral": True}, True), ({"isNeutral": 1}, False)],
)
def test_a_scoreboard_may_mark_a_neutral_site(feed: Path, mark: dict[str, Any], neutral: bool) -> None:
    payload = json.loads((feed / "todaysScoreboard_2023-04-20.json").read_text())
    payload["scoreboard"]["games"][0] |= mark
    assert [game.is_neutral for game in read_scoreboard(payload).games] == [neutral, False, False]


def test_a_scoreboard_of_finals_with_overtime(feed: Path) -> None:
    board = read_scoreboard(json.loads((feed / "scoreboard_final_ot.json").read_text()))

    overtime = board.games[0]
    assert {game.status for game in board.games} == {GameStatus.FINAL}
    assert (overtime.text, overtime.period, len(overtime.home_periods)) == ("Final/OT", 5, 5)
    assert sum(overtime.home_periods) == overtime.home_score == 128


def test_a_box_score_tells_the_same_as_the_plays(feed: Path, plays: tuple[Play, ...]) -> None:
    state = read_game_state(json.loads((feed / f"boxscore_{GAME}.json").read_text()), GAME)

    assert (state.home, state.away, state.status) == ("BKN", "GSW", GameStatus.FINAL)
    assert (state.home_score, state.away_score) == (plays[-1].home, plays[-1].away)
    assert sum(state.home_periods[:2]) - sum(state.away_periods[:2]) == halftime_differential(plays)


def test_the_sides_of_a_real_game_are_never_in_doubt_and_exchanged_columns_always(
    feed: Path, plays: tuple[Play, ...]
) -> None:
    end = read_game_state(json.loads((feed / f"boxscore_{GAME}.json").read_text()), GAME)
    for number in range(1, len(plays) + 1):
        last = plays[number - 1]
        state = replace(end, status=GameStatus.LIVE, home_score=last.home, away_score=last.away)
        exchanged = [replace(each, home=each.away, away=each.home) for each in plays[:number]]
        assert contradiction(state, plays[:number]) == ""
        assert (contradiction(state, exchanged) != "") is (last.home + last.away > 0)
