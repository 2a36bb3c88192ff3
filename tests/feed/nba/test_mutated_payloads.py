"""Real payloads with one field changed: nothing is lost but what the field carries, and no pattern is wrong."""

from __future__ import annotations

import copy
import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.harness.laws import NIGHTLY

from dejavu_feed.errors import MalformedFeed
from dejavu_feed.nba.live_payloads import PlayByPlay, read_game_state, read_plays, read_scoreboard
from dejavu_feed.nba.plays import final_score, halftime_score, inputs_from_plays, known_minutes
from dejavu_feed.pattern import slots

pytestmark = pytest.mark.real_data

PLAYS: Final = (
    "22500775-05_pbp_Halftime.json.gz",
    "22500777-07_pbp_GameEnd.json.gz",
    "playbyplay_0022400561_overtime.json.gz",
    "playbyplay_0022000001.json",
)
CARRIES_A_SCORE: Final = {"orderNumber", "clock", "period", "scoreHome", "scoreAway"}
VALUES: Final[tuple[object, ...]] = (
    None, True, 0, 1, -1, 10**9, 10**30, 1.5, float("nan"), "", "x", "0", "999", "-1", "٣",
    "PT00M00.00S", "PT12M00.00S", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", [], {}, [{}], "9" * 5000,
)  # fmt: skip
MISSING: Final = object()
CHANGES: Final = 4000 if NIGHTLY else 50
"""Number of changed payloads of each file."""


def payload(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "feed" / name
    text = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    document: dict[str, Any] = json.loads(text)
    return document


def fields(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field of a payload."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from fields(value, (*path, key))


def mutated(document: Any, path: tuple[Any, ...], value: object) -> Any:
    """Return a copy of a payload with a field that has another value, or is missing."""
    copied = copied_node = copy.copy(document)
    for key in path[:-1]:
        copied_node[key] = copy.copy(copied_node[key])
        copied_node = copied_node[key]
    if value is MISSING:
        del copied_node[path[-1]]
    else:
        copied_node[path[-1]] = value
    return copied


def mutations(document: Any, count: int, seed: int) -> Iterator[tuple[tuple[Any, ...], Any]]:
    chance = random.Random(seed)
    places = list(fields(document))
    for _ in range(count):
        path = chance.choice(places)
        yield path, mutated(document, path, chance.choice((*VALUES, MISSING)))


def known(read: PlayByPlay) -> tuple[Any, ...]:
    minutes = known_minutes(read.plays)
    # Only the feed has the team of a rebound: a changed team changes the possession.
    inputs = [replace(each, possession=None) for each in inputs_from_plays(read.plays, minutes, "BKN")]
    return minutes, slots((play.score for play in read.plays), minutes), inputs


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if "overtime" in name else pytest.mark.nightly) for name in PLAYS]
)
def test_a_changed_field_of_the_plays_costs_only_the_minutes_that_it_carries(name: str, data_dir: Path) -> None:
    document = payload(data_dir, name)
    game_id = document["game"]["gameId"]
    true = read_plays(document, game_id)
    minutes, pattern, inputs = known(true)
    results = halftime_score(true.plays), final_score(true.plays)
    tried = lost = 0
    plays = len(document["game"]["actions"])
    for path, changed in mutations(document, CHANGES, seed=len(name)):
        if path in {("game",), ("game", "gameId"), ("game", "actions")} or len(changed["game"]["actions"]) < plays:
            continue  # all plays or a whole play may be gone, without a trace
        read = read_plays(changed, game_id)
        found, slots_found, inputs_found = known(read)
        assert slots_found == pattern[:found], path
        for minute, (here, there) in enumerate(zip(inputs_found, inputs, strict=False), start=1):
            assert there.agrees_with(here) or here.agrees_with(there), (path, minute)
            assert here.total_points == there.total_points, (path, minute)
        for result, expected in zip((halftime_score(read.plays), final_score(read.plays)), results, strict=True):
            assert result is None or (expected is not None and result[1:] == expected[1:]), path
        tried += 1
        lost += found < minutes and not (len(path) == 3 or path[-1] in CARRIES_A_SCORE)
    assert lost <= 0.01 * tried


READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "boxscore_0022000001.json": lambda document: read_game_state(document, "0022000001"),
    "22500775-05_box_Halftime.json.gz": lambda document: read_game_state(document, "0022500775"),
}


ESSENTIAL: Final = {"gameId", "gameStatus", "period", "homeTeam", "awayTeam", "teamTricode", "score", "game"}


@pytest.mark.parametrize("name", READERS)
def test_a_changed_field_that_is_only_shown_costs_no_box_score(name: str, data_dir: Path) -> None:
    document = payload(data_dir, name)
    for path, changed in mutations(document, CHANGES, seed=1):
        try:
            READERS[name](changed)
        except MalformedFeed:
            assert path[-1] in ESSENTIAL
            assert len(path) <= 3, path


@pytest.mark.parametrize(
    "name", ["todaysScoreboard_2023-04-20.json", "todaysScoreboard_2021-01-16_PPD.json", "scoreboard_final_ot.json"]
)
def test_a_changed_field_of_a_scoreboard_costs_at_most_its_game(name: str, data_dir: Path) -> None:
    document = payload(data_dir, name)
    true = read_scoreboard(document).games
    for path, changed in mutations(document, CHANGES, seed=2):
        if path in {("scoreboard",), ("scoreboard", "games")}:
            continue
        board = read_scoreboard(changed)
        changed_game = path[2] if path[:2] == ("scoreboard", "games") else None
        others = [game for index, game in enumerate(true) if index != changed_game]
        assert [game for game in board.games if game in others] == others, path
        if board.faults:
            assert path[-1] in ESSENTIAL or len(path) == 3, path
            assert len(path) <= 5, path
