"""Schema version of a ledger, for the migrations of every database."""

from __future__ import annotations

from sqlalchemy import Connection, column, inspect, select, table

from dejavu_ledger.database.schema import REVISION
from dejavu_ledger.errors import LedgerSchemaError

LOCK_SECONDS = 10.0
"""Time to wait for other processes that prepare ledgers in the same place; each takes a fraction of a second."""

_VERSIONS = table("alembic_version", column("version_num"))


def is_older(connection: Connection) -> bool:
    """Return whether the database has an older schema than this release, or no schema yet.

    Raises:
        LedgerSchemaError: if the schema is newer or unknown, or the database is not a ledger.
    """
    revision = revision_of(connection)
    if revision is None:
        if not inspect(connection).get_table_names():
            return True
        revision = revision_of(connection)  # in PostgreSQL, another process may have made the ledger in between
        if revision is None:
            raise LedgerSchemaError("the database is not a ledger: it contains other tables")
    if revision == REVISION:
        return False
    from dejavu_ledger.database.alembic_runner import revisions  # noqa: PLC0415 - see there

    if revision not in revisions():
        raise LedgerSchemaError(
            f"the database has schema {revision!r}, which this release does not know; it knows up to {REVISION!r}"
        )
    return True


def revision_of(connection: Connection) -> str | None:
    """Return the revision id stored in a database; None if there is none."""
    if not inspect(connection).has_table(_VERSIONS.name):
        return None
    revision: str | None = connection.execute(select(_VERSIONS.c.version_num)).scalar()
    return revision
