"""SQLite as the backend of a ledger: one file, any number of processes on one machine.

The database is in WAL mode, so readers and writers never block each other. Every write transaction starts with BEGIN
IMMEDIATE: it takes the write lock before it reads, so that decisions based on those reads still hold at commit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dejavu_ledger.database import notify, store
from dejavu_ledger.database.backend import CommitListener, Connection, Durability, StopSignal
from dejavu_ledger.database.creation import is_empty
from dejavu_ledger.database.recording.prepared import run_on_driver
from dejavu_ledger.database.sqlite.creation import ensure_schema
from dejavu_ledger.database.sqlite.engine import (
    check_free_space,
    database_errors,
    database_path,
    discard_after,
    file_bytes,
    free_bytes,
    from_database,
    new_engine,
    reading_engine,
    stopping,
)
from dejavu_ledger.database.sqlite.schema_check import check_schema
from dejavu_ledger.database.sqlite.wal_checkpointer import MOST_PAGES, WalCheckpointer
from dejavu_ledger.errors import LedgerCorrupt, LedgerError, LedgerReplaced, LedgerUnavailable

_log = structlog.get_logger(__name__)


_SYNCHRONOUS = {Durability.PROCESS: "NORMAL", Durability.POWER: "FULL"}


_FILES = "dejavu_files"


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
        """Return the files currently at a path."""
        return cls(_file_id(f"{path}"), _file_id(f"{path}-wal"))

    def check(self, path: Path) -> None:
        """Raise LedgerReplaced unless these files are still at their path."""
        if OpenFiles.at(path) != self:
            raise LedgerReplaced("the ledger's file was removed or replaced while it was in use")


def _file_id(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - twice a commit
    except OSError:
        return None
    return status.st_dev, status.st_ino


def writing_engine(path: Path, durability: Durability) -> Engine:
    """Return an engine whose transactions hold the write lock from their start."""
    engine = new_engine(
        path,
        [
            "PRAGMA journal_mode=WAL",
            f"PRAGMA synchronous={_SYNCHRONOUS[durability]}",
            f"PRAGMA wal_autocheckpoint={MOST_PAGES}",
            "PRAGMA foreign_keys=ON",
        ],
    )

    @event.listens_for(engine, "begin")
    def begin_immediate(connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        if not driver.in_transaction:  # by `SqliteBackend.write`
            _begin(connection, path)

    return engine


def _begin(connection: Connection, path: Path) -> OpenFiles:
    """Start a transaction that holds the write lock; return the files that the connection has open."""
    try:
        run_on_driver(connection, "BEGIN IMMEDIATE")
    except DBAPIError as error:
        discard_after(error, connection)
        raise
    files: OpenFiles | None = connection.info.get(_FILES)
    if files is None:  # first transaction of the connection, which opens the write-ahead log
        files = connection.info[_FILES] = OpenFiles.at(path)
    return files


class SqliteBackend:
    """A ledger in a SQLite file; see `Backend`.

    Args:
        url: sqlite:///PATH.
        durability: durability of a committed transaction.
        immutable: whether nothing can change the file; see `reading_engine`.

    Raises:
        InvalidLedgerUrl: if the URL cannot name a ledger.
    """

    def __init__(self, url: str, durability: Durability = Durability.PROCESS, *, immutable: bool = False) -> None:
        self._path = database_path(url)
        self._writing = writing_engine(self._path, durability)
        self._reading = reading_engine(self._path, immutable=immutable)
        self._kept: list[Connection] = []  # the connection of the last transaction
        self._checkpointer = WalCheckpointer(self._path)
        self._files: OpenFiles | None = None
        self._runtime: Path | None = None
        self._notifier: notify.Notifier | None = None

    def open(self, *, make: bool) -> None:
        """See `Backend.open`. Creates the folder of the file too."""
        try:
            with database_errors():
                if make:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                ensure_schema(self._writing, self._path, make=make)
                with self._writing.begin() as connection:
                    self._files = connection.info[_FILES]
        except OSError as error:
            raise LedgerUnavailable(f"the ledger's folder cannot be used: {error.strerror}") from error
        try:
            self._runtime = notify.runtime_folder(self._path)
        except OSError as error:
            _log.warning("ledger_runtime_folder_unusable", error=str(error), effect="streams lag by up to a second")
        else:
            self._notifier = self._notifier or notify.Notifier(self._runtime)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """See `Backend.write`. Neither writes to files that were removed or replaced, nor counts commits to them."""
        # Separate context managers, and SQLAlchemy's transactions, would take half of the time of an empty commit.
        try:
            try:
                connection = self._kept.pop()
            except IndexError:
                connection = self._writing.connect()
            try:
                files = _begin(connection, self._path)
                files.check(self._path)
                yield connection
                if connection.in_transaction():  # SQLAlchemy has run statements, so it has to know
                    connection.commit()
                else:
                    run_on_driver(connection, "COMMIT")
            except BaseException as error:
                if isinstance(error, DBAPIError):
                    discard_after(error, connection)
                connection.close()  # which rolls back
                raise
            if self._kept:
                connection.close()
            else:
                self._kept.append(connection)  # for the next transaction: the pool takes as long as a commit
        except SQLAlchemyError as error:
            raise from_database(error) from error
        files.check(self._path)
        self._checkpointer.committed()

    @contextmanager
    def read(self, stop: StopSignal | None = None) -> Iterator[Connection]:
        """See `Backend.read`."""
        try:
            with (
                database_errors(),
                self._reading.connect() as connection,
                nullcontext() if stop is None else stopping(connection, stop),
            ):
                yield connection
        except LedgerError:
            self.check()  # a new connection may have opened another file in the place of the ledger's
            raise

    def check(self) -> None:
        """See `Backend.check`."""
        if self._files is not None:
            self._files.check(self._path)

    def check_integrity(self, connection: Connection, *, thorough: bool) -> None:
        """See `Backend.check_integrity`."""
        pragma = "integrity_check" if thorough else "quick_check"
        if connection.exec_driver_sql(f"PRAGMA {pragma}(1)").scalar_one() != "ok":
            raise LedgerCorrupt("the ledger is damaged: its file is not a sound SQLite database")

    def probe(self) -> None:
        """See `Backend.probe`."""
        with database_errors(), self._writing.begin() as connection:
            store.probe_write(connection)
        check_free_space(self._path)

    def free_bytes(self) -> int | None:
        """See `Backend.free_bytes`."""
        return free_bytes(self._path)

    def size_bytes(self) -> int:
        """See `Backend.size_bytes`."""
        return sum(file_bytes(path) for path in (self._path, Path(f"{self._path}-wal")))

    def notify(self) -> None:
        """See `Backend.notify`."""
        if self._notifier is not None:
            self._notifier.notify()

    def listen(self, committed: Callable[[], None]) -> CommitListener | None:
        """See `Backend.listen`."""
        if self._runtime is None:
            return None
        try:
            listener = notify.Listener(self._runtime, committed)
        except OSError as error:
            _log.warning("ledger_wake_socket_failed", error=str(error), effect="streams lag by up to a second")
            return None
        if self._notifier is not None:
            self._notifier.own = listener.name
        return listener

    def close(self) -> None:
        """See `Backend.close`."""
        if self._notifier is not None:
            self._notifier.close()
            self._notifier = None
        self._checkpointer.close()
        while self._kept:
            self._kept.pop().close()
        self._writing.dispose()
        self._reading.dispose()


@contextmanager
def read_only_ledger(url: str) -> Iterator[SqliteBackend]:
    """Open the ledger at a URL to read it, also while a server uses it; create nothing.

    A ledger in a folder that cannot be written, such as a backup, is read as it is, unless its newest entries are in
    its write-ahead log: to read that, SQLite needs a file beside it.

    Raises:
        InvalidLedgerUrl, LedgerSchemaError, LedgerUnavailable: if it cannot be read as a ledger of this release.
    """
    path = database_path(url)
    if not path.is_file():
        raise LedgerUnavailable(f"there is no ledger at {path}")
    log = Path(f"{path}-wal")
    writable = os.access(path.parent, os.W_OK, effective_ids=True)
    immutable = not writable and not log.exists()
    backend = SqliteBackend(url, immutable=immutable)
    try:
        try:
            with backend.read() as connection:
                empty = is_empty(connection)
                if not empty:
                    check_schema(connection)
        except LedgerUnavailable as error:
            if writable:
                raise
            raise LedgerUnavailable(
                f"{error}; its folder {path.parent} is not writable: copy {path.name} and {log.name} to one that is"
            ) from error
        if empty:
            raise LedgerUnavailable(f"there is no ledger at {path}: the file is empty")
        yield backend
        if immutable and log.exists():  # by a process that can write there: the data that were read may be inconsistent
            raise LedgerUnavailable("the ledger was written to while it was read, in a folder that is read-only here")
    finally:
        backend.close()
