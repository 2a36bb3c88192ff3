"""SQL statements compiled once a process: once a ledger takes a quarter of the time of the ledger's tests."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache


def share_compiled_statements() -> None:
    """Let all SQLite ledgers of this process use the same compiled statements.

    SQLAlchemy caches them by dialect, and each engine has a dialect of its own, all of which have the same settings.
    """
    compiled = LRUCache[object, object](2000)
    setattr(SQLiteDialect_pysqlite, "__hash__", lambda self: hash(type(self)))  # noqa: B010 - mypy: a method
    setattr(SQLiteDialect_pysqlite, "__eq__", lambda self, other: type(self) is type(other))  # noqa: B010

    @event.listens_for(Engine, "engine_connect")
    def use(connection: Connection) -> None:
        if isinstance(connection.dialect, SQLiteDialect_pysqlite):
            connection.execution_options(compiled_cache=compiled)
