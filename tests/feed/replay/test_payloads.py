"""The replay's JSON has the same keys and types as the NBA's."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.fakes.clock import SteppedClock

from dejavu_feed.replay.games import simulated_evening
from dejavu_feed.replay.replay import Replay

pytestmark = pytest.mark.real_data
LIVE = "/static/json/liveData/"
Shape = dict[str, set[str]]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every path in a payload (all entries of a list share one) with the type of its value."""
    if isinstance(value, dict):
        yield path, "object"
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        yield path, "list"
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path, type(value).__name__


def shape(*payloads: Any) -> Shape:
    found: Shape = defaultdict(set)
    for payload in payloads:
        for path, kind in leaves(payload):
            found[path].add(kind)
    return found


@pytest.fixture
def ours() -> dict[str, list[Any]]:
    """Return payloads of every kind, from before the first tip-off until after the last game."""
    clock = SteppedClock()
    replay = Replay(simulated_evening(random.Random(11), 3), speed=60, delay=20, stagger=900, now=clock)
    found: dict[str, list[Any]] = defaultdict(list)
    for _ in range(12):
        paths = ["scoreboard/todaysScoreboard_00.json"]
        paths += [f"{kind}/{kind}_{game_id}.json" for game_id in replay.games for kind in ("playbyplay", "boxscore")]
        for path in paths:
            response = replay.respond(LIVE + path)
            if response.status == 200:
                found[path.partition("/")[0]].append(json.loads(response.body))
        clock.step(18)
    assert clock.now > replay.end
    return found


@pytest.fixture
def theirs(data_dir: Path) -> dict[str, list[Any]]:
    def load(name: str) -> Any:
        return json.loads((data_dir / "feed" / name).read_text())

    return {
        "scoreboard": [load("todaysScoreboard_2023-04-20.json"), load("scoreboard_final_ot.json")],
        "playbyplay": [load("playbyplay_0022000001.json")],
        "boxscore": [load("boxscore_0022000001.json")],
    }


@pytest.mark.parametrize("kind", ["scoreboard", "playbyplay", "boxscore"])
def test_every_key_is_one_of_the_feeds_and_of_its_type(
    kind: str, ours: dict[str, list[Any]], theirs: dict[str, list[Any]]
) -> None:
    real = shape(*theirs[kind])

    assert not {path: kinds for path, kinds in shape(*ours[kind]).items() if not kinds <= real[path]}
