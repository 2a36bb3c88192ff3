"""Statements by which an outcome is recorded and settles forecasts.

All run on a connection in a transaction that holds the write lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from dejavu_feed.teams import TEAMS
from dejavu_models.types import Horizon
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.schema import entries, forecasts, markets, outcomes, settlements
from dejavu_server.ledger.entries.rows import Row


def newest_outcome(connection: Connection, game_id: str, horizon: Horizon) -> Any | None:
    """Returns the newest revision of an outcome (columns first_sequence, canonical); None if there is none."""
    return connection.execute(_NEWEST, {"game_id": game_id, "horizon": horizon.value}).one_or_none()


def newest_teams(connection: Connection, game_id: str) -> Any | None:
    """Returns home_team and away_team of the game's newest forecast with two NBA codes; None if there is none.

    Release 0.1.0 recorded whatever text was given as a team.
    """
    return connection.execute(_TEAMS, {"game_id": game_id}).one_or_none()


def count(connection: Connection, first_sequence: int) -> int:
    """Returns the number of forecasts that an outcome settles, given the sequence of its first report."""
    number: int = connection.execute(_COUNT_SETTLED, {"first": first_sequence}).scalar_one()
    return number


def forecasts_of(connection: Connection, game_id: str, horizon: Horizon) -> Sequence[Any]:
    """Returns the forecasts of a game and horizon, in order of sequence, with the bet on each (line, side, …)."""
    return connection.execute(_OF_GAME, {"game_id": game_id, "horizon": horizon.value}).all()


def add_outcome(connection: Connection, entry: Row, outcome: Row) -> None:
    """Adds an outcome: its entry, and its row in `outcomes`."""
    connection.execute(store.ADD_ENTRIES, [entry])
    connection.execute(_ADD_OUTCOME, [outcome])


def replace_settlements(connection: Connection, first_sequence: int, settled: Sequence[Row]) -> None:
    """Replaces the settlements by an outcome, given the sequence of its first report."""
    connection.execute(_UNSETTLE, {"first": first_sequence})
    if settled:
        connection.execute(_ADD_SETTLEMENTS, settled)


# Built once: building a statement costs SQLAlchemy as much as running it.
_NEWEST = (
    select(outcomes.c.first_sequence, entries.c.canonical)
    .join(entries, entries.c.sequence == outcomes.c.sequence)
    .where(outcomes.c.game_id == bindparam("game_id"), outcomes.c.horizon == bindparam("horizon"))
    .order_by(outcomes.c.revision.desc())
    .limit(1)
)

_TEAMS = (
    select(forecasts.c.home_team, forecasts.c.away_team)
    .where(
        forecasts.c.game_id == bindparam("game_id"),
        forecasts.c.home_team.in_(list(TEAMS)),
        forecasts.c.away_team.in_(list(TEAMS)),
    )
    .order_by(forecasts.c.sequence.desc())
    .limit(1)
)

_COUNT_SETTLED = select(func.count()).select_from(settlements).where(settlements.c.first_sequence == bindparam("first"))

_UNSETTLE = delete(settlements).where(settlements.c.first_sequence == bindparam("first"))

_OF_GAME = (
    select(
        forecasts.c.sequence,
        forecasts.c.key,
        forecasts.c.revision,
        forecasts.c.late,
        entries.c.canonical,
        markets.c.line,
        markets.c.side,
        markets.c.decimal_odds,
        markets.c.stake_fraction,
    )
    .join_from(forecasts, entries, entries.c.sequence == forecasts.c.sequence)
    .outerjoin(markets, markets.c.forecast_sequence == forecasts.c.sequence)
    .where(forecasts.c.game_id == bindparam("game_id"), forecasts.c.horizon == bindparam("horizon"))
    .order_by(forecasts.c.sequence)
)

_ADD_OUTCOME = insert(outcomes)

_ADD_SETTLEMENTS = insert(settlements)
