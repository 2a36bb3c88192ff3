"""Interface of a ledger's database, independent of the kind of database.

SQLite (`sqlite/`) and PostgreSQL (`postgres/`) implement it. The tests in
tests/ledger/database/test_backends.py specify any other implementation.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias, TypeVar

from dejavu_ledger.database.sql import Connection

__all__ = ["Backend", "CommitListener", "Connection", "Durability", "Query", "StopSignal"]

_T = TypeVar("_T")

Query: TypeAlias = Callable[[Connection], _T]
"""A function of `ledger.queries` with all arguments bound except the connection, which only the queries use."""


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
