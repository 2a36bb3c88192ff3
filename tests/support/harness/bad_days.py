"""Evenings with feed faults, polled turn by turn: without HTTP, on a stepped clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from tests.support.builders.evenings import StoringPredictor
from tests.support.fakes.clock import SteppedClock
from tests.support.fakes.feed_faults import FaultyReplay, FeedFaultKind

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.requests import HALFTIME
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.nba.live_feed import LIVE_PATH
from dejavu_feed.nba.live_payloads import GameState, PlayByPlay, Scoreboard, read_boxscore, read_plays, read_scoreboard
from dejavu_feed.replay.games import ReplayGame
from dejavu_feed.replay.http_server import Responder
from dejavu_feed.replay.replay import Replay
from dejavu_feed.replay.timeline import PACE, QUARTER_BREAK, period_end
from dejavu_poller import Poller
from dejavu_poller.events import Event, HorizonResult, OutcomeReported, Prediction

TURN: Final = 10.0
"""Seconds between turns, at real-time speed."""
STAGGER: Final = 300.0
"""Real-time seconds between the tip-offs of two games."""
QUIET: Final = 66.0
"""Seconds between turns while no horizon is about to end: two polls per minute of play."""
SIX_MINUTES: Final = PACE * 1080 + QUARTER_BREAK
HALF: Final = period_end(2)
REGULATION: Final = period_end(4)
"""Real-time seconds from tip-off to 6:00 of the second quarter, to the half, and to the end of regulation."""
_NEAR_END: Final = (300.0, 60.0)
"""Real-time seconds before and after the end of a half or of regulation in which polls are frequent."""


class DirectFeed:
    """A `Feed` that reads a responder's answers like `NbaFeed`, without a connection."""

    def __init__(self, respond: Responder) -> None:
        self._respond = respond

    def scoreboard(self) -> Scoreboard:
        return read_scoreboard(self._get("scoreboard/todaysScoreboard_00.json"))

    def game(self, game_id: str) -> GameState:
        return read_boxscore(self._get(f"boxscore/boxscore_{game_id}.json"), game_id)

    def plays(self, game_id: str) -> PlayByPlay:
        return read_plays(self._get(f"playbyplay/playbyplay_{game_id}.json"), game_id)

    def _get(self, path: str) -> object:
        answer = self._respond(LIVE_PATH + path)
        if answer.hold or answer.status != HTTPStatus.OK:
            raise FeedUnavailable(f"{path}: no answer")
        if int(answer.headers.get("Content-Length", len(answer.body))) != len(answer.body):
            raise FeedUnavailable(f"{path}: cut off")
        try:
            return json.loads(answer.body)
        except ValueError as error:
            raise MalformedFeed(f"{path}: not JSON") from error


class BadDay:
    """Games with feed faults, at real-time speed, and the events of successive pollers that watch them.

    Attributes:
        predictor: the server of the pollers; shared by successive pollers.
        events: all events of all pollers.
    """

    def __init__(
        self,
        games: Sequence[ReplayGame],
        kinds: Sequence[FeedFaultKind] = (),
        *,
        seed: int = 0,
        rate: float = 0.7,
    ) -> None:
        self.clock = SteppedClock()
        self.replay = Replay(games, stagger=STAGGER, now=self.clock)
        self._feed = DirectFeed(FaultyReplay(self.replay, kinds, seed=seed, rate=rate).respond)
        self.predictor = StoringPredictor()
        self.events: list[Event] = []
        self._lives: list[float] = []
        self._ends = [end + STAGGER * index for index in range(len(games)) for end in (HALF, REGULATION)]

    @property
    def end(self) -> datetime:
        """The time after the last game at which every source has been read once more."""
        return self.replay.end + timedelta(minutes=20)

    @property
    def newest(self) -> dict[tuple[str, Horizon.ValueType], Prediction]:
        """The newest forecast of each game and horizon, by home team and horizon."""
        events = (event for event in self.events if isinstance(event, Prediction))
        return {(event.game.home, event.forecast.horizon): event for event in events}

    @property
    def patterns(self) -> dict[tuple[str, Horizon.ValueType], tuple[int, ...]]:
        """The patterns of the newest forecasts, by home team and horizon."""
        return {key: prediction.pattern for key, prediction in self.newest.items()}

    @property
    def inputs(self) -> dict[tuple[str, Horizon.ValueType], tuple[int, int, int]]:
        """Total points, and side and seconds of the last score, of the last requests, by home team and horizon."""
        return {
            (each.home_team, each.horizon): (
                each.request.total_points,
                each.request.last_score.side,
                each.request.last_score.seconds,
            )
            for each in self.predictor.asked
        }

    @property
    def outcomes(self) -> dict[tuple[str, Horizon.ValueType], int]:
        """The last outcome of each game and horizon, by home team and horizon."""
        events = (event for event in self.events if isinstance(event, HorizonResult))
        return {(event.game.home, event.horizon): event.differential for event in events}

    @property
    def record(self) -> dict[tuple[str, Horizon.ValueType], int]:
        """The last reported outcome of each game and horizon, by home team and horizon."""
        events = (event for event in self.events if isinstance(event, OutcomeReported))
        return {(event.game.home, event.horizon): event.outcome.differential for event in events}

    def told_too_late(self) -> list[Prediction]:
        """Return forecasts that were made after the end of their horizon."""
        late = []
        tip_offs = {game_id: STAGGER * index for index, game_id in enumerate(self.replay.games)}
        for event, life in zip(self.events, self._lives, strict=True):
            if isinstance(event, Prediction):
                end = HALF if event.forecast.horizon == HALFTIME else REGULATION
                if life - tip_offs[event.game.game_id] > end:
                    late.append(event)
        return late

    def _note(self, event: Event) -> None:
        """Store an event of a poller with its time."""
        self.events.append(event)
        self._lives.append(self._life())

    def _turn_seconds(self) -> float:
        """Return the seconds until the next turn: fewer near the end of a half or of regulation."""
        life, (before, after) = self._life(), _NEAR_END
        return TURN if any(end - before <= life <= end + after for end in self._ends) else QUIET

    def _life(self) -> float:
        return (self.clock.now - self.replay.start).total_seconds()

    async def run(self, *, restart: float | None = None) -> Poller:
        """Poll the whole evening, frequently near the end of a half or of regulation.

        Args:
            restart: real-time seconds after the first tip-off at which the poller stops and another one starts.
        """
        if restart is not None:
            await self._poll(self.replay.start + timedelta(seconds=restart))
        return await self._poll(self.end)

    async def _poll(self, until: datetime) -> Poller:
        options: dict[str, Any] = {"on_event": [self._note], "now": self.clock, "pace": 0}  # those of minutes compare
        async with Poller(self._feed, self.predictor, **options) as poller:
            while self.clock.now < until:
                seconds = self._turn_seconds()
                poller.turn()
                await poller.idle()
                self.clock.step(seconds)
        return poller
