"""Builds the scores of a whole ledger."""

from __future__ import annotations

from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.scores import settling


def rebuild(connection: Connection) -> None:
    """Settle every game again.

    Args:
        connection: a connection in a transaction that holds the write lock.

    Raises:
        LedgerCorrupt: if a row cannot be read back.
    """
    sql.run_each(connection, "DELETE FROM scores", [{}])
    for (game_id,) in sql.rows(connection, "SELECT DISTINCT game_id FROM outcomes"):
        settling.settle(connection, game_id)


def build_if_missing(connection: Connection) -> None:
    """Settle every game of a ledger that has no scores; see `rebuild`."""
    if sql.value(connection, "SELECT 1 FROM scores LIMIT 1") is None:
        rebuild(connection)
