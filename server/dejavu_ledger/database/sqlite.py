"""SQLite as the backend of a ledger: one file, any number of processes on one machine.

The database is in WAL mode, so readers and writers never block each other. Every write transaction starts with BEGIN
IMMEDIATE: it takes the write lock before it reads, so that decisions based on those reads still hold at commit.

SQLite itself copies the write-ahead log into the database in every commit that makes the log long enough: its caller
then waits for two flushes of the disk, as long as a dozen commits. Here a thread does it soon after a commit; a commit
does it only if the log has become too long nevertheless. Decision: docs/decisions/0043-write-path.md.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final, Self, TypeAlias

import structlog

from dejavu_ledger.database import schema, sql, sqlite_engine, store
from dejavu_ledger.database.backend import CommitListener, Connection, Durability, Pool, StopSignal
from dejavu_ledger.database.sqlite_engine import (
    DISCARDING_CODES,
    connect,
    database_errors,
    database_path,
    file_bytes,
    free_bytes,
    primary_code,
    stopping,
)
from dejavu_ledger.errors import LedgerCorrupt, LedgerError, LedgerReplaced, LedgerUnavailable

_log = structlog.get_logger(__name__)

MIN_FREE_BYTES: Final = 1024 * 1024
"""Free space below which a disk counts as full: a batch of forecasts may need this much."""

CREATION_LOCK_SECONDS = 10.0
"""Time to wait for other processes that prepare ledgers in the same folder; each takes a fraction of a second."""

_POLL_SECONDS: Final = 0.01

PAUSE_SECONDS: Final = 0.25
"""Minimum time between a commit and the copy, and between two copies: pages that are written often are copied once."""

MOST_PAGES: Final = 8000
"""Number of pages in the log from which a commit copies them itself: 32 MiB. SQLite starts the log from its beginning
only if no commit comes during a copy.
"""


class WalCheckpointer:
    """Copies the log of a database soon after commits, in a thread.

    Args:
        path: the database.
        pause: seconds between a commit and the copy.
    """

    def __init__(self, path: Path, pause: float = PAUSE_SECONDS) -> None:
        self._path, self._pause = path, pause
        self._due, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """Copy the log soon; call this after a commit, one thread at a time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wal-checkpointer", daemon=True)
            self._thread.start()
        self._due.set()

    def close(self) -> None:
        """Copy nothing more. Idempotent."""
        self._closed.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._due.wait():
            self._due.clear()  # first: what is set during pause or copy, by a commit or `close`, is not lost
            if self._closed.wait(self._pause):
                return
            self._copy()

    def _copy(self) -> None:
        # A full or broken disk fails commits too, which report it.
        with suppress(sqlite3.Error), closing(connect(self._path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


OpenFiles: TypeAlias = tuple[tuple[int, int] | None, ...]
"""The database and its write-ahead log, by device and inode; None for a file that does not exist."""


def _files_at(path: Path) -> OpenFiles:
    return tuple(_file_id(name) for name in (f"{path}", f"{path}-wal"))


def _file_id(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - twice a commit
    except OSError:
        return None
    return status.st_dev, status.st_ino


class _FileConnection(Connection):
    """A connection to a file.

    It keeps writing to a file that was removed, renamed or replaced, and those commits are lost to later readers.
    SQLite does not detect this: in WAL mode it checks the path only when it opens and closes the file.

    Attributes:
        files: files that it has open; None before its first transaction, which opens the write-ahead log.
    """

    files: OpenFiles | None = None


class SqliteBackend:
    """A ledger in a SQLite file; see `Backend`.

    Args:
        url: sqlite:///PATH.
        durability: durability of a committed transaction.
        immutable: whether nothing can change the file. SQLite then neither locks it nor creates files beside it, which
            it otherwise does even to read a database in WAL mode (https://www.sqlite.org/wal.html#readonly).

    Raises:
        InvalidLedgerUrl: if the URL cannot name a ledger.
    """

    def __init__(self, url: str, durability: Durability = Durability.PROCESS, *, immutable: bool = False) -> None:
        self._path = path = database_path(url)
        settings = (
            "journal_mode=WAL",
            f"synchronous={'FULL' if durability is Durability.POWER else 'NORMAL'}",
            f"wal_autocheckpoint={MOST_PAGES}",
            "foreign_keys=ON",
        )
        self._writing = Pool(lambda: _FileConnection("sqlite", connect(path, *settings)))
        self._reading = Pool(lambda: _FileConnection("sqlite", connect(path, "query_only=ON", immutable=immutable)))
        self._checkpointer = WalCheckpointer(path)
        self._files: OpenFiles | None = None
        self._sockets: Path | None = None
        self._own_socket: Path | None = None

    @classmethod
    @contextmanager
    def read_only(cls, url: str) -> Iterator[Self]:
        """Open a ledger to read it; see `backends.read_only_ledger`.

        A ledger in a folder that cannot be written, such as a backup, is read as it is, unless its newest entries are
        in its write-ahead log: to read that, SQLite needs a file beside it.
        """
        path = database_path(url)
        if not path.is_file():
            raise LedgerUnavailable(f"there is no ledger at {path}")
        log = Path(f"{path}-wal")
        writable = os.access(path.parent, os.W_OK, effective_ids=True)
        immutable = not writable and not log.exists()
        with closing(cls(url, immutable=immutable)) as backend:
            try:
                with backend.read() as connection:
                    if schema.is_empty(connection):
                        raise LedgerUnavailable(f"there is no ledger at {path}: the file is empty")
                    schema.check_schema(connection)
            except LedgerUnavailable as error:
                if writable or immutable:
                    raise
                raise LedgerUnavailable(
                    f"{error}; its folder {path.parent} is not writable: copy {path.name} and {log.name} to one that is"
                ) from error
            yield backend
            if immutable and log.exists():  # by a process that can write there: what was read may be inconsistent
                raise LedgerUnavailable(
                    "the ledger was written to while it was read, in a folder that is read-only here"
                )

    def open(self, *, make: bool) -> None:
        """See `Backend.open`. Creates the folder of the file too."""
        try:
            if make:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            # The first writer switches the database to WAL, which needs exclusive access without waiting.
            with _folder_lock(self._path.parent):
                self._create(make=make)
        except OSError as error:
            raise LedgerUnavailable(f"the ledger's folder cannot be used: {error.strerror}") from error
        try:
            self._sockets = sqlite_engine.sockets_of(self._path)
        except OSError as error:
            _log.warning("ledger_runtime_folder_unusable", error=str(error), effect="streams lag by up to a second")

    def _create(self, *, make: bool) -> None:
        """Create the database unless it exists, in one transaction; after a failure it is unchanged or empty."""
        if make and not self._path.exists():
            # An empty file is an empty SQLite database. SQLite gives its companion files the same mode.
            self._path.touch(mode=0o600)
        with self._connection(self._reading) as connection:  # before the switch to WAL, which is itself a write
            if schema.is_empty(connection) and not make:
                raise LedgerUnavailable("the ledger is gone: its file is empty")
        self._reading.clear()
        with self.write() as connection:
            if schema.is_empty(connection):
                schema.create_tables(connection)
            schema.check_schema(connection)
            self._files = _files_at(self._path)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """See `Backend.write`. Neither writes to files that were removed or replaced, nor counts commits to them."""
        with self._connection(self._writing) as connection:
            connection.driver.execute("BEGIN IMMEDIATE")
            files = connection.files = connection.files or _files_at(self._path)
            self._check_files(files)
            yield connection
            connection.driver.execute("COMMIT")
        self._check_files(files)
        self._checkpointer.committed()

    @contextmanager
    def read(self, stop: StopSignal | None = None) -> Iterator[Connection]:
        """See `Backend.read`."""
        try:
            with (
                self._connection(self._reading) as connection,
                nullcontext() if stop is None else stopping(connection, stop),
            ):
                yield connection
        except LedgerError:
            self.check()  # a new connection may have opened another file in the place of the ledger's
            raise

    @contextmanager
    def _connection(self, pool: Pool[_FileConnection]) -> Iterator[_FileConnection]:
        """Yield a connection; at an error roll back, and discard connections if it may lie in their file."""
        with database_errors(), pool.connection() as connection:
            try:
                yield connection
            except BaseException as error:
                if primary_code(error) in DISCARDING_CODES:
                    connection.close()
                elif connection.driver.in_transaction:
                    connection.driver.rollback()
                raise

    def check(self) -> None:
        """See `Backend.check`."""
        if self._files is not None:
            self._check_files(self._files)

    def _check_files(self, files: OpenFiles) -> None:
        """Raise LedgerReplaced unless these files are still at their path."""
        if _files_at(self._path) != files:
            raise LedgerReplaced("the ledger's file was removed or replaced while it was in use")

    def check_integrity(self, connection: Connection, *, thorough: bool) -> None:
        """See `Backend.check_integrity`."""
        pragma = "integrity_check" if thorough else "quick_check"
        if sql.value(connection, f"PRAGMA {pragma}(1)") != "ok":
            raise LedgerCorrupt("the ledger is damaged: its file is not a sound SQLite database")

    def probe(self) -> None:
        """See `Backend.probe`."""
        with self.write() as connection:
            store.probe_write(connection)
        free = self.free_bytes()
        if free is not None and free < MIN_FREE_BYTES:  # a small test write may fit where a larger one would not
            raise LedgerUnavailable("the ledger is full: no space left on the disk")

    def free_bytes(self) -> int | None:
        """See `Backend.free_bytes`."""
        return free_bytes(self._path)

    def size_bytes(self) -> int:
        """See `Backend.size_bytes`."""
        return sum(file_bytes(path) for path in (self._path, Path(f"{self._path}-wal")))

    def notify(self) -> None:
        """See `Backend.notify`."""
        if self._sockets is not None:
            sqlite_engine.notify(self._sockets, but=self._own_socket)

    def listen(self, committed: Callable[[], None]) -> CommitListener | None:
        """See `Backend.listen`."""
        if self._sockets is None:
            return None
        try:
            listener = sqlite_engine.Listener(self._sockets, committed)
        except OSError as error:
            _log.warning("ledger_wake_socket_failed", error=str(error), effect="streams lag by up to a second")
            return None
        self._own_socket = listener.path
        return listener

    def close(self) -> None:
        """See `Backend.close`."""
        self._checkpointer.close()
        self._writing.clear()
        self._reading.clear()


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder for one process that prepares ledgers in it. The lock is released if that process dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + CREATION_LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LedgerUnavailable("another process has been preparing the ledger for too long") from None
                time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)
