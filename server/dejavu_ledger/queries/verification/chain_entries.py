"""Reads the hash chain: the entries in order, with their canonical forms and hashes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.errors import LedgerCorrupt

PAGE: Final = 1000
"""Entries per query. Short reads do not block checkpoints of the write-ahead log."""

_ENTRIES: Final = """
    SELECT sequence, canonical, hash FROM entries WHERE sequence > :after AND sequence <= :through
    ORDER BY sequence LIMIT :most
"""


def chain_entries(connection: Connection, through: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield sequence, canonical form and hash of every entry up to a sequence, in order.

    Raises:
        LedgerCorrupt: if a value does not have the type that was written; SQLite allows others.
    """
    last = 0
    while page := sql.rows(connection, _ENTRIES, after=last, through=through, most=PAGE):
        for sequence, canonical, hash_ in page:
            if not (isinstance(canonical, str) and isinstance(hash_, bytes)):
                raise LedgerCorrupt(f"entry {sequence}: a value has the wrong type")
            yield sequence, canonical, hash_
        last = page[-1][0]
