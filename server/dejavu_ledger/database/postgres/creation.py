"""Creates the tables of a ledger in PostgreSQL: the first process that opens it does so, the others wait.

Everything runs in one transaction under an advisory lock, so after a failure the database is unchanged.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text

from dejavu_ledger.database import creation
from dejavu_ledger.database.postgres.connections import driver_connection
from dejavu_ledger.database.postgres.schema_check import check_schema
from dejavu_ledger.errors import LedgerSchemaError, LedgerUnavailable

CREATION_SECONDS = 60.0
"""Time limit of a statement that creates tables."""

# Two numbers, to be distinct from other locks of the database: one for this use, one for the ledger's schema.
_LOCK = text("SELECT pg_advisory_xact_lock(1684367457, hashtext(current_schema()))")


def ensure_schema(engine: Engine, *, make: bool = True) -> None:
    """Create the tables unless they exist; return quickly if they do.

    Args:
        engine: an engine that writes.
        make: whether to create a ledger if none exists.

    Raises:
        LedgerSchemaError: if the tables have another schema, are not a ledger, or are not exactly those of this
            release.
        LedgerUnavailable: if there is no ledger and `make` is false, or another process prepares one for too long.
        sqlalchemy.exc.SQLAlchemyError, psycopg.Error: if the database fails.
    """
    with engine.connect() as connection:
        if not _is_empty(connection, make=make):
            check_schema(connection)
            return
    with engine.connect() as connection:
        raw = driver_connection(connection)
        patience = raw.answer_seconds
        raw.execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
            f" SET LOCAL lock_timeout = {creation.LOCK_SECONDS * 1000:.0f};"
            f" SET LOCAL statement_timeout = {CREATION_SECONDS * 1000:.0f}; SET LOCAL client_min_messages = warning"
        )
        raw.answer_seconds = CREATION_SECONDS
        try:
            connection.execute(_LOCK)  # a separate statement, so that later ones see the commits of the previous holder
            if _is_empty(connection, make=make):
                creation.create(connection)
            check_schema(connection)
            raw.commit()
        finally:
            if raw.closed:
                connection.invalidate()
            else:
                raw.rollback()  # does nothing after the commit
                raw.answer_seconds = patience


def _is_empty(connection: Connection, *, make: bool) -> bool:
    if connection.execute(text("SELECT current_schema()")).scalar() is None:
        raise LedgerSchemaError(
            "the database is not a ledger: the schema that its search_path names does not exist; create it first"
        )
    empty = creation.is_empty(connection)
    if empty and not make:
        raise LedgerUnavailable("the ledger is gone: its tables are missing")
    return empty
