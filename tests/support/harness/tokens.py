"""Resume tokens of entries, and a restore that kept the epoch."""

from __future__ import annotations

from dejavu_ledger import Ledger
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection


async def token_of(ledger: Ledger, sequence: int) -> str:
    """Return the token that resumes a stream right after an entry; 0: from the first one."""
    position = await ledger.position_of(sequence)
    assert position is not None
    return ledger.token(position)


def lose_entries_after_2(connection: Connection) -> None:
    """Remove the forecasts after sequence 2, as if the database had been restored to that state by its own tools."""
    for table in ("forecasts", "entries"):
        sql.rows(connection, f"DELETE FROM {table} WHERE sequence > 2")
