"""Closes idle connections before a worker runs out of file descriptors.

Each connection takes a descriptor, also if it is idle. When all are taken, gRPC accepts no further connection until
one is closed, so idle connections would lock all new clients out. gRPC has no limit that tells idle connections from
others, and no way to close one of them. The kernel knows how long a connection has been silent (TCP_INFO), and shutting
its socket down ends it in an orderly way: a client that comes back dials again. Decision: docs/decisions/0036-hangs.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple
from urllib.parse import quote

import structlog

from dejavu_common import descriptors
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask

CHECK_SECONDS = 0.1
"""Interval between two checks."""

CLOSING_SHARE = 0.75
"""Share of all descriptors in use from which idle connections are closed."""

CLOSED_SHARE = 0.6
"""Share of all descriptors at which closing stops."""

ACCEPTED_SHARE = 0.85
"""Share of all descriptors that connections may take; gRPC closes further ones at once. The rest is for files."""

IDLE_SECONDS = 0.25
"""Silence after which a connection without calls counts as idle; only while few descriptors are left."""

LOG_SECONDS = 60.0
"""Interval at which closed connections are logged at most."""

# struct tcp_info in linux/tcp.h: the state, and milliseconds since data was last sent, and received.
_STATE_AND_DATA_TIMES = struct.Struct("=B43xI4xI")
_ESTABLISHED = 1

_log = structlog.get_logger(__name__)


class SilentConnection(NamedTuple):
    """A connection that has been silent.

    Attributes:
        milliseconds: for how long.
        descriptor: its file descriptor.
        peer: address of the client, as gRPC writes it.
    """

    milliseconds: int
    descriptor: int
    peer: str


class ConnectionCloser(PeriodicTask):
    """Closes idle connections of one worker while it has few descriptors left.

    Args:
        port: port that the worker serves on.
        busy_peers: returns the peers that have calls in progress, as gRPC writes them. Their connections are kept.
        metrics: metrics of the worker.
    """

    def __init__(self, port: int, busy_peers: Callable[[], Collection[str]], metrics: Metrics) -> None:
        super().__init__("connection-closer", CHECK_SECONDS, self.check)
        self._port = port
        self._busy_peers = busy_peers
        self._metrics = metrics
        self._closed = 0
        self._logged = -LOG_SECONDS

    async def check(self) -> None:
        """Closes the connections that have been idle for longest, if few descriptors are left."""
        limit, used = descriptors.limit(), descriptors.count()
        if used < CLOSING_SHARE * limit:
            return
        # On a thread: with many connections this takes longer than a call should wait.
        closed = await asyncio.to_thread(
            close_idle, self._port, set(self._busy_peers()), used - int(CLOSED_SHARE * limit), IDLE_SECONDS
        )
        self._closed += closed
        self._metrics.connections_closed.inc(closed)
        now = asyncio.get_running_loop().time()
        if self._closed and now - self._logged >= LOG_SECONDS:
            _log.warning(
                "idle_connections_closed",
                closed=self._closed,
                descriptors=used,
                limit=limit,
                advice="raise the hard limit of open files (LimitNOFILE of systemd), or find who opens them",
            )
            self._logged, self._closed = now, 0


def close_idle(port: int, busy_peers: Collection[str], most: int, idle_seconds: float) -> int:
    """Closes the server's connections of this process that have been idle for longest; returns how many.

    Args:
        port: local port of the connections.
        busy_peers: peers whose connections are kept.
        most: how many to close at most.
        idle_seconds: how long a connection must have been silent.
    """
    found = [_silence(int(name), port) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - thousands
    idle = [each for each in found if each and each.milliseconds >= 1000 * idle_seconds and each.peer not in busy_peers]
    closed = 0
    for connection in sorted(idle, reverse=True)[:most]:
        with _connection(connection.descriptor) as current, contextlib.suppress(OSError):
            # The descriptor may be that of another connection by now.
            if current is not None and _peer(current, port) == connection.peer:
                current.shutdown(socket.SHUT_RDWR)
                closed += 1
    return closed


def _silence(descriptor: int, port: int) -> SilentConnection | None:
    """Returns how long a connection to a port has been silent; None if the descriptor is not one."""
    with _connection(descriptor) as connection:
        if connection is None or not (peer := _peer(connection, port)):
            return None
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _STATE_AND_DATA_TIMES.size)
        state, *data_times = _STATE_AND_DATA_TIMES.unpack(info)
        if state != _ESTABLISHED:  # ends already, maybe since it was closed here
            return None
        return SilentConnection(min(data_times), descriptor, peer)


@contextlib.contextmanager
def _connection(descriptor: int) -> Iterator[socket.socket | None]:
    """Yields the socket of a descriptor, as a duplicate: gRPC's threads may close the descriptor at any time."""
    try:
        duplicate = os.dup(descriptor)
    except OSError:
        yield None
        return
    try:
        connection = socket.socket(fileno=duplicate)
    except OSError:  # not a socket
        os.close(duplicate)
        yield None
        return
    with connection:
        yield connection


def _peer(connection: socket.socket, port: int) -> str:
    """Returns the address of the client of a connection to a port, as gRPC writes it; empty if it is none."""
    if connection.family not in {socket.AF_INET, socket.AF_INET6} or connection.type != socket.SOCK_STREAM:
        return ""
    try:
        if connection.getsockname()[1] != port:
            return ""
        host, number = connection.getpeername()[:2]
    except OSError:  # listens, or is closed already
        return ""
    # An IPv4 client of a socket that serves both protocols has an IPv6 address here, and an IPv4 one in gRPC.
    host = host.removeprefix("::ffff:")
    return f"ipv6:%5B{quote(host, safe=':')}%5D:{number}" if ":" in host else f"ipv4:{host}:{number}"
