"""Open connections to one database that are kept for later use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from dejavu_ledger.database.sql import Connection

_ConnectionT = TypeVar("_ConnectionT", bound=Connection)


class Pool(Generic[_ConnectionT]):
    """Opens connections as they are needed, and keeps some that are idle; thread-safe.

    Args:
        connect: opens a connection.
        most: number of idle connections that are kept.
        usable: returns whether an idle connection can still be used.
    """

    def __init__(
        self, connect: Callable[[], _ConnectionT], most: int, usable: Callable[[_ConnectionT], bool] = lambda _: True
    ) -> None:
        self._connect = connect
        self._most = most
        self._usable = usable
        self._idle: list[_ConnectionT] = []

    @contextmanager
    def connection(self) -> Iterator[_ConnectionT]:
        """Yield a connection for the block, which leaves no transaction open, or closes the connection."""
        idle = self._idle
        connection = self._take(idle)
        try:
            yield connection
        finally:
            if not connection.closed:
                if idle is self._idle and len(idle) < self._most:
                    idle.append(connection)
                else:
                    connection.close()

    def _take(self, idle: list[_ConnectionT]) -> _ConnectionT:
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # taken by another thread
                break
            if self._usable(connection):
                return connection
            connection.close()
        return self._connect()

    def clear(self) -> None:
        """Close the idle connections, and those in use once they are given back. Idempotent."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
