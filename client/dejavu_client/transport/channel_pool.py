"""Pool of connections to one or several servers, so that one process reaches all their workers.

Each connection is to one server; connections are spread evenly over the servers. The workers of a server share one
port. The kernel assigns each new connection to a worker by a hash, and the connection stays with that worker. Each
answer names its worker and the number of workers. While the pool reaches fewer workers than it could, it replaces a
connection to a worker that another connection reaches too: the kernel may assign the new one to another worker. Each
call goes to the least recently used worker, over its least recently used connection.

A connection may go silent: its worker hangs or is stopped, and TCP still accepts what is sent. A waiting call asks
`check` what to do: wait, have a probe sent over the same connection or, if the probe is not answered either, send the
request over another connection. New calls avoid a silent connection. A replacement is dialed; it takes calls once it
has answered a probe.

Calls avoid a server that is out (takes no calls at present, see `servers.Server`) while another one is available.
Probes find out when it is back.

This module does no I/O and never waits. See docs/decisions/0011 and 0047.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

from dejavu_client.errors import ClientClosedError
from dejavu_client.logs import get_logger
from dejavu_client.transport.servers import Server, ServerAddress, WorkerIdentity
from dejavu_common.clock import Backoff

ConnectionT = TypeVar("ConnectionT")

log = get_logger()

QUIET_SECONDS = 0.5
"""Time that a call waits on a connection from which nothing is heard before a probe is sent."""

PROBE_SECONDS = 0.5
"""Time that a probe (a health check) may take before its connection counts as silent."""

FIRST_PAUSE = 0.01
PAUSE_GROWTH = 1.25
LONGEST_PAUSE = 30.0
"""Pauses between consecutive redials, in seconds: 10 ms at first, growing by a quarter each time, up to 30 s.

The first twenty redials take about 3.5 seconds and reach the last of four workers with a probability of 99.7 %."""

FIRST_REPLACEMENT_PAUSE = 1.0
LONGEST_REPLACEMENT_PAUSE = 30.0
"""Pauses between connections dialed in place of silent ones, in seconds; each is twice as long as the one before."""


class SilenceCheck(NamedTuple):
    """Next step of a call that waits for its answer.

    Attributes:
        wait: seconds to wait before the next check.
        probe: whether to send a probe over the connection first.
        silent: whether the connection is silent, so that the request should also be sent over another one.
    """

    wait: float
    probe: bool = False
    silent: bool = False


@dataclass(slots=True, eq=False)
class PooledChannel(Generic[ConnectionT]):
    """A connection in the pool.

    Attributes:
        connection: the connection that `dial` returned.
        server: the server at its other end.
        worker: name of the worker that last answered on it; empty before the first answer.
        turn: the pool's turn counter when the connection was last taken.
        calls: number of calls in progress on it.
        heard: when the server last sent something over it, by the pool's clock; −∞ before the first answer.
        probed: when the last probe was sent over it.
        silent: whether its last probe was not answered, or it was dialed in place of such a connection and has not
            answered yet.
        replace_at: when to dial a replacement if it is still silent.
    """

    connection: ConnectionT
    server: Server
    worker: str = ""
    turn: int = 0
    calls: int = 0
    heard: float = -math.inf
    probed: float = -math.inf
    silent: bool = False
    replace_at: float = 0.0

    @property
    def worker_key(self) -> tuple[ServerAddress, str]:
        """Key of its worker, unique among the workers of all servers."""
        return self.server.address, self.worker


class ChannelPool(Generic[ConnectionT]):
    """Pool of up to `size` connections, at least one to each server; dials one per call until it is full.

    A connection is whatever `dial` returns. Each call takes a pooled channel, reports the worker that answered
    (`answered`) or that the connection was lost (`refused`), gives the channel back, and closes the connections that
    `give_back` returns.

    A call that waits asks `check`. The caller also sends a probe over each channel of `to_probe`, and reports the
    result of every probe by `answered` or `probe_failed`.

    Args:
        dial: creates a connection to a server; must not wait until it is established.
        size: maximum number of connections, unless there are more servers.
        servers: addresses of the servers.
        now: clock, in seconds.

    Raises:
        ValueError: if `size` is less than 1.
    """

    def __init__(
        self,
        dial: Callable[[ServerAddress], ConnectionT],
        size: int,
        servers: Sequence[ServerAddress] = (ServerAddress(""),),
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if size < 1:
            raise ValueError(f"a pool of {size} channels is too small; expected at least 1")
        self._dial = dial
        self._size = size
        self._now = now
        self._channels = list[PooledChannel[ConnectionT]]()
        self._replaced = list[PooledChannel[ConnectionT]]()
        self._servers = [Server(each) for each in servers]
        self._turns = 0
        self._worker_turns = dict[tuple[ServerAddress, str], int]()
        self._redialling = False
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, PAUSE_GROWTH)
        self._not_before = 0.0
        self._silent = 0
        self._to_probe = list[PooledChannel[ConnectionT]]()
        self._replacements = Backoff(FIRST_REPLACEMENT_PAUSE, LONGEST_REPLACEMENT_PAUSE)
        self._closed = False

    def take(self, tried: Collection[Server] = ()) -> PooledChannel[ConnectionT]:
        """Return the channel for the next call. The caller must give it back.

        Args:
            tried: servers that the call was sent to already; others are preferred.

        Raises:
            ClientClosedError: after `close`.
        """
        if self._closed:
            raise ClientClosedError("the client is closed")
        if len(self._channels) < self._limit:
            self._channels.append(self._dialed(self._fewest_connections()))
        elif self._redialling and self._now() >= self._not_before:
            self._redial()
        if self._silent:
            self._replace_silent()
        self._check_servers()
        pooled = min(self._usable(tried), key=self._last_turns)
        self._turns += 1
        pooled.turn = self._turns
        if pooled.worker:
            self._worker_turns[pooled.worker_key] = self._turns
        pooled.calls += 1
        return pooled

    def renew(self) -> None:
        """Replace all connections, since those to come have other credentials; calls in progress keep theirs."""
        self._replaced += self._channels
        self._channels, self._to_probe, self._silent, self._redialling = [], [], 0, False

    def answered(self, pooled: PooledChannel[ConnectionT], identity: WorkerIdentity) -> None:
        """Record that the server sent something over a channel, and the worker that sent it, if named."""
        pooled.heard = self._now()
        server = pooled.server
        if pooled.silent:
            self._end_silence(pooled)
        if server.out and (pooled.turn > server.out_turn or pooled.probed >= server.out_since):
            server.put_back(self._now())
        if identity.worker and (identity.worker != pooled.worker or identity.workers != server.workers):
            self._update_worker(pooled, identity)

    def refused(self, pooled: PooledChannel[ConnectionT]) -> None:
        """Record that a call failed without a response: its connection was lost or never established."""
        if len(self._servers) > 1:
            pooled.server.take_out(self._now(), self._turns)

    def has_other(self, tried: Collection[Server]) -> bool:
        """Return whether a server outside `tried` is available, as far as is known."""
        return any(not each.out and each not in tried for each in self._servers)

    def set_servers(self, addresses: Sequence[ServerAddress]) -> None:
        """Set the servers, drop connections to removed ones, and redistribute the rest."""
        known = {each.address: each for each in self._servers}
        self._servers = [known.get(each) or Server(each) for each in addresses]
        share, over = divmod(self._limit, len(self._servers))
        kept = Counter[ServerAddress]()
        for pooled in tuple(self._channels):
            kept[pooled.server.address] += 1
            one_more = kept[pooled.server.address] == share + 1 and over > 0
            over -= one_more
            if pooled.server not in self._servers or (kept[pooled.server.address] > share and not one_more):
                self._channels.remove(pooled)
                self._replaced.append(pooled)
                self._silent -= pooled.silent
        self._redialling = False

    def check(self, pooled: PooledChannel[ConnectionT], since: float) -> SilenceCheck:
        """Return the next step for a call that has waited on a channel since `since`, on the pool's clock."""
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
        """Return whether to probe a channel over which a call sent at `since` was not answered before its deadline."""
        unheard = pooled.heard < since and pooled.probed < since and not pooled.silent
        if unheard:
            pooled.probed = self._now()
        return unheard

    def to_probe(self) -> Sequence[PooledChannel[ConnectionT]]:
        """Return the channels over which to send a probe now, each once.

        These are the replacements of silent channels, and one channel to each server that is out and due for a probe.
        """
        if not self._to_probe:
            return ()
        channels, self._to_probe = self._to_probe, []
        return channels

    def probe_failed(self, pooled: PooledChannel[ConnectionT]) -> None:
        """Record that a probe was not answered in time."""
        if pooled.heard < pooled.probed:
            self._mark_silent(pooled)

    def connection_lost(self, pooled: PooledChannel[ConnectionT]) -> None:
        """Record that a probe found the connection lost, or refused: gRPC reports that to calls, and dials again.

        A silent channel stays silent, for example a replacement that has not answered yet.
        """
        if not pooled.silent:
            pooled.heard = self._now()

    def give_back(self, pooled: PooledChannel[ConnectionT]) -> list[ConnectionT]:
        """End a call's use of a channel; return the connections to close: replaced ones without calls in progress."""
        pooled.calls -= 1
        if not self._replaced:
            return []
        idle = [each.connection for each in self._replaced if not each.calls]
        self._replaced = [each for each in self._replaced if each.calls]
        return idle

    def close(self) -> list[ConnectionT]:
        """Close the pool to new calls; return all open connections, which the caller must close."""
        self._closed = True
        connections = [pooled.connection for pooled in (*self._channels, *self._replaced)]
        self._channels, self._replaced, self._to_probe = [], [], []
        return connections

    def _usable(self, tried: Collection[Server]) -> list[PooledChannel[ConnectionT]]:
        """Return the channels to choose from for a call.

        Silent channels, and channels to servers that are out, are included only if there are no others. If some
        channels are known to answer, a channel without an answer to its first call or last probe gets one call at a
        time: if its worker hangs, only that call waits.
        """
        live = [each for each in self._channels if not each.silent] if self._silent else self._channels
        if len(self._servers) > 1:
            live = [each for each in live if not each.server.out] or live
            live = [each for each in live if each.server not in tried] or live
        if any(each.heard > each.probed for each in live):
            return [each for each in live if each.heard > each.probed or not each.calls]
        return live or self._channels

    def _mark_silent(self, pooled: PooledChannel[ConnectionT]) -> None:
        """Mark a channel as silent, and all channels to its worker that were not heard from since the probe."""
        if pooled.silent or pooled not in self._channels:
            return
        log.warning("silent_connection", worker=pooled.worker)
        for each in self._channels:
            of_worker = each.worker and each.worker == pooled.worker and each.heard < pooled.probed
            if each is pooled or (of_worker and not each.silent):
                each.silent = True
                each.replace_at = self._now()
                self._silent += 1
        if len(self._servers) > 1:
            pooled.server.take_out(self._now(), self._turns, check=True)

    def _end_silence(self, pooled: PooledChannel[ConnectionT]) -> None:
        if pooled.silent:
            pooled.silent = False
            if pooled in self._channels:
                self._silent -= 1
                self._replacements.reset()

    def _replace_silent(self) -> None:
        """Replace the silent channels that are due; if all are silent, one replacement takes calls unprobed."""
        now = self._now()
        for index, silent in enumerate(self._channels):
            if not silent.silent or now < silent.replace_at:
                continue
            self._replaced.append(silent)
            fresh = self._channels[index] = self._dialed(silent.server)
            fresh.probed = now
            fresh.silent = self._silent < len(self._channels)
            fresh.replace_at = now + self._replacements.next()
            if fresh.silent:
                self._to_probe.append(fresh)
            else:
                self._silent -= 1

    def _last_turns(self, pooled: PooledChannel[ConnectionT]) -> tuple[int, int]:
        """Return the last turns of a channel's worker (the channel's own if unknown) and of the channel."""
        return self._worker_turns.get(pooled.worker_key, pooled.turn), pooled.turn

    def _update_worker(self, pooled: PooledChannel[ConnectionT], identity: WorkerIdentity) -> None:
        known = self._reached()
        pooled.worker = identity.worker
        pooled.server.workers = identity.workers
        reached = self._reached()
        key = pooled.worker_key
        self._worker_turns[key] = max(pooled.turn, self._worker_turns.get(key, 0))
        self._worker_turns = {worker: self._worker_turns[worker] for worker in reached if worker in self._worker_turns}
        if reached - known:  # reached another worker, or the replacement of one
            self._backoff.reset()
        # A connection to a still unknown worker may reach a missing worker, so redial one connection at a time.
        in_use = [each for each in self._channels if not each.server.out]
        settled = len(self._channels) == self._limit and all(each.worker for each in in_use)
        self._redialling = settled and any(map(self._misses_workers, self._servers))

    def _misses_workers(self, server: Server) -> bool:
        """Return whether the connections to a server that takes calls could reach more of its workers."""
        workers = [each.worker for each in self._channels if each.server is server]
        return not server.out and len({*workers} - {""}) < min(server.workers, len(workers))

    def _reached(self) -> set[tuple[ServerAddress, str]]:
        return {pooled.worker_key for pooled in self._channels if pooled.worker}

    @property
    def _limit(self) -> int:
        return max(self._size, len(self._servers))

    def _fewest_connections(self) -> Server:
        """Return the server with the fewest connections, the first of several."""
        connections = Counter(pooled.server.address for pooled in self._channels)
        return min(self._servers, key=lambda server: connections[server.address])

    def _dialed(self, server: Server) -> PooledChannel[ConnectionT]:
        return PooledChannel(self._dial(server.address), server)

    def _check_servers(self) -> None:
        """Schedule a probe of each server that is out and due, over one connection."""
        now = self._now()
        for server in self._servers:
            if server.out and server.is_check_due(now):
                silent_last = sorted(
                    (each for each in self._channels if each.server is server), key=attrgetter("silent")
                )
                for pooled in silent_last[:1]:
                    pooled.probed = now
                    self._to_probe.append(pooled)

    def _redial(self) -> None:
        """Replace the least busy connection among those to the worker with the most connections."""
        connections = Counter(each.worker_key for each in self._channels)
        candidates = [each for each in self._channels if self._misses_workers(each.server)]
        self._redialling = False
        if not candidates:  # their server went out meanwhile
            return
        redundant = min(candidates, key=lambda pooled: (-connections[pooled.worker_key], pooled.calls))
        self._silent -= redundant.silent
        self._replaced.append(redundant)
        self._channels[self._channels.index(redundant)] = self._dialed(redundant.server)
        self._not_before = self._now() + self._backoff.next()
