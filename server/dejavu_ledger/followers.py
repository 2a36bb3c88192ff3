"""Followers of a ledger in this process: they are notified of every commit, of this process and of others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from dejavu_ledger.database.backend import Backend, CommitListener
from dejavu_ledger.recording import Appended
from dejavu_ledger.tail import EntrySource, Tail, TailReader


class Followers:
    """Tails and events that commits wake. Use it in one event loop.

    Args:
        backend: the database of the ledger.

    Attributes:
        tails: open tails.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._woken: set[asyncio.Event] = set()
        self.tails: set[Tail] = set()
        self._listener: CommitListener | None = None

    @contextmanager
    def tail(self, source: EntrySource, after: int, reader: TailReader | None) -> Iterator[Tail]:
        """Yield a tail of the ledger that starts after a sequence; commits wake it until the end of the block."""
        tail = Tail(source, after, reader)
        self.tails.add(tail)
        self._start_listening()
        try:
            yield tail
        finally:
            self.tails.discard(tail)

    def listen(self, committed: asyncio.Event) -> None:
        """Set an event after every commit that may have added more than forecasts, until this is closed."""
        self._woken.add(committed)
        self._start_listening()

    def appended(self, appended: Appended | None) -> None:
        """Notify the tails of a transaction of this process, given its appended entries; None if they are not known."""
        for tail in self.tails:
            if appended is None:
                tail.wake()
            else:
                tail.hand(appended)
        if appended is None or not appended.only_forecasts:
            self._set_events()

    def close(self) -> None:
        """End the subscription to the commits of other processes."""
        if self._listener is not None:
            self._listener.close()

    def _start_listening(self) -> None:
        if self._listener is None:
            self._listener = self._backend.listen(self._on_foreign_commit)

    def _on_foreign_commit(self) -> None:
        for tail in self.tails:
            tail.wake()
        self._set_events()

    def _set_events(self) -> None:
        for event in self._woken:
            event.set()
