"""Which outcomes stand: the newest revision of each game and horizon, unless it withdraws the outcome."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists

from dejavu_server.ledger.database.schema import outcomes

_later = outcomes.alias("later_revision")

STANDS: ColumnElement[bool] = and_(
    outcomes.c.withdrawn.is_(False),
    ~exists().where(
        _later.c.game_id == outcomes.c.game_id,
        _later.c.horizon == outcomes.c.horizon,
        _later.c.revision > outcomes.c.revision,
    ),
)
"""Whether a row of `outcomes` is the outcome of its game and horizon."""
