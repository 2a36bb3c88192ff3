"""Finds the unsettled games of a record: a bad game that is never reported would be on no scorecard."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, FromClause, Select, bindparam, exists, func, select

from dejavu_common.clock import microseconds
from dejavu_ledger.database.schema import forecasts, outcomes
from dejavu_ledger.database.standing import NEWEST, is_void
from dejavu_ledger.queries.filters import KEPT_FILTERS
from dejavu_ledger.queries.scorecards import CONDITIONS, ScoreFilter


class UnsettledGame(NamedTuple):
    """A game without any report of its outcome at a horizon, and a model version that forecast it in time."""

    game_id: str
    model_version: str


def unsettled_games(connection: Connection, filter_: ScoreFilter, before: datetime) -> list[UnsettledGame]:
    """Return the games with matching forecasts made before a time, and without a report.

    A game whose outcome was withdrawn is not among them, unless that was before its first forecast; nor is one whose
    forecasts are all late.

    Args:
        connection: a read connection.
        filter_: the filter.
        before: aware, UTC.
    """
    values = filter_.parameters()
    statement = _unsettled(frozenset({*values, *(["real"] if filter_.real_only else [])}))
    rows = connection.execute(statement, {**values, "before_us": microseconds(before)}).all()
    return [UnsettledGame(*row) for row in rows]


_one = forecasts.alias("one")
_first_game = select(func.min(_one.c.game_id).label("game_id")).cte("games", recursive=True)
_next_game = select(func.min(_one.c.game_id)).where(_one.c.game_id > _first_game.c.game_id).scalar_subquery()
_games = _first_game.union_all(select(_next_game).where(_first_game.c.game_id.is_not(None)))
"""The games with forecasts, each found in the index from the one before: there are hundreds of forecasts for each."""


@lru_cache(KEPT_FILTERS)
def _unsettled(conditions: frozenset[str]) -> Select[Any]:
    """Select the games without a report, and then those with forecasts that count."""
    games: FromClause = _games
    if "game" in conditions:  # no other one has to be found
        games = select(bindparam("game", type_=forecasts.c.game_id.type).label("game_id")).subquery()
    reported = exists().where(
        outcomes.c.game_id == games.c.game_id,
        outcomes.c.horizon == bindparam("horizon"),
        NEWEST,
        ~is_void(outcomes),
    )
    return (
        select(forecasts.c.game_id, forecasts.c.model_version)
        .join_from(games, forecasts, forecasts.c.game_id == games.c.game_id)
        .where(
            ~reported,
            forecasts.c.late == "",
            forecasts.c.generated_us < bindparam("before_us"),
            *(condition for name, condition in CONDITIONS.items() if name in conditions),
        )
        .distinct()
    )
