"""Connections to the ledger's database: one kind writes, one kind reads.

SQLite in WAL mode: readers never wait for writers nor hinder them. Every write transaction is BEGIN IMMEDIATE: it has
the write lock before it reads, so that what it decides on what it read still holds when it commits. Readers stay out of
transactions: each statement sees the newest commit, and none keeps a checkpoint from finishing.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from dejavu_server.ledger.errors import InvalidLedgerUrl

BUSY_SECONDS = 2.0
"""How long a write waits for another process's transaction, which lasts milliseconds; shorter than callers wait."""


class Durability(enum.Enum):
    """What a committed forecast survives."""

    PROCESS = "process"
    """The death of any process. A power loss may take the last commits, never the ledger's soundness."""

    POWER = "power"
    """A power loss too: every commit waits for the disk."""


_SYNCHRONOUS = {Durability.PROCESS: "NORMAL", Durability.POWER: "FULL"}


def database_path(url: str) -> Path:
    """The absolute path of the database that a URL names.

    Raises:
        InvalidLedgerUrl: unless it is sqlite:///PATH.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidLedgerUrl(f"{url!r} is not a database's URL; expected sqlite:///PATH") from None
    name = parsed.database or ""
    if parsed.get_backend_name() != "sqlite" or parsed.query or not name or name == ":memory:":
        raise InvalidLedgerUrl(f"{url!r} can't hold a ledger; expected sqlite:///PATH")
    try:
        return Path(name).expanduser().resolve()
    except (OSError, RuntimeError) as error:  # there is no such home, or links lead in a circle
        raise InvalidLedgerUrl(f"{url!r} can't hold a ledger: {error}") from error


def writing(path: Path, durability: Durability) -> Engine:
    """An engine whose transactions hold the write lock from their first moment on."""
    engine = _engine(
        path,
        ["PRAGMA journal_mode=WAL", f"PRAGMA synchronous={_SYNCHRONOUS[durability]}", "PRAGMA foreign_keys=ON"],
    )

    @event.listens_for(engine, "begin")
    def begin_immediate(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def reading(path: Path) -> Engine:
    """An engine that cannot write, and whose statements stand for themselves."""
    return _engine(path, ["PRAGMA query_only=ON"])


def _engine(path: Path, pragmas: list[str]) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _entry: ConnectionPoolEntry) -> None:
        # sqlite3 begins no transactions of its own: there are those of BEGIN, or none.
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(pragma).close()

    return engine
