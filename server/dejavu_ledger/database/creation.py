"""Creates the tables of a ledger, the same in every database."""

from __future__ import annotations

import secrets
import uuid

from sqlalchemy import Connection, insert, inspect, select

from dejavu_ledger.database.schema import VERSION, ledger, metadata, schema_version
from dejavu_ledger.errors import LedgerSchemaError

LOCK_SECONDS = 10.0
"""Time to wait for other processes that prepare ledgers in the same place; each takes a fraction of a second."""


def create(connection: Connection) -> None:
    """Create the tables, and the identity of a new ledger, in an empty database."""
    metadata.create_all(connection, checkfirst=False)
    connection.execute(insert(schema_version).values(version=VERSION))
    connection.execute(insert(ledger).values(id=1, ledger_id=uuid.uuid4().hex, epoch=secrets.token_hex(8)))


def is_empty(connection: Connection) -> bool:
    """Return whether a database has no tables yet; otherwise it is a ledger of this schema.

    Raises:
        LedgerSchemaError: if it has another schema, or is not a ledger.
    """
    version = _version(connection)
    if version is None:
        if not inspect(connection).get_table_names():
            return True
        version = _version(connection)  # in PostgreSQL, another process may have made the ledger in between
        if version is None:
            raise LedgerSchemaError("the database is not a ledger: it contains other tables")
    if version != VERSION:
        raise LedgerSchemaError(f"the database has schema {version!r}; this release knows {VERSION!r} alone")
    return False


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(schema_version.name):
        return None
    version: str | None = connection.execute(select(schema_version.c.version)).scalar()
    return version
