"""How far games are, by the states that pollers publish.

An invented forecast of a later time of play would make all real ones of the game late, and nothing takes it back.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_common.clock import utc_now
from dejavu_common.tasks import SharedWork
from dejavu_feed.game_ids import is_replay
from dejavu_feed.pattern import elapsed_seconds, period_seconds
from dejavu_ledger.errors import LedgerError
from dejavu_models.errors import DejavuError
from dejavu_server.coordination.games import GameRow
from dejavu_server.forecast_request import PublishedClock

_NOT_BEGUN: Final = {GameStatus.GAME_STATUS_SCHEDULED, GameStatus.GAME_STATUS_POSTPONED}

_PUBLISHED: Final = timedelta(minutes=70)
"""Time since the newest state after which nobody publishes: pollers publish every game once an hour."""

_AHEAD: Final = 20.0
"""Seconds of play within a period by which a forecast may be ahead of its game's state and the time since. It makes no
forecast of the game's owner late."""

_OLDEST: Final = 60.0
"""Age of a state, in seconds, beyond which no more play is assumed: while the feed is silent the game may stand."""

KEPT_SECONDS: Final = 2.0
"""Time for which what was read is used again."""


class GameNotInPlay(DejavuError, reason="GAME_NOT_IN_PLAY", category="FAILED_PRECONDITION"):
    """A forecast of a game that has not begun, or is not that far, by the states that pollers publish."""

    def __init__(self, game_id: str, fault: str) -> None:
        expected = "expected a forecast of what was played, or a token with the scope outcome"
        super().__init__(f"game {game_id} {fault}, by the states that are published; {expected}")


class PublishedGames:
    """What is published of games.

    Args:
        states: the newest states, by id; None: not known, so that any game may be as far as it likes.
        publishers: the callers who published them, by id.
    """

    def __init__(self, states: Mapping[str, Game] | None = None, publishers: Mapping[str, str] | None = None) -> None:
        self._states = None if states is None else MappingProxyType(states)
        self._publishers = MappingProxyType({} if publishers is None else publishers)

    def clock(self, game_id: str) -> PublishedClock | None:
        """Return how far a game is; None if it is not known, has not begun, or is a replay, whose clock is not real."""
        state = None if self._states is None or is_replay(game_id) else self._states.get(game_id)
        if state is None or not state.period:
            return None
        left = state.seconds_left if state.HasField("seconds_left") else 0.0
        if state.status == GameStatus.GAME_STATUS_LIVE and not state.HasField("seconds_left"):
            left = float(period_seconds(state.period))
        return PublishedClock(elapsed_seconds(state.period, left), self._publishers.get(game_id, ""))

    def check(self, game_id: str, elapsed: float, now: datetime) -> None:
        """Do nothing if a game may be that far, or is of a replay.

        Args:
            game_id: the game.
            elapsed: seconds of play of a forecast.
            now: the time, aware.

        Raises:
            GameNotInPlay: if the game is not that far.
        """
        if self._states is None or is_replay(game_id):
            return
        state = self._states.get(game_id)
        if state is None:
            raise GameNotInPlay(game_id, "is not known")
        if state.status in _NOT_BEGUN:
            raise GameNotInPlay(game_id, "has not begun")
        if state.status == GameStatus.GAME_STATUS_LIVE:
            period = max(state.period, 1)
            left = state.seconds_left if state.HasField("seconds_left") else period_seconds(period)
            age = (now - state.observed_time.ToDatetime(UTC)).total_seconds()
            # Not beyond the period: how long a break takes, no clock tells.
            latest = elapsed_seconds(period, left) + min(max(age, 0.0), _OLDEST) + _AHEAD
            if elapsed > min(latest, elapsed_seconds(period, 0)):
                raise GameNotInPlay(game_id, f"is not {elapsed / 60:.0f} minutes old")


ANY_GAME: Final = PublishedGames()


class GamesInPlay:
    """Reads how far games are. Use it in one event loop.

    Args:
        states: returns the states of the last day; raises `LedgerError` if they cannot be read.
        now: returns the current time, aware and in UTC.
    """

    def __init__(self, states: Callable[[], Awaitable[list[GameRow]]], now: Callable[[], datetime] = utc_now) -> None:
        self._states = states
        self._now = now
        self._known = ANY_GAME
        self._until = 0.0
        self._reading = SharedWork[PublishedGames]()

    async def published(self) -> PublishedGames:
        """Return what is published: nothing, if that was long ago, or cannot be read. Calls at once share a read."""
        if time.monotonic() < self._until:
            return self._known
        return await self._reading.run(None, self._read)

    async def _read(self) -> PublishedGames:
        try:
            self._known = _published(await self._states(), self._now())
            self._until = time.monotonic() + KEPT_SECONDS
        except LedgerError:
            return ANY_GAME  # nothing can be recorded anyway
        return self._known


def _published(rows: list[GameRow], now: datetime) -> PublishedGames:
    real = [row for row in rows if not is_replay(row.game_id)]
    newest = max((row.published_us for row in real), default=0)
    if now.timestamp() - newest / 1e6 > _PUBLISHED.total_seconds():
        return ANY_GAME
    publishers = {row.game_id: row.caller for row in real}
    return PublishedGames({row.game_id: Game.FromString(row.state) for row in real}, publishers)
