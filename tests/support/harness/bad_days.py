"""Evenings on which the feed goes wrong, watched turn by turn: without HTTP, on a stepped clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from tests.support.builders.evenings import StoringPredictor
from tests.support.fakes.clock import SteppedClock

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.poller import Poller, PredictionClient
from dejavu_client.poller.events import Event, HorizonResult, OutcomeReported, Prediction
from dejavu_client.requests import HALFTIME
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.nba.live import GameState, Play, Scoreboard, read_boxscore, read_plays, read_scoreboard
from dejavu_feed.nba.live_feed import LIVE_PATH, Feed
from dejavu_feed.replay.faults.injector import FaultyReplay
from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.games import ReplayGame
from dejavu_feed.replay.http_server import Responder
from dejavu_feed.replay.replay import Replay
from dejavu_feed.replay.timeline import PACE, QUARTER_BREAK, period_end

TURN: Final = 10.0
"""Seconds from one turn to the next, at life's speed."""
QUIET: Final = 66.0
"""Seconds from one turn to the next where nothing is about to end: two looks at each minute of play."""
SIX_MINUTES: Final = PACE * 1080 + QUARTER_BREAK
HALF: Final = period_end(2)
REGULATION: Final = period_end(4)
"""Life seconds from tip-off to 6:00 of the second quarter, to the half, and to the end of regulation."""
_SHARP: Final = (300.0, 60.0)
"""Life seconds before an end from which on, and after it until which, a sharp eye is kept."""


class DirectFeed:
    """A `Feed` that reads a responder's answers as `NbaFeed` does, without a connection.

    Attributes:
        down: if set, nothing answers.
    """

    def __init__(self, respond: Responder) -> None:
        self._respond = respond
        self.down = False

    def scoreboard(self) -> Scoreboard:
        return read_scoreboard(self._get("scoreboard/todaysScoreboard_00.json"))

    def game(self, game_id: str) -> GameState:
        return read_boxscore(self._get(f"boxscore/boxscore_{game_id}.json"), game_id)

    def plays(self, game_id: str) -> tuple[Play, ...]:
        return read_plays(self._get(f"playbyplay/playbyplay_{game_id}.json"), game_id)

    def _get(self, path: str) -> object:
        answer = self._respond(LIVE_PATH + path)
        if self.down or answer.hold or answer.status != HTTPStatus.OK:
            raise FeedUnavailable(f"{path}: no answer")
        if int(answer.headers.get("Content-Length", len(answer.body))) != len(answer.body):
            raise FeedUnavailable(f"{path}: cut off")
        try:
            return json.loads(answer.body)
        except ValueError as error:
            raise MalformedFeed(f"{path}: not JSON") from error


class BadDay:
    """Games with faults, at life's speed, and the pollers that watch them one after the other.

    Attributes:
        direct, feed: how its answers are read, unless another feed is put in place.
        predictor: who forecasts unless another client is given; outlives a poller as a server does.
        events: what the pollers told, all of them.
    """

    def __init__(
        self,
        games: Sequence[ReplayGame],
        kinds: Sequence[FeedFaultKind] = (),
        *,
        seed: int = 0,
        rate: float = 0.7,
        stagger: float = 300.0,
    ) -> None:
        self.stagger = stagger
        self.clock = SteppedClock()
        self.replay = Replay(games, stagger=stagger, now=self.clock)
        self.faulty = FaultyReplay(self.replay, kinds, seed=seed, rate=rate)
        self.direct = DirectFeed(self.faulty.respond)
        self.feed: Feed = self.direct
        self.predictor = StoringPredictor()
        self.events: list[Event] = []
        self._lives: list[float] = []

    @property
    def end(self) -> datetime:
        """Some time after the last game, when every source was asked once more."""
        return self.replay.end + timedelta(minutes=20)

    def life(self, seconds: float) -> datetime:
        """A moment by life seconds since the first tip-off."""
        return self.replay.start + timedelta(seconds=seconds)

    @property
    def newest(self) -> dict[tuple[str, Horizon.ValueType], Prediction]:
        """The newest forecast of each game and horizon, by its home team and the horizon."""
        told = (event for event in self.events if isinstance(event, Prediction))
        return {(event.game.home, event.forecast.horizon): event for event in told}

    @property
    def outcomes(self) -> dict[tuple[str, Horizon.ValueType], int]:
        """The last outcome of each game and horizon, likewise."""
        told = (event for event in self.events if isinstance(event, HorizonResult))
        return {(event.game.home, event.horizon): event.differential for event in told}

    @property
    def record(self) -> dict[tuple[str, Horizon.ValueType], int]:
        """What the record has last of each game and horizon, likewise."""
        told = (event for event in self.events if isinstance(event, OutcomeReported))
        return {(event.game.home, event.horizon): event.outcome.differential for event in told}

    def told_too_late(self) -> list[Prediction]:
        """Forecasts that came when what they forecast was over."""
        late = []
        for event, life in zip(self.events, self._lives, strict=True):
            if isinstance(event, Prediction):
                end = HALF if event.forecast.horizon == HALFTIME else REGULATION
                tip_off = self.stagger * list(self.replay.games).index(event.game.game_id)
                if life - tip_off > end:
                    late.append(event)
        return late

    def _note(self, event: Event) -> None:
        self.events.append(event)
        self._lives.append((self.clock.now - self.replay.start).total_seconds())

    @asynccontextmanager
    async def watched(self, client: PredictionClient | None = None) -> AsyncIterator[Poller]:
        async with Poller(self.feed, client or self.predictor, on_event=[self._note], now=self.clock) as poller:
            yield poller

    async def go_on(self, poller: Poller, until: datetime, *, turn: float = TURN) -> None:
        """Turn after turn until a moment."""
        while self.clock.now < until:
            poller.turn()
            await poller.idle()
            self.clock.step(turn)

    async def go_on_until(self, life: float) -> None:
        """With a poller of its own, which is ended after so many life seconds of the day."""
        async with self.watched() as poller:
            await self._go_on(poller, self.life(life))

    async def go_by(self, client: PredictionClient | None = None, *, restart: float | None = None) -> Poller:
        """The whole evening, with a sharp eye where a half or regulation is about to end.

        Args:
            client: who forecasts, if not the day's own predictor.
            restart: life seconds after which the poller is ended and another one begins.
        """
        if restart is not None:
            async with self.watched(client) as poller:
                await self._go_on(poller, self.life(restart))
        async with self.watched(client) as poller:
            await self._go_on(poller, self.end)
        return poller

    async def _go_on(self, poller: Poller, until: datetime) -> None:
        """Turn after turn until a moment, quick ones or slow ones."""
        while self.clock.now < until:
            await self.go_on(poller, self.clock.now + timedelta(seconds=1), turn=TURN if self._sharp() else QUIET)

    def _sharp(self) -> bool:
        life = (self.clock.now - self.replay.start).total_seconds()
        before, after = _SHARP
        ends = [end + self.stagger * index for index in range(len(self.replay.games)) for end in (HALF, REGULATION)]
        return any(end - before <= life <= end + after for end in ends)
