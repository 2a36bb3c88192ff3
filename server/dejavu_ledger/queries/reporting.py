"""Statements by which an outcome is reported, corrected or withdrawn.

All run on a connection in a transaction that holds the write lock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Integer, Select, bindparam, false, func, insert, select, union_all

from dejavu_common.clock import from_microseconds
from dejavu_ledger.database import store
from dejavu_ledger.database.schema import entries, forecasts, outcomes
from dejavu_ledger.database.standing import in_time, is_void
from dejavu_ledger.entries import codec
from dejavu_ledger.entries.rows import Row
from dejavu_ledger.queries.filters import unindexed
from dejavu_models.types import Horizon


def newest_outcome(connection: Connection, game_id: str, horizon: Horizon) -> Any | None:
    """Return the newest revision of an outcome (columns first_sequence, void, canonical); None if there is none."""
    return connection.execute(_NEWEST, {"game_id": game_id, "horizon": horizon.value}).one_or_none()


def revised(connection: Connection, game_id: str, horizon: Horizon, caller: str) -> int:
    """Return the number of a caller's revisions of an outcome, without the first report.

    The database compares the beginnings of their entries: parsing them, with their box scores, would make this
    transaction, for which all others wait, ten times as long.
    """
    begins = codec.beginning(codec.OUTCOME, caller)
    of_caller = {"game_id": game_id, "horizon": horizon.value, "begins": begins, "length": len(begins)}
    number: int = connection.execute(_REVISED, of_caller).scalar_one()
    return number


def newest_teams(connection: Connection, game_id: str) -> Any | None:
    """Return home_team and away_team of the game's newest forecast with teams; None if there is none.

    Late forecasts are used only if all are late: they count nowhere, and are made when the result may be known.
    """
    found = (
        connection.execute(statement, {"game_id": game_id}).one_or_none() for statement in (_TEAMS_IN_TIME, _TEAMS)
    )
    return next((row for row in found if row is not None), None)


def are_named(connection: Connection, game_id: str, home_team: str, away_team: str) -> bool:
    """Return whether a forecast of the game names these teams.

    One is enough: otherwise a single forecast with other teams would keep the outcome of its game from being reported.
    Scorecards count a game with several pairs of teams as doubtful. A late forecast counts only if all are late, as in
    `newest_teams`.
    """
    teams = {"game_id": game_id, "home_team": home_team, "away_team": away_team}
    statement = _NAMED_IN_TIME if connection.execute(_TEAMS_IN_TIME, teams).one_or_none() else _NAMED
    return connection.execute(statement, teams).one_or_none() is not None


class Made(NamedTuple):
    """A forecast of a game.

    Attributes:
        made: when it was made.
        minute: minute of play after which it was made.
    """

    made: datetime
    minute: int


def made(connection: Connection, game_id: str, horizon: Horizon) -> list[Made]:
    """Return the forecasts of a game, for any horizon, from before a horizon, without late ones and replays."""
    last = {"game_id": game_id, "last": horizon.last_slot}
    return [Made(from_microseconds(row.generated_us), row.minute) for row in connection.execute(_MADE, last)]


def count(connection: Connection, game_id: str, horizon: Horizon) -> int:
    """Return the number of forecasts of a game and horizon."""
    number: int = connection.execute(_COUNT, {"game_id": game_id, "horizon": horizon.value}).scalar_one()
    return number


def add_outcome(connection: Connection, entry: Row, outcome: Row) -> None:
    """Add an outcome: its entry, and its row in `outcomes`."""
    connection.execute(store.ADD_ENTRIES, [entry])
    connection.execute(_ADD_OUTCOME, [outcome])


# Built once: building a statement costs SQLAlchemy as much as running it.
_NEWEST = (
    select(outcomes.c.first_sequence, is_void(outcomes).label("void"), entries.c.canonical)
    .join(entries, entries.c.sequence == outcomes.c.sequence)
    .where(outcomes.c.game_id == bindparam("game_id"), outcomes.c.horizon == bindparam("horizon"))
    .order_by(outcomes.c.revision.desc())
    .limit(1)
)

_REVISED = (
    select(func.count())
    .select_from(outcomes.join(entries, entries.c.sequence == outcomes.c.sequence))
    .where(
        outcomes.c.game_id == bindparam("game_id"),
        outcomes.c.horizon == bindparam("horizon"),
        outcomes.c.revision > 0,
        func.substr(entries.c.canonical, 1, bindparam("length", type_=Integer)) == bindparam("begins"),
    )
)


def _newest_teams_at(horizon: Horizon, *conditions: ColumnElement[bool]) -> Select[Any]:
    """Select the newest forecast with teams of a game and horizon; an index has them in this order."""
    newest = (
        select(forecasts.c.sequence, forecasts.c.home_team, forecasts.c.away_team)
        .where(
            forecasts.c.game_id == bindparam("game_id"),
            forecasts.c.horizon == horizon.value,
            unindexed(forecasts.c.home_team) != "",
            unindexed(forecasts.c.away_team) != "",
            *conditions,
        )
        .order_by(forecasts.c.sequence.desc())
        .limit(1)
    )
    return select(newest.subquery())


def _newest_teams(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Select the teams of the newest forecast of a game, of either horizon, that names them."""
    newest = union_all(*(_newest_teams_at(horizon, *conditions) for horizon in Horizon)).subquery()
    return select(newest.c.home_team, newest.c.away_team).order_by(newest.c.sequence.desc()).limit(1)


_OF_TEAMS = tuple(
    unindexed(column) == bindparam(column.name) for column in (forecasts.c.home_team, forecasts.c.away_team)
)
_TEAMS_IN_TIME = _newest_teams(in_time(forecasts))
_TEAMS = _newest_teams()
_NAMED_IN_TIME = _newest_teams(in_time(forecasts), *_OF_TEAMS)
_NAMED = _newest_teams(*_OF_TEAMS)

_COUNT = (
    select(func.count())
    .select_from(forecasts)
    .where(forecasts.c.game_id == bindparam("game_id"), forecasts.c.horizon == bindparam("horizon"))
)

_MADE = select(forecasts.c.generated_us, forecasts.c.minute).where(
    forecasts.c.game_id == bindparam("game_id"),
    forecasts.c.minute <= bindparam("last"),
    forecasts.c.replay == false(),
    forecasts.c.late == "",
)

_ADD_OUTCOME = insert(outcomes)
