"""Reads rows for verification, with their values as stored: an altered value may have any type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.schema import TABLES
from dejavu_ledger.entries.shadows import ForecastRow

PAGE: Final = 1000
"""Rows per query. Short reads do not block checkpoints of the write-ahead log."""

Raw: TypeAlias = Mapping[str, Any]
"""A row with its values as stored; a label is the name of the table and of the column, as in `forecasts_minute`."""

DERIVED: Final = ("forecasts", "outcomes", "markets", "shadows", "model_changes")
"""Names of the tables whose rows follow from the entries."""

KEYS: Final = {table: f"{table}_sequence" for table in DERIVED}
"""Label of each table's primary key in a row."""

LABELS: Final = {
    table: [(name, f"{table}_{name}") for name in TABLES[table] if name != "hindsight"] for table in DERIVED
}
"""Names of the columns that follow from each row's entry and those before it, with their labels in a row."""


def entries_after(connection: Connection, sequence: int) -> Sequence[Raw]:
    """Return the first PAGE entries after a sequence, with all rows that follow from each; labels begin with entry_.

    The row of a market has the entry of its forecast (`market_forecast_canonical`) and whether that is of the owner
    (`market_forecast_owned`); that of a shadow has the row of its forecast, with labels that begin with beside_.
    """
    return _labelled(connection, _ENTRY_COLUMNS, _ENTRIES, after=sequence)


def orphans(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield each table that has orphaned rows, and the name of the missing counterpart."""
    for table in DERIVED:
        if sql.value(connection, _ORPHANS.replace("TABLE", table)):
            yield table, "an entry"


def count_settled(connection: Connection) -> int:
    """Return the number of settled forecasts."""
    return int(sql.value(connection, _COUNT_SETTLED))


def schema_versions(connection: Connection) -> list[Any]:
    """Return the stored schema versions: one, unless the table was changed."""
    return [version for (version,) in sql.rows(connection, "SELECT version FROM schema_version")]


def identities(connection: Connection) -> Sequence[Raw]:
    """Return the identity of the ledger: one row, unless the table was changed."""
    return _labelled(connection, _columns("ledger", "ledger"), "FROM ledger")


def kind_of(connection: Connection, sequence: int) -> Any:
    """Return the kind of an entry; None if there is no entry with this sequence."""
    return sql.value(connection, "SELECT kind FROM entries WHERE sequence = :sequence", sequence=sequence)


def hash_at(connection: Connection, sequence: int) -> object:
    """Return the hash of an entry; None if there is no such entry."""
    return sql.value(connection, "SELECT hash FROM entries WHERE sequence = :sequence", sequence=sequence)


def checkpoints_after(connection: Connection, sequence: int) -> Sequence[Raw]:
    """Return the first PAGE checkpoints after a sequence, each with the hash of its entry (`entry_hash`)."""
    columns = _columns("checkpoints", "checkpoint") | {"entry_hash": "entries.hash"}
    return _labelled(connection, columns, _CHECKPOINTS, after=sequence)


def all_snapshots(connection: Connection) -> Sequence[Raw]:
    """Return all snapshots of the online state."""
    return _labelled(connection, _columns("snapshots", "snapshot"), "FROM snapshots")


def _columns(table: str, prefix: str) -> dict[str, str]:
    """Return the columns of a table by their labels, which begin with a prefix."""
    return {f"{prefix}_{name}": f"{table}.{name}" for name in TABLES[table]}


def _labelled(connection: Connection, columns: Mapping[str, str], text: str, **values: Any) -> Sequence[Raw]:
    """Return the rows of a query for some columns, by their labels."""
    found = sql.rows(connection, f"SELECT {', '.join(columns.values())} {text}", **values)
    return [dict(zip(columns, row, strict=True)) for row in found]


_ENTRY_COLUMNS: Final = {
    **_columns("entries", "entry"),
    **{label: column for table in DERIVED for label, column in _columns(table, table).items()},
    "market_forecast_canonical": "market_entry.canonical",
    "market_forecast_owned": "asked.owned",
    **{f"beside_{name}": f"beside.{name}" for name in ForecastRow._fields},
}

# With the rows derived from each, in one consistent read.
_ENTRIES: Final = f"""
    FROM entries
    LEFT JOIN forecasts ON forecasts.sequence = entries.sequence
    LEFT JOIN outcomes ON outcomes.sequence = entries.sequence
    LEFT JOIN markets ON markets.sequence = entries.sequence
    LEFT JOIN shadows ON shadows.sequence = entries.sequence
    LEFT JOIN model_changes ON model_changes.sequence = entries.sequence
    LEFT JOIN forecasts asked ON asked.sequence = markets.forecast_sequence
    LEFT JOIN entries market_entry ON market_entry.sequence = asked.sequence
    LEFT JOIN forecasts beside ON beside.sequence = shadows.forecast_sequence
    WHERE entries.sequence > :after ORDER BY entries.sequence LIMIT {PAGE}
"""

_ORPHANS: Final = "SELECT count(*) FROM TABLE WHERE sequence NOT IN (SELECT sequence FROM entries)"

_COUNT_SETTLED: Final = """
    SELECT count(*) FROM scores s JOIN forecasts f ON f.game_id = s.game_id AND f.horizon = s.horizon
    WHERE s.outcome IS NOT NULL
"""

_CHECKPOINTS: Final = f"""
    FROM checkpoints LEFT JOIN entries ON entries.sequence = checkpoints.sequence
    WHERE checkpoints.sequence > :after ORDER BY checkpoints.sequence LIMIT {PAGE}
"""
