"""States of games in the ledger's database, as publishers read them from a feed; no part of the record.

Each state gets a version, greater than all before it, by which followers find what is new. Versions are times of the
database's clock, so they also grow after old states were removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, delete, func, select, text

from dejavu_ledger.database.schema import games
from dejavu_ledger.database_clock import database_time
from dejavu_models.errors import DejavuError

KEPT: Final = timedelta(days=1)
"""Time for which a state is kept after it was published."""

MAX_GAMES: Final = 1000
"""Maximum number of games kept."""

MAX_GAMES_OF_CALLER: Final = 200
"""Maximum number of them that one caller published last; those published longest ago are removed."""


class GamesFull(DejavuError, reason="GAMES_FULL", category="FAILED_PRECONDITION"):
    """The states of too many games are kept already."""


@dataclass(frozen=True, slots=True)
class GameRow:
    """State of a game.

    Attributes:
        game_id: id of the game.
        state: serialized `dejavu.v1.Game`, without what the server adds.
        version: number that grows with every published state.
        published_us: when it was stored, in microseconds since 1970, UTC, by the database's clock.
        caller: identity of the caller who published it; empty if it is not known.
    """

    game_id: str
    state: bytes
    version: int
    published_us: int
    caller: str


def publish(connection: Connection, states: Sequence[tuple[str, bytes]], caller: str, now: int | None = None) -> None:
    """Store states of games in place of those before, and remove old ones.

    Args:
        connection: a connection in a transaction that holds the write lock.
        states: ids of games, all different, with the serialized states.
        caller: identity of the caller; empty if it is not known.
        now: time by the database's clock; None: now.

    Raises:
        GamesFull: if there would be more than MAX_GAMES.
    """
    time = database_time(connection) if now is None else now
    connection.execute(delete(games).where(games.c.published_us <= time - _KEPT_US))
    newest: int = connection.execute(select(func.max(games.c.version))).scalar_one() or 0
    rows = [
        {"game_id": game_id, "state": state, "version": version, "published_us": time, "caller": caller}
        for version, (game_id, state) in enumerate(states, max(time, newest + 1))
    ]
    connection.execute(_REPLACE, rows)
    if caller:  # what a damaged feed invented gives way to what is still published
        of_caller = select(games.c.version).where(games.c.caller == caller)
        surplus = of_caller.order_by(games.c.version.desc()).offset(MAX_GAMES_OF_CALLER).limit(1)
        if (last := connection.execute(surplus).scalar_one_or_none()) is not None:
            connection.execute(delete(games).where((games.c.caller == caller) & (games.c.version <= last)))
    if connection.execute(select(func.count()).select_from(games)).scalar_one() > MAX_GAMES:
        raise GamesFull(f"more than {MAX_GAMES} games of the last day; expected fewer")


def published_after(connection: Connection, version: int, now: int | None = None) -> list[GameRow]:
    """Return the states of the last day with a version greater than this one, in order of version."""
    time = database_time(connection) if now is None else now
    recent = (games.c.version > version) & (games.c.published_us > time - _KEPT_US)
    return [
        GameRow(**row._mapping) for row in connection.execute(select(games).where(recent).order_by(games.c.version))
    ]


_REPLACE: Final = text(
    "INSERT INTO games (game_id, state, version, published_us, caller)"
    " VALUES (:game_id, :state, :version, :published_us, :caller) ON CONFLICT (game_id) DO UPDATE SET"
    " state = excluded.state, version = excluded.version, published_us = excluded.published_us,"
    " caller = excluded.caller"
)
"""In one call of the driver, as other writers wait for the lock."""

_KEPT_US: Final = KEPT // timedelta(microseconds=1)
