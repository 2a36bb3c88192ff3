"""Creates the tables of a ledger in PostgreSQL: the first process that opens it does so, the others wait.

Everything runs in one transaction under an advisory lock, so after a failure the database is unchanged.
"""

from __future__ import annotations

from typing import Final

from dejavu_ledger.database import creation, sql
from dejavu_ledger.database.pool import Pool
from dejavu_ledger.database.postgres.connections import patient
from dejavu_ledger.database.schema_check import check_schema
from dejavu_ledger.database.sql import Connection
from dejavu_ledger.errors import LedgerSchemaError, LedgerUnavailable

CREATION_SECONDS: Final = 60.0
"""Time limit of a statement that creates tables."""

_BEGIN: Final = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = {creation.LOCK_SECONDS * 1000:.0f};"
    f" SET LOCAL statement_timeout = {CREATION_SECONDS * 1000:.0f}; SET LOCAL client_min_messages = warning"
)
# Two numbers, to be distinct from other locks of the database: one for this use, one for the ledger's schema.
_LOCK: Final = "SELECT pg_advisory_xact_lock(1684367457, hashtext(current_schema()))"


def ensure_schema(pool: Pool[Connection], *, make: bool = True) -> None:
    """Create the tables unless they exist; return quickly if they do.

    Args:
        pool: connections that write.
        make: whether to create a ledger if none exists.

    Raises:
        LedgerSchemaError: if the tables have another schema, are not a ledger, or are not exactly those of this
            release.
        LedgerUnavailable: if there is no ledger and `make` is false, or another process prepares one for too long.
        psycopg.Error: if the database fails.
    """
    with pool.connection() as connection:
        if not _is_empty(connection, make=make):
            check_schema(connection)
            return
    with pool.connection() as connection, patient(connection.driver, CREATION_SECONDS):
        connection.driver.execute(_BEGIN)
        try:
            sql.rows(connection, _LOCK)  # a separate statement, so that later ones see the commits of the last holder
            if _is_empty(connection, make=make):
                creation.create(connection)
            check_schema(connection)
            connection.driver.commit()
        except BaseException:
            connection.close()
            raise


def _is_empty(connection: Connection, *, make: bool) -> bool:
    if sql.value(connection, "SELECT current_schema()") is None:
        raise LedgerSchemaError(
            "the database is not a ledger: the schema that its search_path names does not exist; create it first"
        )
    empty = creation.is_empty(connection)
    if empty and not make:
        raise LedgerUnavailable("the ledger is gone: its tables are missing")
    return empty
