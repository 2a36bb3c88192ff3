"""Reads and writes the rows of a ledger as they are stored, to move them to another database.

Rows of entries, and those derived from them, never change, so they can be read page by page while a server records.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from dejavu_ledger.database.schema import (
    checkpoints,
    entries,
    forecasts,
    ledger,
    markets,
    model_changes,
    outcomes,
    shadows,
    snapshots,
)
from dejavu_ledger.database.store import Identity
from dejavu_ledger.errors import LedgerCorrupt

PAGE: Final = 500
"""Entries that are read, and written in one transaction, at a time."""

CHAIN: Final = (entries, forecasts, outcomes, markets, shadows, model_changes)
"""Tables whose rows belong to one entry each; the entries first, since the others refer to them."""

_SUMMARIES: Final = (checkpoints, snapshots)
"""Tables whose rows summarize all entries up to a sequence."""

_ROWS_AT_ONCE: Final = 50  # of the summaries: a snapshot may have a megabyte

Rows = dict[str, list[dict[str, Any]]]
"""Rows by the name of their table."""


class Entry(NamedTuple):
    """A row of `entries`."""

    sequence: int
    kind: str
    canonical: str
    hash: bytes


# Built once: building a statement costs SQLAlchemy as much as running it.
_FIRST = {table.name: next(iter(table.primary_key)) for table in CHAIN}
_ENTRIES_AFTER = (
    select(entries)
    .where(entries.c.sequence > bindparam("after"), entries.c.sequence <= bindparam("through"))
    .order_by(entries.c.sequence)
    .limit(bindparam("limit"))
)
_BETWEEN = {
    table.name: select(table)
    .where(_FIRST[table.name] > bindparam("after"), _FIRST[table.name] <= bindparam("through"))
    .order_by(_FIRST[table.name])
    for table in CHAIN
}
_ADD = {table.name: insert(table) for table in (*CHAIN, *_SUMMARIES)}


def entries_after(connection: Connection, after: int, through: int) -> list[Entry]:
    """Return the first entries after a sequence, up to another, in order.

    Raises:
        LedgerCorrupt: if a value does not have the type that was written.
    """
    rows = connection.execute(_ENTRIES_AFTER, {"after": after, "through": through, "limit": PAGE})
    page: list[Entry] = []
    for sequence, kind, canonical, hash_ in rows:
        if not (isinstance(canonical, str) and isinstance(hash_, bytes)):  # SQLite allows other types
            raise LedgerCorrupt(f"entry {sequence}: a value has the wrong type")
        page.append(Entry(sequence, kind, canonical, hash_))
    return page


def rows_between(connection: Connection, after: int, through: int) -> Rows:
    """Return the rows of every table of `CHAIN` after a sequence, up to another, in order."""
    return {
        name: [dict(row) for row in connection.execute(statement, {"after": after, "through": through}).mappings()]
        for name, statement in _BETWEEN.items()
    }


def add(connection: Connection, rows: Rows) -> None:
    """Insert rows of `rows_between`."""
    for table in CHAIN:
        if rows[table.name]:
            connection.execute(_ADD[table.name], rows[table.name])


def replace_summaries(source: Connection, target: Connection, through: int) -> None:
    """Give the target the source's checkpoints and snapshots up to a sequence, and no others.

    Args:
        source: a connection within `store.snapshot_read`.
        target: a connection in a transaction that holds the write lock.
        through: the last sequence that both have.
    """
    for table in _SUMMARIES:
        target.execute(delete(table))
        for rows in _summaries(source, table, through):
            target.execute(_ADD[table.name], rows)


def summaries_differ(source: Connection, target: Connection, through: int) -> str | None:
    """Return the name of a table of checkpoints or snapshots that the two do not share; None if they share both."""
    for table in _SUMMARIES:
        pages = zip(_summaries(source, table, through), _summaries(target, table, through), strict=False)
        counts = [sum(map(len, _summaries(each, table, through))) for each in (source, target)]
        if counts[0] != counts[1] or any(first != second for first, second in pages):
            return table.name
    return None


def _summaries(connection: Connection, table: Table, through: int) -> Iterator[list[dict[str, Any]]]:
    key = list(table.primary_key)
    rows = select(table).where(table.c.sequence <= through).order_by(*key)
    result = connection.execute(rows.execution_options(yield_per=_ROWS_AT_ONCE))
    with result:
        for part in result.mappings().partitions():
            yield [dict(row) for row in part]


def is_empty(connection: Connection) -> bool:
    """Return whether a ledger has no entries, checkpoints or snapshots."""
    return all(
        connection.execute(select(table.c.sequence).limit(1)).first() is None for table in (entries, *_SUMMARIES)
    )


def set_identity(connection: Connection, identity: Identity) -> None:
    """Replace the identity of a ledger."""
    connection.execute(update(ledger).values(ledger_id=identity.ledger_id, epoch=identity.epoch))


def new_epoch() -> str:
    """Return an epoch that no ledger has: 16 random hexadecimal digits."""
    return secrets.token_hex(8)


def hash_at(connection: Connection, sequence: int) -> bytes | None:
    """Return the hash of an entry; None if there is none."""
    hash_: bytes | None = connection.execute(select(entries.c.hash).where(entries.c.sequence == sequence)).scalar()
    return hash_


def difference(source: Rows, target: Rows) -> str | None:
    """Describe a row that two ledgers do not share; None if they share all."""
    for name, rows in source.items():
        if rows != target[name]:
            pairs = zip(rows, target[name], strict=False)
            first: Sequence[Any] = [mine["sequence"] for mine, other in pairs if mine != other]
            return f"the row at {first[0]} in {name}" if first else f"the number of rows in {name}"
    return None
