"""Walks a ledger's chain from its first entry to its last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from dejavu_server.ledger import canonical, engine, migrate, store
from dejavu_server.ledger.errors import LedgerCorrupt, LedgerSchemaError, LedgerUnavailable, database_errors
from dejavu_server.ledger.schema import entries, forecasts

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Verification:
    """What a sound ledger holds.

    Attributes:
        ledger_id: which ledger it is.
        entries: how many entries were verified.
        sequence: the last one's place.
        hash: the last one's hash, in hexadecimal. Kept elsewhere, it proves later that nothing before it was changed.
    """

    ledger_id: str
    entries: int
    sequence: int
    hash: str


def verify(url: str) -> Verification:
    """Checks every entry of a ledger: that its hash follows from the entry before it, and its index row from it.

    May run while the ledger is written to; it then verifies what stands when it gets there.

    Raises:
        LedgerCorrupt: at the first entry that is not what was recorded; says which and why.
        InvalidLedgerUrl, LedgerSchemaError, LedgerUnavailable: if it cannot be read as a ledger of this release.
    """
    path = engine.database_path(url)
    if not path.is_file():
        raise LedgerUnavailable(f"there is no ledger at {path}")
    reading = engine.reading(path)
    try:
        with database_errors(), reading.connect() as connection:
            if migrate.is_older(connection):
                raise LedgerSchemaError("the ledger is of an older release: starting the server once migrates it")
            return _verify(connection)
    finally:
        reading.dispose()


def _verify(connection: Connection) -> Verification:
    identity = store.identity(connection)
    count, sequence, previous = 0, identity.pruned_through, identity.pruned_hash
    if sequence == 0 and previous != canonical.genesis(identity.ledger_id):
        raise LedgerCorrupt("the ledger's identity was changed")
    for row in _rows(connection, sequence):
        previous = canonical.chain(previous, row.canonical)
        if previous != row.hash:
            raise LedgerCorrupt(f"entry {row.sequence}: it, or the entry before it, is not the one recorded")
        if row.kind == canonical.FORECAST:
            _check_forecast(row)
        count, sequence = count + 1, row.sequence
    orphans = select(func.count()).where(forecasts.c.sequence.not_in(select(entries.c.sequence)))
    if connection.execute(orphans).scalar_one():
        raise LedgerCorrupt("the index holds forecasts without an entry")
    return Verification(identity.ledger_id, count, sequence, previous.hex())


def _check_forecast(row: Row[Any]) -> None:
    """The chain vouches for the canonical form only: all other columns must follow from it."""
    try:
        issued = canonical.parse(row.canonical)
        draft = canonical.draft(issued)
    except ValueError as error:
        raise LedgerCorrupt(f"entry {row.sequence}: {error}") from error
    expected = store.index_row(issued, draft)
    if {name: row._mapping[f"index_{name}"] for name in expected} != expected or issued.sequence != row.sequence:
        raise LedgerCorrupt(f"entry {row.sequence}: its index row does not follow from it")


def _rows(connection: Connection, after: int) -> Iterator[Row[Any]]:
    """All entries after a place, with their index rows, by pages: no read stays open for long."""
    index = [column.label(f"index_{column.name}") for column in forecasts.columns]
    query = select(entries, *index).join_from(entries, forecasts, isouter=True).order_by(entries.c.sequence)
    while page := connection.execute(query.where(entries.c.sequence > after).limit(_PAGE)).all():
        yield from page
        after = page[-1].sequence
