"""States of games in the ledger's database, as publishers read them from a feed; no part of the record.

Each state gets a version, greater than all before it, by which followers find what is new. Versions are times of the
database's clock, so they also grow after old states were removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sql import database_time
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
    sql.rows(connection, "DELETE FROM games WHERE published_us <= :oldest", oldest=time - _KEPT_US)
    newest: int = sql.value(connection, "SELECT MAX(version) FROM games") or 0
    rows = [
        {"game_id": game_id, "state": state, "version": version, "published_us": time, "caller": caller}
        for version, (game_id, state) in enumerate(states, max(time, newest + 1))
    ]
    sql.insert(connection, "games", rows, key=("game_id",))
    if caller:  # what a damaged feed invented gives way to what is still published
        sql.rows(connection, _REMOVE_SURPLUS, caller=caller, kept=MAX_GAMES_OF_CALLER)
    if sql.value(connection, "SELECT COUNT(*) FROM games") > MAX_GAMES:
        raise GamesFull(f"more than {MAX_GAMES} games of the last day; expected fewer")


def published_after(connection: Connection, version: int) -> list[GameRow]:
    """Return the states of the last day with a version greater than this one, in order of version."""
    oldest = database_time(connection) - _KEPT_US
    return [GameRow(*row) for row in sql.rows(connection, _AFTER, version=version, oldest=oldest)]


_REMOVE_SURPLUS: Final = """
    DELETE FROM games WHERE caller = :caller AND version <= (
        SELECT version FROM games WHERE caller = :caller ORDER BY version DESC LIMIT 1 OFFSET :kept)"""

_AFTER: Final = """
    SELECT game_id, state, version, published_us, caller FROM games
    WHERE version > :version AND published_us > :oldest ORDER BY version"""

_KEPT_US: Final = KEPT // timedelta(microseconds=1)
