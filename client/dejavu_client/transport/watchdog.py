"""Ends a synchronous call whose next message does not come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """A thread that calls `cancel` once, when one wait lasted longer than `limit` seconds.

    gRPC's synchronous streams have no time-out between two messages. Only waits count: a reader that takes its time
    over a message is not a silent server. Since waits are looked at now and then, one may last up to twice the limit.
    """

    def __init__(self, limit: float, cancel: Callable[[], object]) -> None:
        self._limit = limit
        self._cancel = cancel
        self._since: float | None = None
        self._done = threading.Event()
        self.fired = False
        threading.Thread(target=self._watch, name="dejavu-stream-watchdog", daemon=True).start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Marks a wait."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def stop(self) -> None:
        """Ends the watch."""
        self._done.set()

    def _watch(self) -> None:
        pause = self._limit
        while not self._done.wait(pause):
            since = self._since
            waited = 0.0 if since is None else time.monotonic() - since
            if waited >= self._limit:
                self.fired = True
                self._cancel()
                return
            pause = self._limit - waited
