"""Reads rows for verification, with their values as stored: an altered value may have any type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, func, select, type_coerce
from sqlalchemy.types import NullType

from dejavu_ledger.database.schema import (
    checkpoints,
    entries,
    forecasts,
    ledger,
    markets,
    model_changes,
    outcomes,
    schema_version,
    shadows,
    snapshots,
)
from dejavu_ledger.database.standing import STANDS
from dejavu_ledger.entries.shadows import ForecastRow

PAGE = 1000
"""Rows per query. Short reads do not block checkpoints of the write-ahead log."""

Raw = RowMapping
"""A row with its values as stored; a label is the name of the table and of the column, as in `forecasts_minute`."""

_DERIVED = (forecasts, outcomes, markets, shadows, model_changes)

DERIVED = tuple(table.name for table in _DERIVED)
"""Names of the tables whose rows follow from the entries: forecasts, outcomes, markets, shadows, model_changes."""

KEYS = {table.name: f"{table.name}_{next(iter(table.primary_key)).name}" for table in _DERIVED}
"""Label of each table's primary key in a row."""

LABELS = {table.name: [(column.name, f"{table.name}_{column.name}") for column in table.columns] for table in _DERIVED}
"""Names of each table's columns, with their labels in a row."""


def entries_after(connection: Connection, sequence: int) -> Sequence[Raw]:
    """Return the first PAGE entries after a sequence, with all rows that follow from each; labels begin with entry_.

    The row of a market has the entry of its forecast (`market_forecast_canonical`); that of a shadow has the row of its
    forecast, with labels that begin with beside_.
    """
    return connection.execute(_ENTRIES.where(entries.c.sequence > sequence)).mappings().all()


def orphans(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield each table that has orphaned rows, and the name of the missing counterpart."""
    for table in _DERIVED:
        if connection.execute(select(func.count()).where(table.c.sequence.not_in(select(entries.c.sequence)))).scalar():
            yield table.name, "an entry"


def count_settled(connection: Connection) -> int:
    """Return the number of settled forecasts."""
    number: int = connection.execute(_COUNT_SETTLED).scalar_one()
    return number


def schema_versions(connection: Connection) -> list[Any]:
    """Return the stored schema versions: one, unless the table was changed."""
    return list(connection.execute(select(schema_version.c.version)).scalars())


def identities(connection: Connection) -> Sequence[Raw]:
    """Return the identity of the ledger: one row, unless the table was changed."""
    return connection.execute(select(*_raw(ledger, "ledger"))).mappings().all()


def kind_of(connection: Connection, sequence: int) -> Any:
    """Return the kind of an entry; None if there is no entry with this sequence."""
    return connection.execute(select(entries.c.kind).where(entries.c.sequence == sequence)).scalar()


def hash_at(connection: Connection, sequence: int) -> object:
    """Return the hash of an entry; None if there is no such entry."""
    hash_: object = connection.execute(select(entries.c.hash).where(entries.c.sequence == sequence)).scalar()
    return hash_


def checkpoints_after(connection: Connection, sequence: int) -> Sequence[Raw]:
    """Return the first PAGE checkpoints after a sequence, each with the hash of its entry (`entry_hash`)."""
    return connection.execute(_CHECKPOINTS.where(checkpoints.c.sequence > sequence)).mappings().all()


def all_snapshots(connection: Connection) -> Sequence[Raw]:
    """Return all snapshots of the online state."""
    return connection.execute(select(*_raw(snapshots, "snapshot"))).mappings().all()


def _raw(table: Table, prefix: str) -> list[Any]:
    """Return the columns of a table without type conversion, labelled with a prefix."""
    return [_raw_value(column, f"{prefix}_{column.name}") for column in table.columns]


def _raw_value(column: ColumnElement[Any], name: str) -> Any:
    """Return a column without type conversion, under a label."""
    return type_coerce(column, NullType()).label(name)


_market_forecast = forecasts.alias("asked")
_market_entry = entries.alias("market_entry")
_beside = forecasts.alias("beside")

# With the rows derived from each, in one consistent read.
_ENTRIES = (
    select(
        *_raw(entries, "entry"),
        *(column for table in _DERIVED for column in _raw(table, table.name)),
        _raw_value(_market_entry.c.canonical, "market_forecast_canonical"),
        *(_raw_value(_beside.c[name], f"beside_{name}") for name in ForecastRow._fields),
    )
    .select_from(entries)
    .outerjoin(forecasts, forecasts.c.sequence == entries.c.sequence)
    .outerjoin(outcomes, outcomes.c.sequence == entries.c.sequence)
    .outerjoin(markets, markets.c.sequence == entries.c.sequence)
    .outerjoin(shadows, shadows.c.sequence == entries.c.sequence)
    .outerjoin(model_changes, model_changes.c.sequence == entries.c.sequence)
    .outerjoin(_market_forecast, _market_forecast.c.sequence == markets.c.forecast_sequence)
    .outerjoin(_market_entry, _market_entry.c.sequence == _market_forecast.c.sequence)
    .outerjoin(_beside, _beside.c.sequence == shadows.c.forecast_sequence)
    .order_by(entries.c.sequence)
    .limit(PAGE)
)

_COUNT_SETTLED = (
    select(func.count())
    .select_from(outcomes)
    .join(forecasts, (forecasts.c.game_id == outcomes.c.game_id) & (forecasts.c.horizon == outcomes.c.horizon))
    .where(STANDS)
)

_CHECKPOINTS = (
    select(*_raw(checkpoints, "checkpoint"), _raw_value(entries.c.hash, "entry_hash"))
    .outerjoin(entries, entries.c.sequence == checkpoints.c.sequence)
    .order_by(checkpoints.c.sequence)
    .limit(PAGE)
)
