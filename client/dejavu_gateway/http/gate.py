"""Admission of connections: at the limit of all connections, a new one replaces one that waits."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Final, Protocol

from dejavu_gateway.limits import GatewayLimits, share_of
from dejavu_gateway.metrics import GatewayMetrics
from dejavu_gateway.settings import TrustedProxies

NEW_SECONDS: Final = 1.0
"""Usual time until the first request of a connection."""


class BrowserConnection(Protocol):
    """A connection, as the gate and the envelope see it.

    Attributes:
        transport: its transport.
        closed_callbacks: called once the connection is closed.
        refused: status with which the connection itself answered the newest request, and closed; 0 if it did not.
        is_stream: whether it has a live stream; live streams have slots of their own.
    """

    transport: asyncio.Transport
    closed_callbacks: list[Any]
    refused: int
    is_stream: bool

    @property
    def is_waiting(self) -> bool:
        """Whether the connection waits for a request, or for the rest of one."""

    def end_now(self, last: bytes) -> None:
        """Send some bytes if the network takes them at once, and close the connection."""


@dataclass(slots=True)
class _Admitted:
    """A connection with its address, its start, and the time since which its unsent bytes have not decreased."""

    connection: BrowserConnection
    share: str
    admitted: float
    unsent: int = 0
    since: float = 0.0


class ConnectionGate:
    """Counts connections, makes room for new ones, and drops those that do not read.

    Args:
        limits: limits of browsers.
        trusted: reverse proxies, which have connections for many browsers.
        metrics: metrics of the gateway.
    """

    def __init__(self, limits: GatewayLimits, trusted: TrustedProxies, metrics: GatewayMetrics) -> None:
        self.limits = limits
        self._trusted = trusted
        self._metrics = metrics
        self._addresses = Counter[str]()
        self._admitted: dict[asyncio.Transport, _Admitted] = {}  # oldest first

    def admit(self, connection: BrowserConnection, address: str) -> str:
        """Count a connection and return ""; if it would exceed a limit, return the limit without counting it."""
        limit, share = "", share_of(address)
        if address not in self._trusted and self._addresses[share] >= self.limits.connections_per_address:
            limit = "address"
        elif len(self._admitted) >= self.limits.connections and not self._make_room(share):
            limit = "all"
        if limit:
            self._metrics.refused.labels(limit).inc()
            return limit
        self._admitted[connection.transport] = _Admitted(connection, share, time.monotonic())
        self._addresses[share] += 1
        self._metrics.connections.set(len(self._admitted))
        return ""

    def upgrade(self, connection: BrowserConnection) -> None:
        """Take note that an admitted connection speaks another protocol from now on."""
        if (admitted := self._admitted.get(connection.transport)) is not None:
            admitted.connection = connection

    def leave(self, transport: asyncio.Transport) -> None:
        """Take note of the end of a connection; do nothing if it was not counted."""
        if (admitted := self._admitted.pop(transport, None)) is None:
            return
        self._addresses[admitted.share] -= 1
        if self._addresses[admitted.share] <= 0:
            del self._addresses[admitted.share]
        self._metrics.connections.set(len(self._admitted))

    def sweep(self, now: float) -> None:
        """Drop connections that have read nothing for too long, or have the most unread bytes if there are too many."""
        self._drop_unread()
        for transport, admitted in list(self._admitted.items()):
            size = transport.get_write_buffer_size()
            if not size or size < admitted.unsent or not admitted.unsent:
                admitted.unsent, admitted.since = size, now
            elif now - admitted.since > self.limits.stalled_seconds:
                transport.abort()
            else:
                admitted.unsent = size

    def _drop_unread(self) -> None:
        """Drop connections, first of the addresses with most unread bytes, until the bytes are within their limits."""
        unread: defaultdict[str, list[tuple[int, asyncio.Transport]]] = defaultdict(list)
        for transport, admitted in self._admitted.items():
            unread[admitted.share].append((transport.get_write_buffer_size(), transport))
        by_share = Counter({share: sum(size for size, _ in each) for share, each in unread.items()})
        total = by_share.total()
        for share, held in by_share.most_common():
            remaining = held
            most = sys.maxsize if share in self._trusted else self.limits.unread_bytes_per_address
            for unsent, transport in sorted(unread[share], key=lambda each: each[0], reverse=True):
                if remaining <= most and total <= self.limits.unread_bytes:
                    break
                transport.abort()
                remaining -= unsent
                total -= unsent
                self._metrics.cut_off.labels("unread").inc()

    def _make_room(self, share: str) -> bool:
        """Drop a connection without a live stream (streams have slots of their own); return whether there was one.

        It belongs to an address with the most connections, and is its oldest idle one if there is one: a browser whose
        idle connection was closed opens another one, and loses nothing. New and busy connections of the address `share`
        itself stay.
        """
        others = [each for each in self._admitted.values() if not each.connection.is_stream]
        held = Counter(each.share for each in others)
        before = time.monotonic() - NEW_SECONDS

        def waits(each: _Admitted) -> bool:
            return each.admitted < before and each.connection.is_waiting

        most = max(held.values(), default=0)
        largest = [each for each in others if held[each.share] == most]
        last = next(filter(waits, largest), None) or next((each for each in largest if each.share != share), None)
        if last is None:
            return False
        self.leave(last.connection.transport)
        last.connection.transport.abort()
        self._metrics.cut_off.labels("crowded").inc()
        return True
