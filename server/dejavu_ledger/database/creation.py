"""Creates the tables of a ledger, the same in every database."""

from __future__ import annotations

import secrets
import uuid
from typing import Final

from dejavu_ledger.database import sql
from dejavu_ledger.database.schema import VERSION, statements
from dejavu_ledger.database.sql import Connection
from dejavu_ledger.errors import LedgerSchemaError

LOCK_SECONDS = 10.0
"""Time to wait for other processes that prepare ledgers in the same place; each takes a fraction of a second."""

_TABLES: Final = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'",
    "postgresql": "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')",
}


def create(connection: Connection) -> None:
    """Create the tables, and the identity of a new ledger, in an empty database."""
    for statement in statements(connection.dialect).values():
        sql.rows(connection, statement)
    sql.insert(connection, "schema_version", [{"version": VERSION}])
    sql.insert(connection, "ledger", [{"id": 1, "ledger_id": uuid.uuid4().hex, "epoch": secrets.token_hex(8)}])


def is_empty(connection: Connection) -> bool:
    """Return whether a database has no tables yet; otherwise it is a ledger of this schema.

    Raises:
        LedgerSchemaError: if it has another schema, or is not a ledger.
    """
    tables = {name for (name,) in sql.rows(connection, _TABLES[connection.dialect])}
    if not tables:
        return True
    if "schema_version" not in tables:
        raise LedgerSchemaError("the database is not a ledger: it contains other tables")
    version = sql.value(connection, "SELECT version FROM schema_version")
    if version != VERSION:
        raise LedgerSchemaError(f"the database has schema {version!r}; this release knows {VERSION!r} alone")
    return False
