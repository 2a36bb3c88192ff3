"""A recorded game of the NBA, watched through faults of the feed."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.evenings import StoringPredictor
from tests.support.fakes.clock import SteppedClock
from tests.support.fakes.feed_faults import PAYLOAD_FAULTS, RESPONSE_FAULTS, FeedFaultKind
from tests.support.harness.bad_days import DirectFeed

from dejavu_client import FINAL, HALFTIME
from dejavu_feed import live_inputs
from dejavu_feed.live_inputs import POSSESSION_FROM
from dejavu_feed.nba.live_feed import LIVE_PATH
from dejavu_feed.nba.live_payloads import read_plays
from dejavu_feed.nba.plays import known_inputs
from dejavu_feed.pattern import slots
from dejavu_feed.replay.http_server import Response
from dejavu_feed.replay.replay import json_response
from dejavu_poller import Poller
from dejavu_poller.events import Event, Fault, FaultKind, HorizonResult, Prediction

pytestmark = pytest.mark.real_data
GAME = "0022000001"
PLAYS = LIVE_PATH + f"playbyplay/playbyplay_{GAME}.json"
BOX = LIVE_PATH + f"boxscore/boxscore_{GAME}.json"
BOARD = LIVE_PATH + "scoreboard/todaysScoreboard_00.json"


class GoingBy:
    """Replays the recorded game: at each time, the plays so far and a matching scoreboard.

    In the first half of each minute a file may be faulty, or two minutes old.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._seed = seed
        self.plays = json.loads((folder / f"playbyplay_{GAME}.json").read_text())
        self._box = json.loads((folder / f"boxscore_{GAME}.json").read_text())["game"]
        self._actions = self.plays["game"]["actions"]
        self._moments = [datetime.fromisoformat(action["timeActual"]) for action in self._actions]
        self.clock = SteppedClock(self._moments[0])
        self.end = max(self._moments)

    def respond(self, path: str) -> Response:
        now = self.clock.now
        rng = random.Random(f"{self._seed} {path} {now:%H:%M}")
        kinds = [None, FeedFaultKind.STALE, FeedFaultKind.TIMEOUT, *PAYLOAD_FAULTS, *RESPONSE_FAULTS]
        kind = rng.choice(kinds) if now.second < 30 else None
        if kind is FeedFaultKind.TIMEOUT:
            return Response(200, b"", hold=0.2)
        if kind is FeedFaultKind.STALE:
            now -= timedelta(minutes=2)
        answer = json_response(self._payload(path, now))
        if kind is FeedFaultKind.INCOMPLETE or (kind in PAYLOAD_FAULTS and path == PLAYS):
            payload = json.loads(answer.body)
            PAYLOAD_FAULTS[kind](payload, rng)
            answer = json_response(payload)
        return RESPONSE_FAULTS[kind](answer, rng) if kind in RESPONSE_FAULTS else answer

    def _payload(self, path: str, now: datetime) -> dict[str, Any]:
        happened = [action for action, moment in zip(self._actions, self._moments, strict=True) if moment <= now]
        last = happened[-1] if happened else self._actions[0]
        shown = {"gameStatus": 3 if last["actionType"] == "game" else 2, "period": last["period"]}
        game = self._box | shown | {"gameClock": last["clock"]}
        files: dict[str, dict[str, Any]] = {
            PLAYS: {"game": {"gameId": GAME, "actions": happened or self._actions[:1]}},
            BOX: {"game": game},
            BOARD: {"scoreboard": {"gameDate": "2020-12-22", "games": [game]}},
        }
        return files[path]


@pytest.mark.nightly  # by day, test_bad_days.py watches simulated games, and tests/e2e a real evening
@pytest.mark.parametrize(("seed", "turn_seconds"), [(seed, 10) for seed in (0, 1)])
async def test_the_recorded_game_watched_through_faults_has_true_patterns_alone_and_its_outcomes(
    seed: int, turn_seconds: int, data_dir: Path
) -> None:
    going_by = GoingBy(data_dir / "feed", seed)
    events: list[Event] = []
    predictor = StoringPredictor()
    async with Poller(DirectFeed(going_by.respond), predictor, on_event=[events.append], now=going_by.clock) as poller:
        while going_by.clock.now < going_by.end + timedelta(minutes=2):
            poller.turn()
            await poller.idle()
            going_by.clock.step(turn_seconds)

    plays = read_plays(going_by.plays, GAME).plays
    true = slots((play.score for play in plays), 48)
    predictions = [event for event in events if isinstance(event, Prediction)]
    assert all(prediction.pattern == true[: len(prediction.pattern)] for prediction in predictions)
    assert {prediction.forecast.revision for prediction in predictions} == {0}
    balls = {minute: live.possession for minute, live in enumerate(known_inputs(plays, 47, "BKN"), start=1)}
    assert [minute for minute, ball in balls.items() if ball] == list(range(POSSESSION_FROM, 48))
    late = [asked.request for asked in predictor.asked if asked.minute >= POSSESSION_FROM]
    told = [(len(each.pattern), live_inputs.from_message(each)[0].possession) for each in late]
    assert {ball in (balls[minute], None) for minute, ball in told} == {True}
    assert len({minute for minute, ball in told if ball}) >= 4
    newest = {prediction.forecast.horizon: len(prediction.pattern) for prediction in predictions}
    assert newest == {HALFTIME: 23, FINAL: 47}
    outcomes = {event.horizon: event.differential for event in events if isinstance(event, HorizonResult)}
    assert outcomes == {HALFTIME: 18, FINAL: 26}
    half, final = poller.summary().horizons
    assert half.forecasts + half.missed == 18
    assert final.forecasts + final.missed == 42
    assert final.forecasts >= 35, "one file in two is spoilt for half of each minute"
    assert {event.kind for event in events if isinstance(event, Fault)} >= {FaultKind.UNAVAILABLE, FaultKind.MALFORMED}
