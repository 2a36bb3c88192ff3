"""What the migrations of every database share: which schema it has, and what fills the columns of older rows."""

from __future__ import annotations

import json
import struct
from datetime import date
from typing import Any

from sqlalchemy import Connection, column, inspect, select, table, text

from dejavu_server.ledger.database.schema import REVISION
from dejavu_server.ledger.entries import scored_values
from dejavu_server.ledger.errors import LedgerCorrupt, LedgerSchemaError

LOCK_SECONDS = 10.0
"""How long to wait for other processes that prepare ledgers in the same folder; each takes a fraction of a second."""

_VERSIONS = table("alembic_version", column("version_num"))

PAGE_SIZE = 2000
"""Rows per batch, which bounds memory for ledgers of any length."""

_HOUR_US = 3_600_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()

_ROWS = (
    "SELECT f.sequence, f.game_id, f.generated_us, e.canonical FROM forecasts f JOIN entries e"
    " ON e.sequence = f.sequence WHERE f.sequence > :after{} ORDER BY f.sequence LIMIT :page"
)
_EVERY_ROW, _TO_FILL = text(_ROWS.format("")), text(_ROWS.format(" AND f.day = 0"))

_FILL = text(
    "UPDATE forecasts SET day = :day, home_team = :home_team, away_team = :away_team, model_version = :model_version,"
    " minute = :minute, alpha = :alpha, confidence = :confidence, replay = :replay, scored_values = :scored_values"
    " WHERE sequence = :sequence"
)


def fill(connection: Connection, *, every: bool = False) -> None:
    """Fills the columns of forecasts that earlier releases did not have, from the entries.

    Call it in a transaction that holds the write lock.

    Args:
        connection: the connection.
        every: whether to fill every row; otherwise those of a worker of release 0.1.0, whose day is 0.

    Raises:
        LedgerCorrupt: if the entry of a row cannot be parsed.
    """
    after = 0
    while rows := connection.execute(_EVERY_ROW if every else _TO_FILL, {"after": after, "page": PAGE_SIZE}).all():
        after = rows[-1].sequence
        connection.execute(_FILL, [_columns(*row) for row in rows])


def _columns(sequence: int, game_id: str, generated_us: int, canonical: str) -> dict[str, Any]:
    try:
        payload = json.loads(canonical)["payload"]
        request, forecast = payload["request"], payload["forecast"]
        home_lead = float(forecast["home_lead_probability"])
        return {
            "sequence": sequence,
            "day": _EPOCH_DAY + (generated_us - 11 * _HOUR_US) // (24 * _HOUR_US),  # see records.game_day
            "home_team": request["home_team"],
            "away_team": request["away_team"],
            "model_version": forecast["model_version"],
            "minute": forecast["elapsed_minutes"],
            "alpha": request["alpha"],
            "confidence": max(home_lead, 1.0 - home_lead),
            "replay": game_id.startswith("99"),
            "scored_values": scored_values.pack(
                forecast["point"],
                request["pattern"][-1],
                (forecast["interval_lower"], forecast["interval_upper"]),
                home_lead,
                forecast.get("distribution", ()),  # not recorded by release 0.1.0
            ),
        }
    except (ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        raise LedgerCorrupt(f"the ledger is damaged: entry {sequence} cannot be read back") from error


def is_older(connection: Connection) -> bool:
    """Returns whether the database has an older schema than this release, or no schema yet.

    Raises:
        LedgerSchemaError: if the schema is newer or unknown, or the database is not a ledger.
    """
    revision = revision_of(connection)
    if revision is None:
        if not inspect(connection).get_table_names():
            return True
        revision = revision_of(connection)  # in PostgreSQL, another process may have made the ledger in between
        if revision is None:
            raise LedgerSchemaError("the database is not a ledger: it contains other tables")
    if revision == REVISION:
        return False
    from dejavu_server.ledger.database.alembic_runner import revisions  # noqa: PLC0415 - see there

    if revision not in revisions():
        raise LedgerSchemaError(
            f"the database has schema {revision!r}, which this release does not know; it knows up to {REVISION!r}"
        )
    return True


def revision_of(connection: Connection) -> str | None:
    """Returns the revision id stored in a database; None if there is none."""
    if not inspect(connection).has_table(_VERSIONS.name):
        return None
    revision: str | None = connection.execute(select(_VERSIONS.c.version_num)).scalar()
    return revision
