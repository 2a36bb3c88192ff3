"""Players of a game, from box scores of the NBA's live feed, real and made up."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from dejavu_feed.box_score import box_score_faults
from dejavu_feed.errors import MalformedFeed
from dejavu_feed.nba.live_payloads import read_box_score

GAME = "0022000001"


def player(number: int, **fields: Any) -> dict[str, Any]:
    statistics = {"minutes": "PT24M30.00S", "plusMinusPoints": 7.0, **fields.pop("statistics", {})}
    return {"personId": number, "starter": "0", "played": "1", "oncourt": "0", "statistics": statistics, **fields}


def payload(**changed: Any) -> dict[str, Any]:
    """Return a box score with five starters and a substitute of each team."""
    teams = {
        name: {"players": [player(first + place, starter="1" if place < 5 else "0") for place in range(6)]}
        for name, first in (("homeTeam", 1), ("awayTeam", 11))
    }
    return {"game": {"gameId": GAME, **teams, **changed}}


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "game", "players", "final"),
    [
        ("boxscore_0022000001.json", GAME, (15, 13), (26, -26)),
        ("22500775-05_box_Halftime.json.gz", "0022500775", None, None),
        ("22500775-07_box_Complete.json.gz", "0022500775", None, None),
    ],
)
def test_real_box_scores_name_starters_and_everybody_seen(
    data_dir: Path, file: str, game: str, players: tuple[int, int] | None, final: tuple[int, int] | None
) -> None:
    content = (data_dir / "feed" / file).read_bytes()
    read = read_box_score(json.loads(gzip.decompress(content) if file.endswith("gz") else content), game)
    assert read.lineups is not None
    assert box_score_faults(read.lines) == []
    sides = [[line for line in read.lines if line.home is home] for home in (True, False)]
    assert [len(side) for side in sides] == [len(read.lineups.home_seen), len(read.lineups.away_seen)]
    if players is not None and final is not None:
        assert tuple(map(len, sides)) == players
        assert tuple(sum(line.plus_minus for line in side) for side in sides) == tuple(5 * each for each in final)
        assert [sum(line.seconds for line in side) for side in sides] == pytest.approx([5 * 2880] * 2, abs=15)


def test_before_tip_off_starters_are_known_and_nobody_has_a_line() -> None:
    box = payload()
    for team in ("homeTeam", "awayTeam"):
        for record in box["game"][team]["players"]:
            record.update(played="0", statistics={"minutes": "PT00M00.00S", "plusMinusPoints": 0.0})
    read = read_box_score(box, GAME)
    assert read.lineups is not None
    assert read.lineups.home_seen == read.lineups.home_starters == (1, 2, 3, 4, 5)
    assert read.lines == ()


@pytest.mark.parametrize(
    "players",
    [[], [player(1, starter="1")], [player(number) for number in range(1, 8)]],
    ids=["none", "one", "no starters"],
)
def test_without_five_starters_of_each_team_line_ups_are_not_known(players: list[dict[str, Any]]) -> None:
    assert read_box_score(payload(homeTeam={"players": players}), GAME).lineups is None


def test_a_plus_minus_may_be_a_whole_number() -> None:
    box = payload()
    box["game"]["homeTeam"]["players"][0]["statistics"]["plusMinusPoints"] = -3
    assert read_box_score(box, GAME).lines[0].plus_minus == -3


@pytest.mark.parametrize("told", [math.nan, math.inf, 1e300, 151, "7", None])
def test_a_plus_minus_that_is_none_makes_the_lines_unknown_and_not_who_plays(told: object) -> None:
    box = payload()
    box["game"]["homeTeam"]["players"][0]["statistics"]["plusMinusPoints"] = told
    read = read_box_score(box, GAME)
    assert read.lines == ()
    assert read.lineups is not None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "payload is"),
        ({"game": {}}, "game.gameId is missing"),
        (payload(gameId="0022000002"), "received that of 0022000002"),
        (payload(homeTeam=None), "game.homeTeam is missing"),
        (payload(homeTeam={"players": "all"}), "homeTeam.players is 'all'"),
        (payload(homeTeam={"players": [player(1)] * 41}), "has 41 elements, expected at most 40"),
        (payload(homeTeam={"players": [7]}), "players\\[0\\] is 7"),
        (payload(homeTeam={"players": [{"personId": "1"}]}), "personId is '1'"),
        (payload(homeTeam={"players": [{"personId": 1}]}), "statistics is missing"),
    ],
)
def test_what_is_no_box_score_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(MalformedFeed, match=message):
        read_box_score(wrong, GAME)
