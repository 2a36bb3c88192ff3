"""Pool of connections to one address, so that one process reaches all workers of a server.

The workers share one port. The kernel assigns each new connection to a worker by a hash, and the connection stays with
that worker. Each answer names its worker and the number of workers. While the pool reaches fewer workers than it could,
it replaces a connection to a worker that another connection reaches too: the kernel may assign the new one to another
worker. Each call goes to the least recently used worker, over its least recently used connection.

A connection may go silent: its worker hangs or is stopped, and TCP still accepts what is sent. A call that waits asks
`check` what to do: wait, have a probe sent over the same connection, or send the request over another one, because the
probe was not answered either. New calls avoid a silent connection. A new one is dialed in its place, which takes calls
once it has answered a probe.

This module does no I/O and never waits, so the synchronous and the asynchronous client use it in the same way. See
docs/decisions/0011 and 0034.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar, cast

import grpc

from dejavu_client.errors import ClientClosedError, metadata_value
from dejavu_client.logs import get_logger
from dejavu_common.backoff import Backoff

ConnectionT = TypeVar("ConnectionT")

log = get_logger()

WORKER_KEY = "dejavu-worker"
"""Metadata key for the name of the worker that answered. The replacement of a worker has another name."""

WORKERS_KEY = "dejavu-workers"
"""Metadata key for the number of workers of the server."""

FIRST_PAUSE = 0.01
PAUSE_GROWTH = 1.25
LONGEST_PAUSE = 30.0
"""Pauses between consecutive redials, in seconds: 10 ms at first, growing by a quarter each time, up to 30 s.

The first twenty redials take about 3.5 seconds and reach the last of four workers with a probability of 99.7 %."""


QUIET_SECONDS = 0.5
"""How long a call waits on a connection from which nothing is heard before a probe is sent."""

PROBE_SECONDS = 0.5
"""How long a probe, a health check, may take before its connection counts as silent."""

FIRST_REPLACEMENT_PAUSE = 1.0
LONGEST_REPLACEMENT_PAUSE = 30.0
"""Pauses between connections dialed in place of silent ones, in seconds; each is twice as long as the one before."""


UNHEARD = frozenset({grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE})
"""Codes of calls that may have ended without anything from the server. Any other one was heard from it."""


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


def failure_identity(error: grpc.RpcError) -> WorkerIdentity:
    """Reads the worker from the metadata of a failed call."""
    call = cast("grpc.Call", error)  # asynchronous errors have these methods too
    return worker_identity(call.initial_metadata(), call.trailing_metadata())


class SilenceCheck(NamedTuple):
    """What a call that waits for its answer should do.

    Attributes:
        wait: seconds to wait before the next check.
        probe: whether to send a probe over the connection first.
        silent: whether the connection is silent: send the request over another one too.
    """

    wait: float
    probe: bool = False
    silent: bool = False


@dataclass(slots=True, eq=False)
class PooledChannel(Generic[ConnectionT]):
    """A connection in the pool.

    Attributes:
        connection: the connection that `dial` returned.
        worker: name of the worker that last answered on it; empty before the first answer.
        turn: the pool's turn counter when the connection was last taken.
        calls: number of calls in progress on it.
        heard: when something last came from the server over it; −∞ before the first answer. The pool's clock.
        probed: when the last probe was sent over it.
        silent: whether its last probe was not answered, or it was dialed in place of such a connection and has not
            answered yet.
        replace_at: when to dial again in its place if it is still silent.
    """

    connection: ConnectionT
    worker: str = ""
    turn: int = 0
    calls: int = 0
    heard: float = -math.inf
    probed: float = -math.inf
    silent: bool = False
    replace_at: float = 0.0


class ChannelPool(Generic[ConnectionT]):
    """Pool of up to `size` connections; dials one per call until it is full. Thread-safe.

    A connection is whatever `dial` returns: the synchronous and the asynchronous client have their own types. Each call
    takes a pooled channel, reports the worker that answered (`answered`), gives the channel back, and closes the
    connections that `give_back` returns.

    A call that waits asks `check`. The caller also sends a probe over each channel of `to_probe`, and reports the
    result of every probe by `answered` or `probe_failed`.

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
        self._silent = 0
        self._to_probe = list[PooledChannel[ConnectionT]]()
        self._replacements = Backoff(FIRST_REPLACEMENT_PAUSE, LONGEST_REPLACEMENT_PAUSE)
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
            if self._silent:
                self._replace_silent()
            pooled = min(self._usable(), key=self._last_turns)
            self._turns += 1
            pooled.turn = self._turns
            if pooled.worker:
                self._worker_turns[pooled.worker] = self._turns
            pooled.calls += 1
            return pooled

    def answered(self, pooled: PooledChannel[ConnectionT], identity: WorkerIdentity) -> None:
        """Records that something came from the server over a channel, and from which worker, if it said so."""
        pooled.heard = self._now()
        if pooled.silent:
            with self._lock:
                self._end_silence(pooled)
        if identity.worker and (identity.worker != pooled.worker or identity.workers != self._workers):
            with self._lock:
                self._update_worker(pooled, identity)

    def check(self, pooled: PooledChannel[ConnectionT], since: float) -> SilenceCheck:
        """Returns what a call should do that has waited on a channel since that time, by the pool's clock."""
        with self._lock:
            now, heard = self._now(), max(since, pooled.heard)
            quiet = heard + QUIET_SECONDS - now
            if quiet > 0 and not pooled.silent:
                return SilenceCheck(quiet)
            if pooled.probed < heard:
                pooled.probed = now
                return SilenceCheck(PROBE_SECONDS, probe=True)
            left = pooled.probed + PROBE_SECONDS - now
            if left > 0 and not pooled.silent:
                return SilenceCheck(left)
            self._mark_silent(pooled)
            return SilenceCheck(QUIET_SECONDS, silent=True)

    def deadline_passed(self, pooled: PooledChannel[ConnectionT], since: float) -> bool:
        """Returns whether to probe a channel over which a call sent at `since` was not answered before its deadline."""
        with self._lock:
            unheard = pooled.heard < since and pooled.probed < since and not pooled.silent
            if unheard:
                pooled.probed = self._now()
            return unheard

    def to_probe(self) -> Sequence[PooledChannel[ConnectionT]]:
        """Returns the channels over which to send a probe now: those dialed in place of silent ones, each once."""
        if not self._to_probe:
            return ()
        with self._lock:
            channels, self._to_probe = self._to_probe, []
            return channels

    def probe_failed(self, pooled: PooledChannel[ConnectionT]) -> None:
        """Records that a probe was not answered in time."""
        with self._lock:
            if pooled.heard < pooled.probed:
                self._mark_silent(pooled)

    def connection_lost(self, pooled: PooledChannel[ConnectionT]) -> None:
        """Records that a probe found the connection lost, or refused: gRPC reports that to calls, and dials again.

        A channel that waits for its first answer in place of a silent one goes on waiting.
        """
        with self._lock:
            if not pooled.silent:
                pooled.heard = self._now()

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
            self._channels, self._replaced, self._to_probe = [], [], []
            return connections

    def _usable(self) -> list[PooledChannel[ConnectionT]]:
        """Returns the channels to choose from for a call.

        Silent ones only if all are. While some are known to answer, one that has not answered its first call or its
        last probe yet gets a single call at a time: if its worker hangs, no more than that call waits for it.
        """
        live = [each for each in self._channels if not each.silent] if self._silent else self._channels
        if any(each.heard > each.probed for each in live):
            return [each for each in live if each.heard > each.probed or not each.calls]
        return live or self._channels

    def _mark_silent(self, pooled: PooledChannel[ConnectionT]) -> None:
        """Marks a channel, and the others to its worker from which nothing was heard since the probe either."""
        if pooled.silent or pooled not in self._channels:
            return
        log.warning("silent_connection", worker=pooled.worker)
        for each in self._channels:
            of_worker = each.worker and each.worker == pooled.worker and each.heard < pooled.probed
            if each is pooled or (of_worker and not each.silent):
                each.silent = True
                each.replace_at = self._now()
                self._silent += 1

    def _end_silence(self, pooled: PooledChannel[ConnectionT]) -> None:
        if pooled.silent:
            pooled.silent = False
            if pooled in self._channels:
                self._silent -= 1
                self._replacements.reset()

    def _replace_silent(self) -> None:
        """Dials in place of the silent channels whose time has come; one at a time takes calls if none else can."""
        now = self._now()
        for index, silent in enumerate(self._channels):
            if not silent.silent or now < silent.replace_at:
                continue
            self._replaced.append(silent)
            fresh = self._channels[index] = PooledChannel(self._dial(), probed=now)
            fresh.silent = self._silent < len(self._channels)
            fresh.replace_at = now + self._replacements.next()
            if fresh.silent:
                self._to_probe.append(fresh)
            else:
                self._silent -= 1

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
        self._silent -= redundant.silent
        self._replaced.append(redundant)
        self._channels[self._channels.index(redundant)] = PooledChannel(self._dial())
        self._redialling = False
        self._not_before = self._now() + self._backoff.next()
