"""The NBA's recorded payloads with each response fault: rejected with the right error, or parsed correctly."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.support.builders.evenings import StoringPredictor
from tests.support.builders.halftime import halftime_differential, live_pattern
from tests.support.fakes.clock import SteppedClock
from tests.support.harness.bad_days import DirectFeed

from dejavu_client import FINAL, HALFTIME
from dejavu_client.poller import Poller
from dejavu_client.poller.events import Event, Fault, FaultKind, HorizonResult, Prediction
from dejavu_feed.errors import FeedError, FeedUnavailable, MalformedFeed
from dejavu_feed.nba.live_feed import LIVE_PATH, NbaFeed
from dejavu_feed.nba.live_payloads import read_plays
from dejavu_feed.pattern import slots
from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.faults.responses import PAYLOAD_FAULTS, RESPONSE_FAULTS
from dejavu_feed.replay.http_server import LocalServer, Response
from dejavu_feed.replay.replay import json_response

pytestmark = pytest.mark.real_data
GAME = "0022000001"
PLAYS = LIVE_PATH + f"playbyplay/playbyplay_{GAME}.json"
BOX = LIVE_PATH + f"boxscore/boxscore_{GAME}.json"
BOARD = LIVE_PATH + "scoreboard/todaysScoreboard_00.json"


class Recorded:
    """The recorded files, served with a fault injected by a test."""

    def __init__(self, folder: Path) -> None:
        self.files = {
            PLAYS: json.loads((folder / f"playbyplay_{GAME}.json").read_text()),
            BOX: json.loads((folder / f"boxscore_{GAME}.json").read_text()),
            BOARD: json.loads((folder / "todaysScoreboard_2023-04-20.json").read_text()),
        }
        self.fault: Callable[[Response], Response] = lambda response: response

    def respond(self, path: str) -> Response:
        return self.fault(json_response(self.files[path]))

    def spoil(self, kind: FeedFaultKind, seed: int) -> None:
        """Injects one kind of fault into every response."""

        def spoilt(response: Response) -> Response:
            rng = random.Random(seed)
            if kind is FeedFaultKind.TIMEOUT:
                return Response(200, b"", hold=0.2)
            if kind in RESPONSE_FAULTS:
                return RESPONSE_FAULTS[kind](response, rng)
            payload = json.loads(response.body)
            if kind is FeedFaultKind.INCOMPLETE or "actions" in payload.get("game", ()):
                PAYLOAD_FAULTS[kind](payload, rng)
            return json_response(payload)

        self.fault = spoilt


@pytest.fixture
def recorded(data_dir: Path) -> Recorded:
    return Recorded(data_dir / "feed")


@pytest.fixture
def feed(recorded: Recorded) -> Iterator[NbaFeed]:
    with LocalServer(recorded.respond) as server, NbaFeed(server.url) as feed:
        yield feed


def refusals(feed: NbaFeed) -> list[FeedError]:
    """Returns the errors raised by the three reads."""
    found = []
    for read in (feed.scoreboard, lambda: feed.plays(GAME), lambda: feed.game(GAME)):
        with pytest.raises(FeedError) as caught:
            read()
        found.append(caught.value)
    return found


@pytest.mark.parametrize(
    "kind",
    [FeedFaultKind.FORBIDDEN_PAGE, FeedFaultKind.FORBIDDEN_JSON, FeedFaultKind.SERVER_ERROR, FeedFaultKind.TIMEOUT],
)
def test_what_is_no_answer_is_unavailable(kind: FeedFaultKind, recorded: Recorded, feed: NbaFeed) -> None:
    recorded.spoil(kind, seed=0)
    assert {type(error) for error in refusals(feed)} == {FeedUnavailable}


@pytest.mark.parametrize("kind", [FeedFaultKind.EMPTY, FeedFaultKind.HOLLOW])
def test_what_holds_nothing_is_malformed(kind: FeedFaultKind, recorded: Recorded, feed: NbaFeed) -> None:
    for seed in range(4):
        recorded.spoil(kind, seed)
        assert {type(error) for error in refusals(feed)} == {MalformedFeed}


def test_a_truncated_answer_is_never_taken_for_the_whole(recorded: Recorded, feed: NbaFeed) -> None:
    for seed in range(12):
        recorded.spoil(FeedFaultKind.TRUNCATED, seed)
        assert {type(error) for error in refusals(feed)} <= {MalformedFeed, FeedUnavailable}


@pytest.mark.parametrize("kind", [FeedFaultKind.DUPLICATED, FeedFaultKind.DISORDERED])
def test_plays_listed_twice_or_out_of_order_give_the_same_game(
    kind: FeedFaultKind, recorded: Recorded, feed: NbaFeed
) -> None:
    true = feed.plays(GAME)
    for seed in range(6):
        recorded.spoil(kind, seed)
        assert feed.plays(GAME) == true


def test_plays_that_lack_a_field_are_refused_or_give_the_same_game(recorded: Recorded, feed: NbaFeed) -> None:
    true = feed.plays(GAME)
    refused = 0
    for seed in range(40):
        recorded.spoil(FeedFaultKind.INCOMPLETE, seed)
        try:
            plays = feed.plays(GAME)
        except MalformedFeed:
            refused += 1
            continue
        assert live_pattern(plays, 18) == live_pattern(true, 18)
        assert halftime_differential(plays) == halftime_differential(true)
    assert 0 < refused < 40


def test_a_scoreboard_with_a_broken_game_shows_the_others(recorded: Recorded, feed: NbaFeed) -> None:
    true = {state.game_id: state for state in feed.scoreboard().games}
    for seed in range(20):
        recorded.spoil(FeedFaultKind.INCOMPLETE, seed)
        board = feed.scoreboard()
        assert len(board.games) + len(board.faults) == len(true)
        same = [state for state in board.games if state == true[state.game_id]]
        assert len(same) >= len(true) - 1


class GoingBy:
    """Replays the recorded game: at each time, the plays so far and a matching scoreboard.

    In the first half of each minute a file may be faulty, or two minutes old.
    """

    def __init__(self, recorded: Recorded, seed: int) -> None:
        self._recorded = recorded
        self._seed = seed
        self._actions = recorded.files[PLAYS]["game"]["actions"]
        self._moments = [datetime.fromisoformat(action["timeActual"]) for action in self._actions]
        self.clock = SteppedClock(self._moments[0])
        self.end = max(self._moments)

    def respond(self, path: str) -> Response:
        now = self.clock.now
        rng = random.Random(f"{self._seed} {path} {now:%H:%M}")
        kind = (
            rng.choice([None, FeedFaultKind.STALE, FeedFaultKind.TIMEOUT, *PAYLOAD_FAULTS, *RESPONSE_FAULTS])
            if now.second < 30
            else None
        )
        if kind is FeedFaultKind.STALE:
            now -= timedelta(minutes=2)
        happened = [action for action, moment in zip(self._actions, self._moments, strict=True) if moment <= now]
        last = happened[-1] if happened else self._actions[0]
        game = self._recorded.files[BOX]["game"] | {
            "gameStatus": 3 if last["actionType"] == "game" else 2,
            "period": last["period"],
            "gameClock": last["clock"],
        }
        files = {
            PLAYS: {"game": {"gameId": GAME, "actions": happened or self._actions[:1]}},
            BOX: {"game": game},
            BOARD: {"scoreboard": {"gameDate": "2020-12-22", "games": [game]}},
        }
        if kind is None or kind is FeedFaultKind.STALE:
            return json_response(files[path])
        self._recorded.spoil(kind, rng.randrange(100))
        return self._recorded.fault(json_response(files[path]))


@pytest.mark.parametrize(
    ("seed", "turn_seconds"), [(0, 30), *(pytest.param(seed, 10, marks=pytest.mark.nightly) for seed in (0, 1))]
)
async def test_the_recorded_game_watched_through_faults_has_true_patterns_alone_and_its_outcomes(
    seed: int, turn_seconds: int, recorded: Recorded
) -> None:
    going_by = GoingBy(recorded, seed)
    events: list[Event] = []
    async with Poller(
        DirectFeed(going_by.respond), StoringPredictor(), on_event=[events.append], now=going_by.clock
    ) as poller:
        while going_by.clock.now < going_by.end + timedelta(minutes=2):
            poller.turn()
            await poller.idle()
            going_by.clock.step(turn_seconds)

    true = slots((play.score for play in read_plays(recorded.files[PLAYS], GAME)), 48)
    predictions = [event for event in events if isinstance(event, Prediction)]
    assert all(prediction.pattern == true[: len(prediction.pattern)] for prediction in predictions)
    assert {prediction.forecast.revision for prediction in predictions} == {0}
    newest = {prediction.forecast.horizon: len(prediction.pattern) for prediction in predictions}
    assert newest == {HALFTIME: 23, FINAL: 47}
    outcomes = {event.horizon: event.differential for event in events if isinstance(event, HorizonResult)}
    assert outcomes == {HALFTIME: 18, FINAL: 26}
    half, final = poller.summary().horizons
    assert half.forecasts + half.missed == 18
    assert final.forecasts + final.missed == 42
    assert final.forecasts >= 35, "one file in two is spoilt for half of each minute"
    assert {event.kind for event in events if isinstance(event, Fault)} >= {FaultKind.UNAVAILABLE, FaultKind.MALFORMED}
