"""Poller: reads the feed in turns and updates each game."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Final, Self, TypeVar

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.logs import get_logger
from dejavu_client.poller.events import (
    Event,
    Fault,
    FaultKind,
    GameChanged,
    Prediction,
    feed_fault,
)
from dejavu_client.poller.forecasting import ForecastScheduler
from dejavu_client.poller.history import MAX_ATTEMPTS
from dejavu_client.poller.horizons import FIRST_MINUTE, forecast_minutes
from dejavu_client.poller.predictor import PredictionClient
from dejavu_client.poller.reads import FeedReads, read_in_thread
from dejavu_client.poller.reporting import OutcomeReporter
from dejavu_client.poller.summary import Summary, summarize
from dejavu_client.poller.watched_game import PollBackoff, WatchedGame, watched_horizons
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_common.clock import utc_now
from dejavu_feed.errors import FeedError, StaleFeed
from dejavu_feed.nba.live_feed import Feed
from dejavu_feed.nba.live_payloads import GameState, GameStatus

EventT = TypeVar("EventT", bound=Event)
Callback = Callable[[EventT], Awaitable[None] | None]

DEFAULT_INTERVAL: Final = 10.0
_SCOREBOARD: Final = "scoreboard"
_IDLE_TURNS: Final = 9
"""Turns skipped between two reads of a game once no horizon is open; only the result is still needed."""
_BOXSCORES_AFTER_FAILURES: Final = 3
"""Consecutive failures of the scoreboard after which games are looked up by their box scores."""
_MAX_PLAY_FAILURES: Final = 12
"""Consecutive failures after which the plays of a final game are no longer read."""

log = get_logger()


class Poller:
    """Watches an evening of games until it is stopped.

    Args:
        feed: source of the games; read in threads, one at a time per source.
        client: requests forecasts and reports outcomes.
        interval: seconds between the starts of two turns.
        horizons: horizons to forecast: `HALFTIME`, `FINAL`, or both.
        from_minute: first minute of play after which to forecast, 1 to 47.
        every: minutes between two forecasts.
        report: whether to report the outcomes of every half and every game to the server, even if not forecast.
        on_prediction: callbacks for forecasts; called once per ledger sequence.
        on_event: callbacks for all events, including forecasts.
        now: wall clock, timezone-aware.

    Raises:
        ValueError: if there is no minute to forecast.

    Callbacks may be coroutine functions. A callback that raises is logged and does not affect anything else.

    Attributes:
        games: all games seen so far by id, in the scoreboard's order.
        scoreboard_time: when the scoreboard was last read; None before the first read.
        scoreboard_failure: why the last read of the scoreboard failed; "" if it succeeded.
        minutes: for each horizon, the minutes after which it is forecast.
    """

    def __init__(
        self,
        feed: Feed,
        client: PredictionClient,
        *,
        interval: float = DEFAULT_INTERVAL,
        horizons: Collection[Horizon.ValueType] = (HALFTIME, FINAL),
        from_minute: int = FIRST_MINUTE,
        every: int = 1,
        report: bool = True,
        on_prediction: Sequence[Callback[Prediction]] = (),
        on_event: Sequence[Callback[Event]] = (),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if from_minute < 1 or every < 1:
            raise ValueError(f"from_minute={from_minute}, every={every}; expected 1 or more")
        minutes = {horizon: forecast_minutes(horizon, from_minute, every) for horizon in horizons}
        self.minutes = MappingProxyType({horizon: each for horizon, each in minutes.items() if each})
        if not self.minutes:
            raise ValueError(f"from_minute={from_minute} leaves nothing to forecast; expected less, or other horizons")
        self.games: dict[str, WatchedGame] = {}
        self.scoreboard_time: datetime | None = None
        self.scoreboard_failure = ""
        self._feed = feed
        self._scheduler = ForecastScheduler(client, self.minutes, self._emit, now)
        self._reporter = OutcomeReporter(client, self._emit, now)
        self._report = report
        self._interval = interval
        self._on_prediction = tuple(on_prediction)
        self._on_event = list(on_event)
        self._now = now
        self._day = ""
        self._reads = FeedReads()
        self._backoff = PollBackoff()
        self._known_faults: frozenset[str] = frozenset()
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stops `run` and cancels reads and calls in progress. Threads that wait for the feed are abandoned."""
        self.stop()
        await self._reads.close()

    def add_callback(self, callback: Callback[Event]) -> None:
        """Adds a callback for all events from now on."""
        self._on_event.append(callback)

    def stop(self) -> None:
        """Ends `run` at once. Call it in the event loop, e.g. from one of its signal handlers."""
        self._stop.set()

    @property
    def limits(self) -> str:
        """Description of what the model does not support of `minutes`; "" if it supports all, or if unknown."""
        return self._scheduler.limits

    def summary(self) -> Summary:
        """Returns the statistics of the evening so far."""
        return summarize(self.games.values(), self.minutes, self._scheduler.latencies)

    async def run(self, *, until_final: bool = False) -> None:
        """Runs turns until `stop`.

        Args:
            until_final: also end once every game of the scoreboard is over, read to its end, and reported.
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
        """Starts reads of the scoreboard and the live games, except for sources still being read."""
        if _SCOREBOARD not in self._reads and self._backoff.due():
            self._reads.start(_SCOREBOARD, self._read_scoreboard, self._scoreboard_failed)
        now = self._now()
        for game_id, game in self.games.items():
            if game_id not in self._reads:
                if game.needs_plays and game.backoff.due():
                    self._start_following(game)
                elif self._reporter.due(game):
                    self._reads.start(game_id, partial(self._reporter.report, game), partial(self._report_failed, game))
            # The scoreboard may switch to the next day while a long game is still live.
            hidden = not game.shown or self._backoff.failures >= _BOXSCORES_AFTER_FAILURES
            source = f"box score of {game_id}"
            if hidden and source not in self._reads and game.needs_box_score(now) and game.box_backoff.due():
                self._reads.start(source, partial(self._read_boxscores, game), partial(self._look_up_failed, game))

    async def idle(self) -> None:
        """Waits until no read is in progress."""
        await self._reads.idle()

    def _nothing_left(self) -> bool:
        """Returns whether all games of the first day shown are done; the scoreboard may show the next day by now."""
        if self._reads or self.scoreboard_time is None:
            return False
        first_day = [game for game in self.games.values() if game.day in {"", self._day}]
        return all(game.over and not game.needs_plays and not self._reporter.pending(game) for game in first_day)

    def _start_following(self, game: WatchedGame) -> None:
        self._reads.start(game.state.game_id, partial(self._follow, game), partial(self._plays_failed, game))

    async def _read_scoreboard(self) -> None:
        board = await read_in_thread(self._feed.scoreboard)
        self.scoreboard_failure = ""
        self._backoff.succeeded()
        self.scoreboard_time = self._now()
        self._day = self._day or board.date
        for state in board.games:
            if await self._update_state(state, board.date) and state.game_id not in self._reads:
                game = self.games[state.game_id]
                if game.needs_plays:
                    self._start_following(game)
        faults = frozenset(str(fault) for fault in board.faults)
        for fault in sorted(faults - self._known_faults):
            await self._emit(Fault(_SCOREBOARD, fault, kind=FaultKind.MALFORMED))
        self._known_faults = faults
        shown = {state.game_id for state in board.games}
        for game_id, game in self.games.items():
            game.shown = game_id in shown

    async def _read_boxscores(self, game: WatchedGame) -> None:
        """Reads the box score of a game that the scoreboard no longer shows."""
        state = await read_in_thread(self._feed.game, game.state.game_id)
        game.box_backoff.succeeded()
        await self._update_state(state, game.day)

    async def _update_state(self, state: GameState, day: str) -> bool:
        """Updates a game's state. Returns whether the game is new or its status changed."""
        now = self._now()
        game = self.games.get(state.game_id)
        before = game.state if game else None
        if game is None:
            game = self.games[state.game_id] = self._new_game(state, day)
        else:
            behind = game.behind_since
            if not game.update_state(state, now):
                if behind is None:
                    old = f"{state.away} @ {state.home} is shown in an older state: {state.text}"
                    await self._emit(Fault(_SCOREBOARD, old, kind=FaultKind.STALE))
                return False
        changed = before is None or before.status is not state.status
        if changed:
            if state.status is GameStatus.LIVE:  # tipped off, or shown as final too early
                game.reopen(now)
            await self._emit(GameChanged(state))
        elif before is not None and _score(before) != _score(state):  # a final game corrected after the buzzer
            game.read_to_end = False
        # Before the first read of its plays, recorded forecasts may still be loaded.
        if state.game_id not in self._reads and (not game.history_attempts or game.backoff.failures):
            for watched in game.horizons.values():
                if not watched.forecasts and not watched.result_known and watched.is_over_by_state(state):
                    await self._scheduler.close(game, watched)
        return changed

    def _new_game(self, state: GameState, day: str) -> WatchedGame:
        """Creates a newly seen game. Before its tip-off there are no recorded forecasts to load."""
        attempts = 0 if state.status is GameStatus.SCHEDULED else MAX_ATTEMPTS
        horizons = watched_horizons(self.minutes)
        return WatchedGame(
            state, self._now(), day=day, horizons=horizons, to_report=self._report, history_attempts=attempts
        )

    async def _follow(self, game: WatchedGame) -> None:
        """Reads a game's plays, requests forecasts and reports outcomes."""
        status, failures = game.state.status, game.backoff.failures
        plays = await read_in_thread(self._feed.plays, game.state.game_id)
        game.update_plays(plays, self._now())
        await self._scheduler.follow(game, plays)
        if game.played_out:
            game.backoff.succeeded(rest=_IDLE_TURNS)
        final = status is game.state.status is GameStatus.FINAL  # and not withdrawn meanwhile
        if final and (unsettled := game.unsettled(plays)):
            game.backoff.failures = failures  # an unusable read counts as a failure; too many of them end the reading
            raise StaleFeed(unsettled)
        game.read_to_end = final
        self._reporter.note(game, plays)
        await self._reporter.report(game)
        if game.state.status is not status:  # the status changed meanwhile: read again in the next turn
            game.backoff.skip = 0

    async def _scoreboard_failed(self, error: FeedError) -> None:
        self.scoreboard_failure = str(error)
        await self._emit(feed_fault(_SCOREBOARD, error, self._backoff.failed()))

    async def _look_up_failed(self, game: WatchedGame, error: FeedError) -> None:
        await self._emit(feed_fault(game.state.game_id, error, game.box_backoff.failed()))

    async def _plays_failed(self, game: WatchedGame, error: FeedError) -> None:
        game.failure = f"feed: {error}"
        failures = game.backoff.failed()
        if game.state.status is GameStatus.FINAL and failures >= _MAX_PLAY_FAILURES:
            game.read_to_end = True
            self._reporter.give_up(game)
            for watched in game.horizons.values():
                await self._scheduler.close(game, watched)
        await self._emit(feed_fault(game.state.game_id, error, failures))

    async def _report_failed(self, game: WatchedGame, error: FeedError) -> None:
        await self._emit(feed_fault(game.state.game_id, error, game.report_backoff.failed()))

    async def _emit(self, event: Event) -> None:
        if isinstance(event, Fault):  # at level info: users see the event
            log.info("poll.fault", source=event.source, reason=event.reason, failures=event.failures)
        if isinstance(event, Prediction):
            await self._call(self._on_prediction, event)
        await self._call(self._on_event, event)

    async def _call(self, callbacks: Iterable[Callback[EventT]], event: EventT) -> None:
        for callback in callbacks:
            try:
                result = callback(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                log.exception("poll.callback_failed", callback=repr(callback), happened=type(event).__name__)


def _score(state: GameState) -> tuple[int, int]:
    return state.home_score, state.away_score
