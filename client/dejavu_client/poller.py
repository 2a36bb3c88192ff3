"""The live poller: watches the scoreboard, has the half of each game forecast in time, and tells how it came out.

A turn starts one read of the scoreboard and one of the plays of every game under way; who is slow to answer only
misses turns of its own. Everything is rebuilt from all plays at each read, so a correction before the half leads to a
revision, and after it to a corrected outcome. The ledger keeps a game's forecast once for the same pattern: after a
restart, or to a second poller, the stored one is the answer. Nothing is forecast from an answer of the past
(docs/decisions/0015).

The module is public: a program of yours can watch an evening as `dejavu poll` does.

```python
import asyncio

from dejavu_client import AsyncDejavuClient
from dejavu_client.poller import Poller, Prediction
from dejavu_feed.nba import NbaFeed


def announce(prediction: Prediction) -> None:
    game, forecast = prediction.game, prediction.forecast
    print(f"{game.away} @ {game.home}: {forecast.point_forecast:+.1f} at the half, sequence {forecast.sequence}")


async def main() -> None:
    with NbaFeed() as feed:
        async with AsyncDejavuClient("127.0.0.1:50051") as client:
            async with Poller(feed, client, on_prediction=[announce]) as poller:
                await poller.run(until_final=True)


asyncio.run(main())
```
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, Protocol, Self, TypeVar

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client.errors import PASSING, DejavuClientError, InternalError
from dejavu_client.log import get_logger
from dejavu_client.poll_events import (
    Event,
    Fault,
    FaultKind,
    GameChanged,
    Missed,
    Outcome,
    Prediction,
    feed_fault,
)
from dejavu_client.poll_reads import Reads, ask
from dejavu_client.poll_state import Backoff, Summary, WatchedGame, summarize
from dejavu_feed.clock import utc_now
from dejavu_feed.course import earliest_half, half_is_over, halftime_score, live_pattern
from dejavu_feed.errors import FeedError, StaleFeed
from dejavu_feed.live import GameState, GameStatus, Play
from dejavu_feed.nba import Feed

__all__ = [
    "DEFAULT_INTERVAL",
    "Callback",
    "Event",
    "Fault",
    "FaultKind",
    "Feed",
    "GameChanged",
    "Missed",
    "Outcome",
    "Poller",
    "Prediction",
    "Predictor",
    "Summary",
    "WatchedGame",
]

EventT = TypeVar("EventT", bound=Event)
Callback = Callable[[EventT], Awaitable[None] | None]

PATTERN_MINUTES: Final = 18
DEFAULT_INTERVAL: Final = 10.0
_SCOREBOARD: Final = "scoreboard"
_REST_AFTER_HALF: Final = 9
"""Turns between two reads of a game whose half is known to be over: only corrections are still of interest."""
_LOST_AFTER: Final = 3
"""Failures of the scoreboard in a row after which games are looked up by their box scores."""
_GIVEN_UP_AFTER: Final = 12
"""Failures in a row after which the plays of a game that is final are left unread."""

log = get_logger()


class Predictor(Protocol):
    """Who forecasts; an `AsyncDejavuClient`."""

    async def predict(self, pattern: Sequence[float], *, game_id: str, home_team: str, away_team: str) -> Forecast:
        """Forecasts a game's half; raises a `DejavuClientError`."""
        ...


class Poller:
    """Watches an evening until it is told to stop.

    Args:
        feed: where games come from; read in threads, each source by one at a time.
        client: who forecasts.
        interval: seconds from the start of one turn to that of the next.
        on_prediction: called with each forecast, once for each place in the ledger.
        on_event: called with everything that happens, forecasts included.
        now: the wall clock, aware.

    Callbacks may be coroutine functions; one that fails is logged and harms nobody else.

    Attributes:
        games: every game seen so far by its id, in the scoreboard's order.
        scoreboard_time: when the scoreboard was last read; None before.
        scoreboard_trouble: why it could not be read the last time; "" if it could.
    """

    def __init__(
        self,
        feed: Feed,
        client: Predictor,
        *,
        interval: float = DEFAULT_INTERVAL,
        on_prediction: Sequence[Callback[Prediction]] = (),
        on_event: Sequence[Callback[Event]] = (),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.games: dict[str, WatchedGame] = {}
        self.scoreboard_time: datetime | None = None
        self.scoreboard_trouble = ""
        self._feed = feed
        self._client = client
        self._interval = interval
        self._on_prediction = tuple(on_prediction)
        self._on_event = list(on_event)
        self._now = now
        self._day = ""
        self._reads = Reads()
        self._backoff = Backoff()
        self._known_faults: frozenset[str] = frozenset()
        self._told: set[int] = set()
        self._latencies: list[float] = []
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Gives up reads and calls under way. A thread that waits for the feed is left to itself."""
        self.stop()
        await self._reads.close()

    def tell(self, callback: Callback[Event]) -> None:
        """Has a callback called with everything that happens from now on."""
        self._on_event.append(callback)

    def stop(self) -> None:
        """Ends `run` at once; to be called in the loop, for instance by a signal handler of it."""
        self._stop.set()

    def summary(self) -> Summary:
        """The evening in figures, so far."""
        return summarize(self.games.values(), self._latencies)

    async def run(self, *, until_final: bool = False) -> None:
        """Turn after turn, until `stop`.

        Args:
            until_final: end by itself once every game of the scoreboard is over and read to its end.
        """
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            next_turn = loop.time() + self._interval
            self.turn()
            try:
                async with asyncio.timeout_at(next_turn):
                    await self._stop.wait()
            except TimeoutError:
                if until_final and self._nothing_left():
                    return

    def turn(self) -> None:
        """Starts reading the scoreboard and the games under way, but for what is still being read."""
        if _SCOREBOARD not in self._reads and self._backoff.due():
            self._reads.start(_SCOREBOARD, self._read_scoreboard, self._scoreboard_failed)
        now = self._now()
        for game_id, game in self.games.items():
            if game_id not in self._reads and game.to_follow and game.backoff.due():
                self._start_following(game)
            # The scoreboard turns to the next day while a long game may still run.
            lost = not game.shown or self._backoff.failures >= _LOST_AFTER
            source = f"box score of {game_id}"
            if lost and source not in self._reads and game.to_look_up(now) and game.box_backoff.due():
                self._reads.start(source, partial(self._look_up, game), partial(self._look_up_failed, game))

    async def idle(self) -> None:
        """Returns when nothing is being read."""
        await self._reads.idle()

    def _nothing_left(self) -> bool:
        """Whether the games of the day that the scoreboard showed first are over; it may have turned to the next."""
        if self._reads or self.scoreboard_time is None:
            return False
        of_day = [game for game in self.games.values() if game.day in {"", self._day}]
        return all(game.over and not game.to_follow for game in of_day)

    def _start_following(self, game: WatchedGame) -> None:
        self._reads.start(game.state.game_id, partial(self._follow, game), partial(self._plays_failed, game))

    async def _read_scoreboard(self) -> None:
        board = await ask(self._feed.scoreboard)
        self.scoreboard_trouble = ""
        self._backoff.succeeded()
        self.scoreboard_time = self._now()
        self._day = self._day or board.date
        for state in board.games:
            if await self._saw(state, board.date) and state.game_id not in self._reads:
                game = self.games[state.game_id]
                if game.to_follow:
                    self._start_following(game)
        faults = frozenset(str(fault) for fault in board.faults)
        for fault in sorted(faults - self._known_faults):
            await self._emit(Fault(_SCOREBOARD, fault, kind=FaultKind.MALFORMED))
        self._known_faults = faults
        shown = {state.game_id for state in board.games}
        for game_id, game in self.games.items():
            game.shown = game_id in shown

    async def _look_up(self, game: WatchedGame) -> None:
        """Reads a game that the scoreboard does not show any more."""
        state = await ask(self._feed.game, game.state.game_id)
        game.box_backoff.succeeded()
        await self._saw(state, game.day)

    async def _saw(self, state: GameState, day: str) -> bool:
        """Notes a game's state; whether it is new or has another status."""
        now = self._now()
        game = self.games.get(state.game_id)
        before = game.state if game else None
        if game is None:
            game = self.games[state.game_id] = WatchedGame(state, now, day=day)
        else:
            behind = game.behind_since
            if not game.saw(state, now):
                if behind is None:
                    old = f"{state.away} @ {state.home} is shown as it was: {state.text}"
                    await self._emit(Fault(_SCOREBOARD, old, kind=FaultKind.STALE))
                return False
        changed = before is None or before.status is not state.status
        if changed:
            if state.status is GameStatus.LIVE:  # tipped off, or called final too early
                game.half_over = game.read_to_end = False
                game.plays_time = game.plays_time or now
            await self._emit(GameChanged(state))
        if game.forecast is None and not game.half_over and game.half_played and state.game_id not in self._reads:
            await self._miss(game)
        return changed

    async def _follow(self, game: WatchedGame) -> None:
        """Reads a game's plays and does what they call for."""
        status = game.state.status
        plays = await ask(self._feed.plays, game.state.game_id)
        game.read(plays, self._now())
        if half_is_over(plays) or game.half_played:
            await self._settle(game, plays)
        else:
            game.half_over = False  # a period, or its end, may have been shown too early
            await self._foresee(game, plays)
        game.reads += 1
        game.read_to_end = status is GameStatus.FINAL
        if game.state.status is not status:  # it ended meanwhile: read it once more, and soon
            game.backoff.skip = 0

    async def _foresee(self, game: WatchedGame, plays: Sequence[Play]) -> None:
        """Has the half forecast if its pattern is complete, and is another one than before."""
        pattern = live_pattern(plays, PATTERN_MINUTES)
        if pattern is None:
            game.seen_incomplete = True
        elif pattern not in (game.pattern, game.refused):
            now = self._now()
            earliest = earliest_half(plays, now)
            if earliest is not None and earliest < now:
                late = (now - earliest).total_seconds()
                raise StaleFeed(f"by this machine's clock the half may be over, for {late:.0f} s: its plays are old")
            await self._forecast(game, pattern, _completed_at(plays))

    async def _forecast(self, game: WatchedGame, pattern: tuple[int, ...], completed: datetime | None) -> None:
        state = game.state
        try:
            forecast = await self._client.predict(
                pattern, game_id=state.game_id, home_team=state.home, away_team=state.away
            )
        except (*PASSING, InternalError) as error:  # a fault of the server's may be gone when it is asked again
            game.trouble = f"server: {error}"
            game.unanswered += 1
            reason = f"no forecast, trying again: {error}"
            await self._emit(Fault(state.game_id, reason, game.unanswered, kind=FaultKind.SERVER))
            return
        except DejavuClientError as error:
            game.refused, game.note = pattern, f"refused: {error}"
            reason = f"the server refuses to forecast: {error}"
            await self._emit(Fault(state.game_id, reason, kind=FaultKind.REFUSED))
            return
        latency = None
        if game.forecast is not None or not game.seen_incomplete:
            completed = None  # a revision, or complete when it was first read: when that was says nothing
        if completed is not None:
            latency = (self._now() - completed).total_seconds()
            self._latencies.append(latency)
        game.pattern, game.forecast, game.note, game.unanswered = pattern, forecast, "", 0
        if forecast.sequence not in self._told:
            self._told.update({forecast.sequence} - {0})
            prediction = Prediction(game.state, pattern, forecast, latency, completed)
            await self._call(self._on_prediction, prediction)
            await self._emit(prediction)

    async def _settle(self, game: WatchedGame, plays: Sequence[Play]) -> None:
        """Holds a forecast against the half; anew when the plays of the half are corrected later."""
        if game.forecast is None or game.pattern is None:
            if not game.half_over:
                await self._miss(game)
            game.backoff.succeeded(rest=_REST_AFTER_HALF)
            return
        score = halftime_score(plays)
        if score is None:
            return
        game.half_over = True
        game.backoff.succeeded(rest=_REST_AFTER_HALF)
        differential = score.home - score.away
        if game.outcome is None or (game.outcome.differential, game.outcome.forecast) != (differential, game.forecast):
            # As the plays have it: what the scoreboard showed last is older, or newer.
            half = replace(game.state, period=2, clock=0.0, home_score=score.home, away_score=score.away, text="Half")
            game.outcome = Outcome(half, differential, game.forecast, game.pattern[-1])
            await self._emit(game.outcome)

    async def _miss(self, game: WatchedGame) -> None:
        game.half_over = True
        game.note = game.note or ("no forecast before the half" if game.reads else "polled too late")
        await self._emit(Missed(game.state, game.note))

    async def _scoreboard_failed(self, error: FeedError) -> None:
        self.scoreboard_trouble = str(error)
        await self._emit(feed_fault(_SCOREBOARD, error, self._backoff.failed()))

    async def _look_up_failed(self, game: WatchedGame, error: FeedError) -> None:
        await self._emit(feed_fault(game.state.game_id, error, game.box_backoff.failed()))

    async def _plays_failed(self, game: WatchedGame, error: FeedError) -> None:
        game.reads += 1
        game.trouble = f"feed: {error}"
        failures = game.backoff.failed()
        if game.state.status is GameStatus.FINAL and failures >= _GIVEN_UP_AFTER:
            game.read_to_end = True
        await self._emit(feed_fault(game.state.game_id, error, failures))

    async def _emit(self, event: Event) -> None:
        if isinstance(event, Fault):  # at level info: who watches is told by the event
            log.info("poll.fault", source=event.source, reason=event.reason, failures=event.failures)
        await self._call(self._on_event, event)

    async def _call(self, callbacks: Iterable[Callback[EventT]], event: EventT) -> None:
        for callback in callbacks:
            try:
                result = callback(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                log.exception("poll.callback_failed", callback=repr(callback), happened=type(event).__name__)


def _completed_at(plays: Iterable[Play]) -> datetime | None:
    """When, by the feed's wall clock, the play happened that completed the pattern."""
    return next((play.actual for play in plays if play.elapsed > 60 * PATTERN_MINUTES), None)
