"""Which games have begun, by the states that pollers publish.

A forecast of a game to come, of an invented minute, would make all real ones late, and nothing takes it back.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_common.clock import from_microseconds, utc_now
from dejavu_feed.game_ids import is_replay
from dejavu_models.errors import DejavuError
from dejavu_server.ledger.errors import LedgerError
from dejavu_server.ledger.games import GameRow

_BEGUN: Final = {GameStatus.GAME_STATUS_LIVE, GameStatus.GAME_STATUS_FINAL}

_PUBLISHED: Final = timedelta(hours=2)
"""Time since the newest state after which nobody publishes: pollers publish every game once an hour."""

KEPT_SECONDS: Final = 2.0
"""Time for which what was read is used again."""


class GameNotInPlay(DejavuError):
    """A forecast of a game that has not begun, by the states that pollers publish."""

    reason = "GAME_NOT_IN_PLAY"

    def __init__(self, game_id: str) -> None:
        super().__init__(
            f"game {game_id} has not begun, by the states that are published; expected one in play, or a token with "
            "the scope outcome"
        )


class BegunGames:
    """Ids of games that have begun.

    Args:
        ids: the ids; None: not known, so that any game may have begun.
    """

    def __init__(self, ids: frozenset[str] | None = None) -> None:
        self._ids = ids

    def check(self, game_id: str) -> None:
        """Do nothing if a game may have begun, or is of a replay.

        Raises:
            GameNotInPlay: if not.
        """
        if self._ids is not None and game_id not in self._ids and not is_replay(game_id):
            raise GameNotInPlay(game_id)


ANY_GAME: Final = BegunGames()


class GamesInPlay:
    """Reads which games have begun. Use it in one event loop.

    Args:
        states: returns the states of the last day; raises `LedgerError` if they cannot be read.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self, states: Callable[[], Awaitable[list[GameRow]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._states = states
        self._clock = clock
        self._known = ANY_GAME
        self._until = 0.0

    async def begun(self) -> BegunGames:
        """Return the games that have begun: any, if no states were published for two hours, or none can be read."""
        if self._clock() >= self._until:
            try:
                rows = await self._states()
            except LedgerError:
                return ANY_GAME  # nothing can be recorded anyway
            self._known, self._until = _begun(rows), self._clock() + KEPT_SECONDS
        return self._known


def _begun(rows: list[GameRow]) -> BegunGames:
    newest = max((row.published_us for row in rows), default=0)
    if utc_now() - from_microseconds(newest) > _PUBLISHED:
        return ANY_GAME
    return BegunGames(frozenset(row.game_id for row in rows if Game.FromString(row.state).status in _BEGUN))
