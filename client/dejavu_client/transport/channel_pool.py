"""Several connections to one address, so that one process reaches all workers of a server.

The workers share one port and the kernel decides, by a hash, which of them gets a connection: a connection reaches one
worker for as long as it lives. Each answer says which worker it came from and how many there are. As long as the pool
reaches fewer than it could, a connection to a worker that another one reaches as well is given up for a fresh one,
which the kernel may give to somebody else. Calls go to the worker, and among its connections to the one, that has
waited longest for its turn.

Nothing here does any I/O or waits: the synchronous and the asynchronous client drive it in the same way. docs/decisions
tells why (0011).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

from dejavu_client.errors import ClientClosedError
from dejavu_client.transport.worker_identity import WorkerIdentity

LineT = TypeVar("LineT")

FIRST_PAUSE = 0.01
PAUSE_GROWTH = 1.25
LONGEST_PAUSE = 30.0
"""Seconds between two redials in a row: 10 ms at first, a quarter more each time, in the end half a minute.

The first twenty, which reach the last of four workers with a probability of 99.7 %, take about 3.5 seconds."""


class PooledChannel(Generic[LineT]):
    """A line in the pool.

    Attributes:
        line: what `dial` made.
        worker: who answered on it last; empty before.
        turn: when it was last taken, in turns of the pool.
        calls: how many calls it carries.
    """

    __slots__ = ("calls", "line", "turn", "worker")

    def __init__(self, connection: LineT) -> None:
        self.line = connection
        self.worker = ""
        self.turn = 0
        self.calls = 0


class ChannelPool(Generic[LineT]):
    """Up to `size` lines, dialled one at a turn. Safe among threads.

    A line is whatever `dial` makes of a new connection: the synchronous and the asynchronous client have their own.
    Each call takes a place, tells who answered (`answered`), gives the place back, and hangs up what that returns.

    Args:
        dial: makes a line; must not wait for its connection.
        size: how many lines there may be.
        now: a clock, in seconds.
    """

    def __init__(self, dial: Callable[[], LineT], size: int, *, now: Callable[[], float] = time.monotonic) -> None:
        if size < 1:
            raise ValueError(f"a pool of {size} channels cannot carry a call; expected at least 1")
        self._dial = dial
        self._size = size
        self._now = now
        self._lock = threading.Lock()
        self._channels = list[PooledChannel[LineT]]()
        self._given_up = list[PooledChannel[LineT]]()
        self._turns = 0
        self._workers = 0
        self._worker_turns = dict[str, int]()
        self._redialling = False
        self._pause = FIRST_PAUSE
        self._not_before = 0.0
        self._closed = False

    def take(self) -> PooledChannel[LineT]:
        """The place whose turn it is; to be given back.

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
            place = min(self._channels, key=self._waited_since)
            self._turns += 1
            place.turn = self._turns
            if place.worker:
                self._worker_turns[place.worker] = self._turns
            place.calls += 1
            return place

    def answered(self, place: PooledChannel[LineT], origin: WorkerIdentity) -> None:
        """Notes who answered a call. An answer that does not tell changes nothing."""
        if origin.worker and (origin.worker != place.worker or origin.workers != self._workers):
            with self._lock:
                self._learn(place, origin)

    def give_back(self, place: PooledChannel[LineT]) -> list[LineT]:
        """Ends a call's hold on a place; returns the lines to hang up: given up, and without a call by now."""
        with self._lock:
            place.calls -= 1
            if not self._given_up:
                return []
            idle = [each.line for each in self._given_up if not each.calls]
            self._given_up = [each for each in self._given_up if each.calls]
            return idle

    def close(self) -> list[LineT]:
        """Gives out no more lines; returns all that are not hung up, for the caller to do so."""
        with self._lock:
            self._closed = True
            lines = [place.line for place in (*self._channels, *self._given_up)]
            self._channels, self._given_up = [], []
            return lines

    def _waited_since(self, place: PooledChannel[LineT]) -> tuple[int, int]:
        """The last turn of a place's worker, and its own; a place whose worker is unknown stands for itself."""
        return self._worker_turns.get(place.worker, place.turn), place.turn

    def _learn(self, place: PooledChannel[LineT], origin: WorkerIdentity) -> None:
        known = self._reached()
        place.worker = origin.worker
        self._workers = origin.workers
        reached = self._reached()
        self._worker_turns[place.worker] = max(place.turn, self._worker_turns.get(place.worker, 0))
        self._worker_turns = {worker: self._worker_turns[worker] for worker in reached}
        if reached - known:  # a step forward, or a worker's successor
            self._pause = FIRST_PAUSE
        # While a line's worker is unknown, it may be the one that is missing: redials go one by one.
        settled = len(self._channels) == self._size and all(each.worker for each in self._channels)
        self._redialling = settled and len(reached) < min(self._workers, self._size)

    def _reached(self) -> set[str]:
        return {place.worker for place in self._channels if place.worker}

    def _redial(self) -> None:
        """Gives up the least busy line among those to the worker with the most, for a fresh one."""
        lines = Counter(place.worker for place in self._channels)
        spare = min(self._channels, key=lambda place: (-lines[place.worker], place.calls))
        self._given_up.append(spare)
        self._channels[self._channels.index(spare)] = PooledChannel(self._dial())
        self._redialling = False
        self._not_before = self._now() + self._pause
        self._pause = min(LONGEST_PAUSE, self._pause * PAUSE_GROWTH)
