"""Interface of a ledger's database, independent of the kind of database, and the connections to it.

SQLite (`sqlite.py`) and PostgreSQL (`postgres.py`) implement it. The tests in tests/ledger/database/test_backends.py
specify any other implementation.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar

_T = TypeVar("_T")

Dialect: TypeAlias = Literal["sqlite", "postgresql"]


class Connection:
    """A connection to the database of a ledger, used by one thread at a time; it starts no transactions by itself.

    Attributes:
        dialect: kind of the database.
        driver: the connection of sqlite3 or psycopg.
    """

    def __init__(self, dialect: Dialect, driver: Any) -> None:
        self.dialect: Dialect = dialect
        self.driver = driver
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it was closed, by this program or by the database."""
        return self._closed

    def close(self) -> None:
        """Close it, which rolls a transaction back. Idempotent."""
        self._closed = True
        self.driver.close()


Query: TypeAlias = Callable[[Connection], _T]
"""A function that runs statements, with all arguments bound except the connection."""


class Durability(enum.Enum):
    """Durability of a committed forecast."""

    PROCESS = "process"
    """It survives the death of any process. A power loss can lose the last commits but never corrupts the ledger."""

    POWER = "power"
    """It also survives a power loss: every commit waits for the disk."""


class StopSignal(Protocol):
    """Signal that stops a read; a `threading.Event` is one."""

    def is_set(self) -> bool:
        """Return whether to stop. Called on the read's thread every few milliseconds; the read pauses meanwhile."""


class CommitListener(Protocol):
    """Subscription to notifications of commits."""

    def close(self) -> None:
        """End the subscription."""


class Backend(Protocol):
    """A database that holds one ledger.

    All methods block, and can be called from any thread, except `listen`. Wherever the database fails, also in the
    block of a context manager, they raise a LedgerError: LedgerUnavailable if a later attempt may succeed,
    LedgerCorrupt if the database is damaged, LedgerSchemaError if its tables are not those of this release.
    """

    def open(self, *, make: bool) -> None:
        """Open the database; create its tables if it has none. A failure changes nothing.

        Args:
            make: whether to create the ledger if none exists.
        """

    def write(self) -> AbstractContextManager[Connection]:
        """Start a transaction that no other writer overlaps, in any process; commit it at the end of the block.

        Reads in the block see everything committed before, and nothing changes meanwhile. An exception in the block
        rolls the transaction back. When the block has ended without one, the changes survive this process.
        """

    def read(self, stop: StopSignal | None = None) -> AbstractContextManager[Connection]:
        """Give read access that does not wait for writers; each statement sees the newest commit.

        `sql.snapshot` makes several statements on the connection see one state. Once `stop` is set, the running
        statement ends within milliseconds, and ReadStopped is raised instead of a LedgerError.
        """

    def check(self) -> None:
        """Check that the database is still the one that was opened: not removed, not replaced."""

    def check_integrity(self, connection: Connection, *, thorough: bool) -> None:
        """Check the structure of the whole database on a read connection; `thorough` includes its indexes."""

    def probe(self) -> None:
        """Test whether the ledger can be written: commit a transaction without changes, and check the free space."""

    def free_bytes(self) -> int | None:
        """Return the space left to the database; None if it is not known."""

    def size_bytes(self) -> int:
        """Return the size of the database with its unmerged log; 0 if it is not known."""

    def notify(self) -> None:
        """Wake the listeners of this ledger in all processes. Never raises; call it from one thread at a time.

        The newest listener of this object may be left out: its owner knows its own writes.
        """

    def listen(self, committed: Callable[[], None]) -> CommitListener | None:
        """Call a function whenever another transaction was committed. It runs in the event loop of this call.

        Returns:
            The subscription; None if notifications do not work here. They may be lost: poll as well.
        """

    def close(self) -> None:
        """Close all connections. Idempotent."""


MAX_CONNECTIONS: Final = 8
"""Idle connections that are kept: one per reader thread of a ledger, and some for other uses."""

_ConnectionT = TypeVar("_ConnectionT", bound=Connection)


class Pool(Generic[_ConnectionT]):
    """Opens connections as they are needed, and keeps some that are idle; thread-safe.

    Args:
        connect: opens a connection.
    """

    def __init__(self, connect: Callable[[], _ConnectionT]) -> None:
        self._connect = connect
        self._idle: list[_ConnectionT] = []

    @contextmanager
    def connection(self) -> Iterator[_ConnectionT]:
        """Yield a connection for the block, which leaves no transaction open, or closes the connection.

        If it is closed then, the idle ones are closed too: what was lost for one is lost for all.
        """
        idle = self._idle
        connection = self._take(idle)
        try:
            yield connection
        finally:
            if idle is self._idle and connection.closed:
                self.clear()
            if idle is self._idle and len(idle) < MAX_CONNECTIONS:
                idle.append(connection)
            else:
                connection.close()

    def _take(self, idle: list[_ConnectionT]) -> _ConnectionT:
        with suppress(IndexError):  # there is none, or another thread took it
            while (connection := idle.pop()).closed:
                connection.close()
            return connection
        return self._connect()

    def clear(self) -> None:
        """Close the idle connections, and those in use once they are given back. Idempotent."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
