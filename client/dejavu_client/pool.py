"""Several connections to one address, used in turn.

A server's workers share one port and the kernel decides which of them gets a connection: one connection reaches one
worker for as long as it lives. A handful of them, used round robin, spread the calls of one process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from dejavu_client.errors import ClientClosedError

LineT = TypeVar("LineT")


class Pool(Generic[LineT]):
    """Up to `size` lines, each dialled when its first turn comes. Safe among threads.

    A line is whatever `dial` makes of a new connection: the synchronous and the asynchronous client have their own.
    """

    def __init__(self, dial: Callable[[], LineT], size: int) -> None:
        if size < 1:
            raise ValueError(f"a pool of {size} channels cannot carry a call; expected at least 1")
        self._dial = dial
        self._size = size
        self._lock = threading.Lock()
        self._lines = list[LineT]()
        self._turn = 0
        self._closed = False

    def take(self) -> LineT:
        """The line whose turn it is.

        Raises:
            ClientClosedError: after `close`.
        """
        with self._lock:
            if self._closed:
                raise ClientClosedError("the client is closed")
            turn = self._turn
            self._turn = (turn + 1) % self._size
            if turn == len(self._lines):
                self._lines.append(self._dial())
            return self._lines[turn]

    def close(self) -> list[LineT]:
        """Gives out no more lines; returns those dialled so far, for the caller to hang up."""
        with self._lock:
            self._closed = True
            lines, self._lines = self._lines, []
            return lines
