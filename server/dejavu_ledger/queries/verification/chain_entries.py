"""Reads the hash chain: the entries in order, with their canonical forms and hashes."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, bindparam, select

from dejavu_ledger.database.schema import entries
from dejavu_ledger.errors import LedgerCorrupt

PAGE = 1000
"""Entries per query. Short reads do not block checkpoints of the write-ahead log."""


def chain_entries(connection: Connection, through: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield sequence, canonical form and hash of every entry up to a sequence, in order.

    Raises:
        LedgerCorrupt: if a value does not have the type that was written; SQLite allows others.
    """
    last = 0
    while page := connection.execute(_ENTRIES, {"after": last, "through": through}).all():
        for sequence, canonical, hash_ in page:
            if not (isinstance(canonical, str) and isinstance(hash_, bytes)):
                raise LedgerCorrupt(f"entry {sequence}: a value has the wrong type")
            yield sequence, canonical, hash_
        last = page[-1].sequence


_ENTRIES = (
    select(entries.c.sequence, entries.c.canonical, entries.c.hash)
    .where(entries.c.sequence > bindparam("after"), entries.c.sequence <= bindparam("through"))
    .order_by(entries.c.sequence)
    .limit(PAGE)
)
