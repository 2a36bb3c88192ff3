"""A ledger in memory: a minimal second `Backend`, for tests of the properties that every implementation must have."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection, StopSignal
from dejavu_ledger.database.schema import create_tables
from dejavu_ledger.database.sqlite_engine import stopping
from dejavu_ledger.errors import LedgerCorrupt, LedgerUnavailable


class MemoryBackend:
    """One connection to a database in memory; readers and writers take turns."""

    def __init__(self) -> None:
        self._turn = threading.RLock()
        self._listeners: set[MemoryListener] = set()
        self._made = self._closed = False
        database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._connection = Connection("sqlite", database)

    def open(self, *, make: bool) -> None:
        """Create the tables once."""
        if self._made:
            return
        if not make:
            raise LedgerUnavailable("there is no ledger in memory")
        with self.write() as connection:
            create_tables(connection)
        self._made = True

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run one transaction at a time."""
        with self._in_turn(), self._connection.driver:
            self._connection.driver.execute("BEGIN")
            yield self._connection

    @contextmanager
    def read(self, stop: StopSignal | None = None) -> Iterator[Connection]:
        """Read between transactions, each statement on its own."""
        with self._in_turn(), nullcontext() if stop is None else stopping(self._connection, stop):
            yield self._connection

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        with self._turn:
            if self._closed:
                raise LedgerUnavailable("the ledger in memory is closed")
            try:
                yield
            except sqlite3.Error as error:
                raise LedgerCorrupt("the ledger in memory failed") from error

    def check(self) -> None:
        """Do nothing: a database in memory cannot be removed or replaced."""

    def check_integrity(self, connection: Connection, *, thorough: bool) -> None:
        """Do nothing: its structure cannot be damaged from outside."""

    def probe(self) -> None:
        """Run a write that changes nothing."""
        with self.write() as connection:
            store.probe_write(connection)

    def size_bytes(self) -> int:
        """Return the size of the database's pages."""
        with self.read() as connection:
            text = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            return int(sql.value(connection, text))

    def free_bytes(self) -> int | None:
        """Return None: memory has no disk."""
        return None

    def notify(self) -> None:
        """Wake the listeners, in their loops."""
        for listener in list(self._listeners):
            listener.wake()

    def listen(self, committed: Callable[[], None]) -> MemoryListener:
        """Call the function at every notification."""
        return MemoryListener(self._listeners, committed)

    def close(self) -> None:
        """Drop everything."""
        with self._turn:
            self._closed = True
            self._connection.close()


class MemoryListener:
    """Wakes one ledger."""

    def __init__(self, listeners: set[MemoryListener], committed: Callable[[], None]) -> None:
        self._listeners = listeners
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        listeners.add(self)

    def wake(self) -> None:
        """Call the function in its loop."""
        self._loop.call_soon_threadsafe(self._committed)

    def close(self) -> None:
        """End the subscription."""
        self._listeners.discard(self)
