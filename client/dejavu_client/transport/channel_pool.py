"""Pool of connections to one address, so that one process reaches all workers of a server.

The workers share one port. The kernel assigns each new connection to a worker by a hash, and the connection stays with
that worker. Each answer names its worker and the number of workers. While the pool reaches fewer workers than it could,
it replaces a connection to a worker that another connection reaches too: the kernel may assign the new one to another
worker. Each call goes to the least recently used worker, over its least recently used connection.

This module does no I/O and never waits, so the synchronous and the asynchronous client use it in the same way. See
docs/decisions/0011.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from dejavu_client.errors import ClientClosedError, metadata_value
from dejavu_common.backoff import Backoff

ConnectionT = TypeVar("ConnectionT")

WORKER_KEY = "dejavu-worker"
"""Metadata key for the name of the worker that answered. The replacement of a worker has another name."""

WORKERS_KEY = "dejavu-workers"
"""Metadata key for the number of workers of the server."""

FIRST_PAUSE = 0.01
PAUSE_GROWTH = 1.25
LONGEST_PAUSE = 30.0
"""Pauses between consecutive redials, in seconds: 10 ms at first, growing by a quarter each time, up to 30 s.

The first twenty redials take about 3.5 seconds and reach the last of four workers with a probability of 99.7 %."""


class WorkerIdentity(NamedTuple):
    """Worker that answered a call.

    Attributes:
        worker: name of the worker; empty if the server gave none.
        workers: number of workers of the server; 0 if the server gave none.
    """

    worker: str = ""
    workers: int = 0


def worker_identity(*metadata: Iterable[tuple[str, str | bytes]] | None) -> WorkerIdentity:
    """Reads the worker from a call's metadata (initial, then trailing)."""
    for part in metadata:
        worker = metadata_value(part, WORKER_KEY)
        if worker:
            workers = metadata_value(part, WORKERS_KEY)
            return WorkerIdentity(worker, int(workers) if workers.isascii() and workers.isdigit() else 0)
    return WorkerIdentity()


@dataclass(slots=True, eq=False)
class PooledChannel(Generic[ConnectionT]):
    """A connection in the pool.

    Attributes:
        connection: the connection that `dial` returned.
        worker: name of the worker that last answered on it; empty before the first answer.
        turn: the pool's turn counter when the connection was last taken.
        calls: number of calls in progress on it.
    """

    connection: ConnectionT
    worker: str = ""
    turn: int = 0
    calls: int = 0


class ChannelPool(Generic[ConnectionT]):
    """Pool of up to `size` connections; dials one per call until it is full. Thread-safe.

    A connection is whatever `dial` returns: the synchronous and the asynchronous client have their own types. Each call
    takes a pooled channel, reports the worker that answered (`answered`), gives the channel back, and closes the
    connections that `give_back` returns.

    Args:
        dial: creates a connection; must not wait until it is established.
        size: maximum number of connections.
        now: clock, in seconds.

    Raises:
        ValueError: if `size` is less than 1.
    """

    def __init__(
        self, dial: Callable[[], ConnectionT], size: int, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        if size < 1:
            raise ValueError(f"a pool of {size} channels is too small; expected at least 1")
        self._dial = dial
        self._size = size
        self._now = now
        self._lock = threading.Lock()
        self._channels = list[PooledChannel[ConnectionT]]()
        self._replaced = list[PooledChannel[ConnectionT]]()
        self._turns = 0
        self._workers = 0
        self._worker_turns = dict[str, int]()
        self._redialling = False
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, PAUSE_GROWTH)
        self._not_before = 0.0
        self._closed = False

    def take(self) -> PooledChannel[ConnectionT]:
        """Returns the channel for the next call. The caller must give it back.

        Raises:
            ClientClosedError: after `close`.
        """
        with self._lock:
            if self._closed:
                raise ClientClosedError("the client is closed")
            if len(self._channels) < self._size:
                self._channels.append(PooledChannel(self._dial()))
            elif self._redialling and self._now() >= self._not_before:
                self._redial()
            pooled = min(self._channels, key=self._last_turns)
            self._turns += 1
            pooled.turn = self._turns
            if pooled.worker:
                self._worker_turns[pooled.worker] = self._turns
            pooled.calls += 1
            return pooled

    def answered(self, pooled: PooledChannel[ConnectionT], identity: WorkerIdentity) -> None:
        """Records the worker that answered a call. An answer without a worker name changes nothing."""
        if identity.worker and (identity.worker != pooled.worker or identity.workers != self._workers):
            with self._lock:
                self._update_worker(pooled, identity)

    def give_back(self, pooled: PooledChannel[ConnectionT]) -> list[ConnectionT]:
        """Ends a call's use of a channel. Returns the connections to close: replaced ones without calls in progress."""
        with self._lock:
            pooled.calls -= 1
            if not self._replaced:
                return []
            idle = [each.connection for each in self._replaced if not each.calls]
            self._replaced = [each for each in self._replaced if each.calls]
            return idle

    def close(self) -> list[ConnectionT]:
        """Closes the pool to new calls. Returns all open connections, which the caller must close."""
        with self._lock:
            self._closed = True
            connections = [pooled.connection for pooled in (*self._channels, *self._replaced)]
            self._channels, self._replaced = [], []
            return connections

    def _last_turns(self, pooled: PooledChannel[ConnectionT]) -> tuple[int, int]:
        """Returns the last turns of a channel's worker (the channel's own if unknown) and of the channel."""
        return self._worker_turns.get(pooled.worker, pooled.turn), pooled.turn

    def _update_worker(self, pooled: PooledChannel[ConnectionT], identity: WorkerIdentity) -> None:
        known = self._reached()
        pooled.worker = identity.worker
        self._workers = identity.workers
        reached = self._reached()
        self._worker_turns[pooled.worker] = max(pooled.turn, self._worker_turns.get(pooled.worker, 0))
        self._worker_turns = {worker: self._worker_turns[worker] for worker in reached}
        if reached - known:  # reached another worker, or the replacement of one
            self._backoff.reset()
        # A connection whose worker is unknown may reach the missing one: redial one at a time.
        settled = len(self._channels) == self._size and all(each.worker for each in self._channels)
        self._redialling = settled and len(reached) < min(self._workers, self._size)

    def _reached(self) -> set[str]:
        return {pooled.worker for pooled in self._channels if pooled.worker}

    def _redial(self) -> None:
        """Replaces the least busy connection among those to the worker with the most connections."""
        connections = Counter(pooled.worker for pooled in self._channels)
        redundant = min(self._channels, key=lambda pooled: (-connections[pooled.worker], pooled.calls))
        self._replaced.append(redundant)
        self._channels[self._channels.index(redundant)] = PooledChannel(self._dial())
        self._redialling = False
        self._not_before = self._now() + self._backoff.next()
