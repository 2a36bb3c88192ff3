"""Closes connections that send much while none of their calls arrives.

gRPC's core (1.85.1) counts the fields of a header block anew with each CONTINUATION frame. A block that never ends thus
grows without limit, in up to 87 bytes of memory per byte sent, and freeing it stops all calls for seconds. No option of
the core bounds it, and the core tells nothing about it. Cutting connections ends slow and accidental floods; a fast one
of fields of one byte still takes gigabytes, so that strangers may reach a server only through a proxy.

The kernel counts what a connection receives, and this is explained by

- a call that arrives, accepted or not: it ends the block, and all bytes before it are explained;
- a request that was received; also one that is being received, up to MAX_REQUEST_BYTES, if it may be large;
- bytes that were sent: a peer grants windows and answers pings with no more than it received.

A connection with more than BLOCK_BYTES that nothing explains is cut after TURNS of the event loop, and so are those
with most if all together have more than ALL_BLOCKS_BYTES. Beyond MOST_BYTES they are cut at once. If requests of such a
connection are still being received, the first of these turns ends their calls, and the connection has another chance:
a proxy sends the calls of many callers over one connection, and no caller may end those of the others.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Final

import structlog

from dejavu_server.worker.limits import MAX_REQUEST_BYTES
from dejavu_server.worker.sockets import Traffic, accepted_from, connections, cut, without_zone

BLOCK_BYTES: Final = 256 * 1024
"""Bytes that a connection may have received without an explanation. The core refuses header blocks above 16 KiB, but
requests of refused calls may still be on their way, up to 64 KiB of each."""

CALL_BYTES: Final = 80 * 1024
"""Bytes that a call explains: its headers, and as much of its request as is sent before the call is accepted."""

ALL_BLOCKS_BYTES: Final = 2 * 1024 * 1024
"""Such bytes of all connections of a worker; they take up to 170 MiB of memory."""

MOST_BYTES: Final = 4 * 1024 * 1024
"""Such bytes of all connections while the event loop stands still.

A worker then stays below the memory at which the manifests let it be killed. But a crowd of the largest batches, far
beyond the limit of batches, may lose its connections: 64 KiB of each are sent before it is accepted.
"""

LOOK_SECONDS: Final = 0.1
"""Interval between two looks at all connections."""

CPU_SHARE: Final = 0.04
"""Share of a core that looking may take while nothing is suspected: the interval grows beyond some 700 connections."""

CLOSE_LOOK_SECONDS: Final = 0.02
"""This interval while a connection is suspected: in 0.1 s a core reads a megabyte of a block."""

TURNS: Final = 3
"""Turns of the event loop, CLOSE_LOOK_SECONDS each, in which it accepts the calls that have arrived."""

LATE_SECONDS: Final = 1.0
"""Time for which a request may still be received whose call has ended without it."""

MOST_ENDED: Final = 2
"""Connections whose calls may have been ended within LATE_SECONDS: a block there can take 60 MiB of memory."""

LOG_SECONDS: Final = 60.0
"""Interval at which cut connections are logged."""

CUT_SECONDS: Final = 10.0
"""Time for which calls of the peer of a cut connection are dropped. It may use its port again later."""

_SLACK_BYTES: Final = 4096
"""An acknowledgement may be counted before or after the bytes that it explains."""

_log = structlog.get_logger(__name__)


class _Connection:
    """An accepted connection.

    Attributes:
        peer: its peer; empty if it was not accepted at the port of the server.
        traffic: its traffic at the last look.
        unexplained: bytes received that nothing explains.
        suspected_in: turn of the event loop in which these were too many; None: they are not.
    """

    __slots__ = ("peer", "suspected_in", "traffic", "unexplained")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.traffic = Traffic(b"", 0, 0, 0)
        self.unexplained = 0
        self.suspected_in: int | None = None

    def look(self, traffic: Traffic, explained: int) -> None:
        """Take its present traffic; what has arrived since the last look explains these bytes."""
        before, self.traffic = self.traffic, traffic
        more = traffic.received - before.received - (traffic.acknowledged - before.acknowledged)
        self.unexplained = max(-_SLACK_BYTES, self.unexplained + more - explained)


class HeaderFloods:
    """Cuts the connections of header floods, from a thread of its own: in an attack the event loop may stand still.

    Args:
        on_cut: called in that thread for each connection that is cut.

    Attributes:
        large: peers of the calls whose requests are being received and may be large, by call.
        end_requests: ends the other calls of a peer whose requests are being received; returns whether there were any.
    """

    def __init__(self, on_cut: Callable[[], object] = lambda: None) -> None:
        self._on_cut = on_cut
        self.large: dict[object, str] = {}
        self.end_requests: Callable[[str], bool] = lambda _peer: False
        self._looks = False
        self._arrived = deque[tuple[str, int]]()  # peer, bytes explained
        self._connections: dict[bytes, _Connection] = {}
        self._ended = 0  # connections whose calls were ended lately
        self._cut = dict[str, float]()  # peers, with the time
        self._turn = 0
        self._turn_begun = False
        self._ending = threading.Event()
        self._number_cut = 0  # since the last line of the log
        self._logged_at = -LOG_SECONDS

    def start(self, port: int) -> None:
        """Start to look at the connections that are accepted at a port; call it within the event loop."""
        self._looks = True
        looking = partial(self._run, asyncio.get_running_loop(), port)
        threading.Thread(target=looking, name="header-floods", daemon=True).start()

    def end(self) -> None:
        """End. Safe to call more than once."""
        self._ending.set()

    def arrived(self, peer: str, explains: int = CALL_BYTES) -> None:
        """Take note that a call of a peer has arrived, or a request, which explains so many bytes."""
        if self._looks:
            self._arrived.append((peer, explains))

    def received(self, call: object) -> None:
        """Take note that the request of a call was received if it is among the large ones."""
        if (peer := self.large.pop(call, None)) is not None:
            self.arrived(peer, MAX_REQUEST_BYTES)

    def received_late(self, call: object) -> None:
        """Take note that a call has ended; its peer sends the request until it knows."""
        if call in self.large:
            asyncio.get_running_loop().call_later(LATE_SECONDS, self.received, call)

    def has_cut(self, peer: str) -> bool:
        """Return whether the connection of a peer was cut.

        The core then hands over the call whose header block never ended. To read its metadata would take a second for
        2 MB of them.
        """
        return peer in self._cut

    def _run(self, loop: asyncio.AbstractEventLoop, port: int) -> None:
        pause = LOOK_SECONDS
        while not self._ending.wait(pause):
            try:
                began = time.thread_time()
                suspects = self._look(loop, port)
                most = (time.thread_time() - began) / CPU_SHARE
                pause = CLOSE_LOOK_SECONDS if suspects else max(LOOK_SECONDS, most)
                if suspects and not self._turn_begun:
                    self._turn_begun = True
                    loop.call_soon_threadsafe(loop.call_later, CLOSE_LOOK_SECONDS, self._end_turn)
            except Exception:
                if not self._ending.is_set():  # the event loop may have ended just before
                    _log.exception("header_floods_failed")

    def _end_turn(self) -> None:
        self._turn += 1
        self._turn_begun = False

    def _end_requests(self, peer: str) -> None:
        if self._ended < MOST_ENDED and self.end_requests(peer):
            self._ended += 1
            self.large[ended := object()] = peer
            asyncio.get_running_loop().call_later(LATE_SECONDS, self._forget, ended)

    def _forget(self, ended: object) -> None:
        self._ended -= 1
        self.received(ended)

    def _look(self, loop: asyncio.AbstractEventLoop, port: int) -> bool:
        """Look at all connections, and cut those that have too much; return whether there are suspects."""
        turn = self._turn  # before the calls that had arrived by then
        large = self._count_large()
        explained = Counter[str]()
        for _ in range(len(self._arrived)):
            peer, size = self._arrived.popleft()
            explained[without_zone(peer)] += size
        looked_at = {traffic.cookie: traffic for traffic in connections()}
        self._connections = {
            cookie: self._connections.get(cookie) or _Connection(accepted_from(traffic, port))
            for cookie, traffic in looked_at.items()
        }
        peers = Counter(connection.peer for connection in self._connections.values())
        for cookie, connection in self._connections.items():
            # A peer may have connections to several addresses of this machine: it is not known which one has called.
            known = peers[connection.peer] == 1
            connection.look(looked_at[cookie], explained[connection.peer] if known else 0)
        large |= self._count_large()  # a request that was received meanwhile may not be among those that explain yet
        blocks = list[tuple[int, _Connection]]()
        for connection in self._connections.values():
            size = connection.unexplained - MAX_REQUEST_BYTES * large[connection.peer]
            if connection.peer and size > 0:
                blocks.append((size, connection))
            else:
                connection.suspected_in = None
        total = sum(size for size, _ in blocks)
        suspects = False
        for size, connection in sorted(blocks, key=itemgetter(0), reverse=True):
            most = BLOCK_BYTES if total <= ALL_BLOCKS_BYTES else 0
            turns = _turns_suspect(connection, turn, suspect=size > most)
            if total > MOST_BYTES or turns >= TURNS:
                total -= size
                self._end(connection)
            elif turns and most:  # no attack is under way
                loop.call_soon_threadsafe(self._end_requests, connection.peer)
            suspects |= connection.suspected_in is not None
        return suspects

    def _count_large(self) -> Counter[str]:
        return Counter(list(self.large.values()))  # list() is a single step for the event loop's thread

    def _end(self, connection: _Connection) -> None:
        now = time.monotonic()
        self._cut = {peer: at for peer, at in self._cut.items() if now - at < CUT_SECONDS} | {connection.peer: now}
        cut(connection.traffic)
        self._number_cut += 1
        self._on_cut()
        if now - self._logged_at >= LOG_SECONDS:
            _log.warning(
                "header_flood",
                peer=connection.peer,
                received_bytes=connection.traffic.received,
                connections=self._number_cut,
                effect="the connection was closed: it received much, and no call arrived",
            )
            self._logged_at, self._number_cut = now, 0


def _turns_suspect(connection: _Connection, turn: int, *, suspect: bool) -> int:
    """Return for how many turns a connection has been suspect; a busy loop accepts calls late."""
    if not suspect:
        connection.suspected_in = None
    elif connection.suspected_in is None:
        connection.suspected_in = turn
    return 0 if connection.suspected_in is None else turn - connection.suspected_in
