"""SQLite engines for the ledger's database: one for writing, one for reading.

The database is in WAL mode, so readers and writers never block each other. Every write transaction starts with BEGIN
IMMEDIATE: it takes the write lock before it reads, so that decisions based on those reads still hold at commit. Readers
use no transactions: each statement sees the newest commit, and none prevents a WAL checkpoint from completing.

Connections never create the file. A connection that failed for a reason that may lie in its file is discarded: SQLite
would keep the state in which it opened the file, read-only for instance, long after the disk has recovered.
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

from dejavu_server.ledger.database.sqlite_errors import primary_code
from dejavu_server.ledger.errors import InvalidLedgerUrl, LedgerUnavailable

BUSY_SECONDS = 2.0
"""How long a write waits for another process's transaction, which takes milliseconds; less than callers wait."""


MIN_FREE_BYTES = 1024 * 1024
"""Free space below which a disk counts as full: a batch of forecasts may need this much."""


class Durability(enum.Enum):
    """What a committed forecast survives."""

    PROCESS = "process"
    """The death of any process. A power loss may lose the last commits but never corrupts the ledger."""

    POWER = "power"
    """Also a power loss: every commit waits for the disk."""


_SYNCHRONOUS = {Durability.PROCESS: "NORMAL", Durability.POWER: "FULL"}


def database_path(url: str) -> Path:
    """Returns the absolute path of the database that a URL names.

    Raises:
        InvalidLedgerUrl: if the URL is not sqlite:///PATH.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidLedgerUrl(f"{url!r} is not a database URL; expected sqlite:///PATH") from None
    name = parsed.database or ""
    if parsed.get_backend_name() != "sqlite" or parsed.query or not name or name == ":memory:":
        raise InvalidLedgerUrl(f"{url!r} cannot hold a ledger; expected sqlite:///PATH")
    try:
        return Path(name).expanduser().resolve()
    except (OSError, RuntimeError) as error:  # unknown home directory, or a cycle of symbolic links
        raise InvalidLedgerUrl(f"{url!r} cannot hold a ledger: {error}") from error


class OpenFiles(NamedTuple):
    """Files of a ledger that a connection has open, by device and inode; None for a file that does not exist.

    A connection keeps writing to a file that was removed, renamed or replaced, and those commits are lost to later
    readers. SQLite does not detect this: in WAL mode it checks the path only when it opens and closes the file.

    Attributes:
        database: the database file.
        log: the write-ahead log.
    """

    database: tuple[int, int] | None
    log: tuple[int, int] | None

    @classmethod
    def at(cls, path: Path) -> OpenFiles:
        """Returns the files currently at a path."""
        return cls(_file_id(f"{path}"), _file_id(f"{path}-wal"))

    def check(self, path: Path) -> None:
        """Raises LedgerUnavailable unless these files are still at their path."""
        if OpenFiles.at(path) != self:
            raise LedgerUnavailable("the ledger's file was removed or replaced while it was in use")


def _file_id(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - twice a commit
    except OSError:
        return None
    return status.st_dev, status.st_ino


def writing_engine(path: Path, durability: Durability) -> Engine:
    """Returns an engine whose transactions hold the write lock from their start."""
    engine = _engine(
        path,
        ["PRAGMA journal_mode=WAL", f"PRAGMA synchronous={_SYNCHRONOUS[durability]}", "PRAGMA foreign_keys=ON"],
    )

    @event.listens_for(engine, "begin")
    def begin_immediate(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        if _FILES not in connection.info:  # first transaction of the connection, which opens the write-ahead log
            connection.info[_FILES] = OpenFiles.at(path)

    return engine


def check_free_space(path: Path) -> None:
    """Raises LedgerUnavailable if the disk of a database has less than MIN_FREE_BYTES left.

    A small test write proves little: it may fit where a larger one did not.
    """
    disk = os.statvfs(path.parent)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES:
        raise LedgerUnavailable("the ledger is full: no space left on the disk")


def open_files(connection: Connection) -> OpenFiles:
    """Returns the files that a connection of `writing_engine` has open. Call it within a transaction."""
    files: OpenFiles = connection.info[_FILES]
    return files


def reading_engine(path: Path) -> Engine:
    """Returns an engine that cannot write and that runs each statement on its own, without transactions."""
    return _engine(path, ["PRAGMA query_only=ON"])


_FILES = "dejavu_files"

_DISCARDING_CODES = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}
"""Result codes after which a new connection may succeed."""


def _engine(path: Path, pragmas: list[str]) -> Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
        )

    engine = create_engine("sqlite:///unused", creator=connect, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _entry: ConnectionPoolEntry) -> None:
        # Stops sqlite3 from starting transactions by itself; only an explicit BEGIN does.
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(pragma).close()

    @event.listens_for(engine, "handle_error")
    def discard(context: ExceptionContext) -> None:
        if primary_code(context.original_exception) in _DISCARDING_CODES:
            context.is_disconnect = True

    return engine
