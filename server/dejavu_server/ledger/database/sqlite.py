"""Connections to the ledger's database: one kind writes, one kind reads.

SQLite in WAL mode: readers never wait for writers nor hinder them. Every write transaction is BEGIN IMMEDIATE: it has
the write lock before it reads, so that what it decides on what it read still holds when it commits. Readers stay out of
transactions: each statement sees the newest commit, and none keeps a checkpoint from finishing.

No connection makes the file, and one that failed for a reason that may lie in its file is not used again: SQLite would
stay with what it opened, read-only for instance, long after the disk is well.
"""

from __future__ import annotations

import enum
import os
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from dejavu_server.ledger.errors import InvalidLedgerUrl, LedgerUnavailable, primary_code

BUSY_SECONDS = 2.0
"""How long a write waits for another process's transaction, which lasts milliseconds; shorter than callers wait."""


ROOM_BYTES = 1024 * 1024
"""A disk with less than this counts as full: a batch of forecasts may take as much."""


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


class OpenFiles(NamedTuple):
    """The files of a ledger that a connection has open, by device and number; None for one that is not there.

    A connection goes on writing to a file that was removed, renamed or replaced, and what it commits is in no ledger
    that anybody opens later. SQLite does not tell: in WAL mode it looks at the path when it opens and closes only.
    """

    database: tuple[int, int] | None
    log: tuple[int, int] | None

    @classmethod
    def at(cls, path: Path) -> OpenFiles:
        """What lies at a path now."""
        return cls(_number(f"{path}"), _number(f"{path}-wal"))

    def check(self, path: Path) -> None:
        """Raises LedgerUnavailable unless these files still lie at their path."""
        if OpenFiles.at(path) != self:
            raise LedgerUnavailable("the ledger's file was removed or replaced while it was in use")


def _number(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - twice a commit
    except OSError:
        return None
    return found.st_dev, found.st_ino


def writing(path: Path, durability: Durability) -> Engine:
    """An engine whose transactions hold the write lock from their first moment on."""
    engine = _engine(
        path,
        ["PRAGMA journal_mode=WAL", f"PRAGMA synchronous={_SYNCHRONOUS[durability]}", "PRAGMA foreign_keys=ON"],
    )

    @event.listens_for(engine, "begin")
    def begin_immediate(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        if _FILES not in connection.info:  # the first one, which opens the write-ahead log
            connection.info[_FILES] = OpenFiles.at(path)

    return engine


def check_room(path: Path) -> None:
    """Raises LedgerUnavailable if the disk of a database has no room to speak of left.

    What a small write shows is little: it may fit where a greater one did not.
    """
    disk = os.statvfs(path.parent)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < ROOM_BYTES:
        raise LedgerUnavailable("the ledger is full: no space left on the disk")


def open_files(connection: Connection) -> OpenFiles:
    """The files that a connection of `writing` has open; to be asked for in a transaction."""
    found: OpenFiles = connection.info[_FILES]
    return found


def reading(path: Path) -> Engine:
    """An engine that cannot write, and whose statements stand for themselves."""
    return _engine(path, ["PRAGMA query_only=ON"])


_FILES = "dejavu_files"

_SUSPECT = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}
"""Result codes after which a new connection may fare better."""


def _engine(path: Path, pragmas: list[str]) -> Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
        )

    engine = create_engine("sqlite:///unused", creator=connect, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _entry: ConnectionPoolEntry) -> None:
        # sqlite3 begins no transactions of its own: there are those of BEGIN, or none.
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(pragma).close()

    @event.listens_for(engine, "handle_error")
    def let_go(context: ExceptionContext) -> None:
        if primary_code(context.original_exception) in _SUSPECT:
            context.is_disconnect = True

    return engine
