"""Evenings on which the feed goes wrong, watched turn by turn: without HTTP, on a stepped clock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from tests.support.clock import SteppedClock
from tests.support.evenings import StoringPredictor

from dejavu_client.poll_events import Event, Missed, Outcome, Prediction
from dejavu_client.poller import Poller, Predictor
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.evening import PlayedGame
from dejavu_feed.faults.kinds import Kind
from dejavu_feed.faults.layer import FaultyReplay
from dejavu_feed.live import GameState, Play, Scoreboard, read_boxscore, read_plays, read_scoreboard
from dejavu_feed.local_http import Responder
from dejavu_feed.nba import LIVE_PATH, Feed
from dejavu_feed.replay import Replay
from dejavu_feed.timeline import PACE, QUARTER_BREAK

TURN: Final = 10.0
"""Seconds from one turn to the next, at life's speed."""
SIX_MINUTES: Final = PACE * 1080 + QUARTER_BREAK
HALF: Final = PACE * 1440 + QUARTER_BREAK
"""Life seconds from tip-off to 6:00 of the second quarter, and to the half."""


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
        games: Sequence[PlayedGame],
        kinds: Sequence[Kind] = (),
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

    @property
    def end(self) -> datetime:
        """Some time after the last game, when every source was asked once more."""
        return self.replay.end + timedelta(minutes=20)

    def life(self, seconds: float) -> datetime:
        """A moment by life seconds since the first tip-off."""
        return self.replay.start + timedelta(seconds=seconds)

    @property
    def newest(self) -> dict[str, Prediction]:
        """The newest forecast of each game, by its home team."""
        return {event.game.home: event for event in self.events if isinstance(event, Prediction)}

    @property
    def outcomes(self) -> dict[str, int]:
        """The last outcome of each game, by its home team."""
        return {event.game.home: event.differential for event in self.events if isinstance(event, Outcome)}

    def told_after_the_half(self) -> list[Prediction]:
        """Forecasts that came when the half was over."""
        late = []
        half_over = set()
        for event in self.events:
            if isinstance(event, Outcome | Missed):
                half_over.add(event.game.game_id)
            elif isinstance(event, Prediction) and event.game.game_id in half_over:
                late.append(event)
        return late

    @asynccontextmanager
    async def watched(self, client: Predictor | None = None) -> AsyncIterator[Poller]:
        async with Poller(self.feed, client or self.predictor, on_event=[self.events.append], now=self.clock) as poller:
            yield poller

    async def go_on(self, poller: Poller, until: datetime, *, turn: float = TURN) -> None:
        """Turn after turn until a moment."""
        while self.clock.now < until:
            poller.turn()
            await poller.idle()
            self.clock.step(turn)

    async def go_by(self, client: Predictor | None = None, *, restart: float | None = None) -> Poller:
        """The whole evening, with a sharp eye from the second quarters to the halves.

        Args:
            client: who forecasts, if not the day's own predictor.
            restart: life seconds after which the poller is ended and another one begins.
        """
        last_half = self.life(HALF + 120 + (len(self.replay.games) - 1) * self.stagger)
        if restart is not None:
            async with self.watched(client) as poller:
                await self.go_on(poller, self.life(min(restart, SIX_MINUTES - 600)), turn=60.0)
                await self.go_on(poller, self.life(restart))
        async with self.watched(client) as poller:
            await self.go_on(poller, self.life(SIX_MINUTES - 600), turn=60.0)
            await self.go_on(poller, last_half)
            await self.go_on(poller, self.end, turn=60.0)
        return poller
