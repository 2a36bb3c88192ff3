"""Creates or migrates the tables of a ledger in PostgreSQL: the first process that opens it does so, the others wait.

Everything runs in one transaction under an advisory lock, so after a failure the database is unchanged.
"""

from __future__ import annotations

import structlog
from sqlalchemy import Connection, Engine, text

from dejavu_ledger.database import migrate
from dejavu_ledger.database.postgres.connections import driver_connection
from dejavu_ledger.database.postgres.schema_check import check_schema
from dejavu_ledger.database.schema import REVISION
from dejavu_ledger.errors import LedgerSchemaError, LedgerUnavailable

_log = structlog.get_logger(__name__)

MIGRATION_SECONDS = 60.0
"""Time limit of a statement of a migration."""

# Two numbers, to be distinct from other locks of the database: one for this use, one for the ledger's schema.
_LOCK = text("SELECT pg_advisory_xact_lock(1684367457, hashtext(current_schema()))")


def ensure_schema(engine: Engine, *, make: bool = True) -> None:
    """Create the tables or migrate them to the newest schema; return quickly if they are up to date.

    Args:
        engine: an engine that writes.
        make: whether to create a ledger if none exists.

    Raises:
        LedgerSchemaError: if the tables were written by a later release, are not a ledger, or are not exactly those
            of this release.
        LedgerUnavailable: if there is no ledger and `make` is false, or another process prepares one for too long.
        sqlalchemy.exc.SQLAlchemyError, psycopg.Error: if the database fails.
    """
    with engine.connect() as connection:
        if not _is_older(connection, make=make):
            check_schema(connection)
            return
    with engine.connect() as connection:
        raw = driver_connection(connection)
        patience = raw.answer_seconds
        raw.execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
            f" SET LOCAL lock_timeout = {migrate.LOCK_SECONDS * 1000:.0f};"
            f" SET LOCAL statement_timeout = {MIGRATION_SECONDS * 1000:.0f}; SET LOCAL client_min_messages = warning"
        )
        raw.answer_seconds = MIGRATION_SECONDS
        try:
            connection.execute(_LOCK)  # a separate statement, so that later ones see the commits of the previous holder
            before = None
            if older := _is_older(connection, make=make):
                from dejavu_ledger.database.alembic_runner import upgrade  # noqa: PLC0415 - see there

                before = migrate.revision_of(connection)
                upgrade(connection)
            check_schema(connection)
            raw.commit()
        finally:
            if raw.closed:
                connection.invalidate()
            else:
                raw.rollback()  # does nothing after the commit
                raw.answer_seconds = patience
    if older and before is not None:
        _log.info("ledger_migrated", before=before, schema=REVISION)


def _is_older(connection: Connection, *, make: bool) -> bool:
    if connection.execute(text("SELECT current_schema()")).scalar() is None:
        raise LedgerSchemaError(
            "the database is not a ledger: the schema that its search_path names does not exist; create it first"
        )
    older = migrate.is_older(connection)
    if older and not make and migrate.revision_of(connection) is None:
        raise LedgerUnavailable("the ledger is gone: its tables are missing")
    return older
