"""Cancels a synchronous stream whose next message does not arrive in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """Thread that calls `cancel` once, when a single wait exceeds `limit` seconds.

    gRPC's synchronous streams have no timeout between messages. Only time inside `waiting` counts: a reader that
    processes a message slowly is not a silent server. Waits are checked periodically, so one may last up to twice the
    limit.
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
        """Marks a wait for the next message."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def stop(self) -> None:
        """Stops the watchdog."""
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
