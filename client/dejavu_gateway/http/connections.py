"""Connections of browsers, and what one of them, one address and all together may use.

uvicorn has no limit per address, no time within which a request must have arrived, and waits for ever for a browser
that reads nothing. Its protocol classes are extended by those.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Protocol, Self

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from dejavu_gateway.http.answers import JSON, SECURITY_HEADERS
from dejavu_gateway.limits import GatewayLimits
from dejavu_gateway.logs import get_logger
from dejavu_gateway.messages.encode import dump
from dejavu_gateway.messages.errors import RequestRefused
from dejavu_gateway.metrics import GatewayMetrics
from dejavu_gateway.settings import TrustedProxies

CONNECTION_KEY: Final = "dejavu.connection"
"""Key of an ASGI scope under which the connection of a request is."""

WEBSOCKET_PATH: Final = "/api/ws"

SWEEP_SECONDS: Final = 1.0

SEND_BUFFER: Final = 128 * 1024
"""Bytes that the kernel keeps of what a browser has not received; by default that grows to megabytes."""

_RECEIVING: Final = {h11.SEND_BODY}

log = get_logger()


class BrowserConnection(Protocol):
    """A connection, as the gate and the envelope see it."""

    transport: asyncio.Transport
    closed_callbacks: list[Any]
    refused: int


class HangUp:
    """Cancels the task that answers a request once its browser has hung up, until the end of the block.

    uvicorn lets such a task go on, and the connection does not count any more: who asks and hangs up, again and again,
    would have the gateway do any amount of work.

    Args:
        connection: the connection of the request.

    Attributes:
        has_come: whether the browser has hung up.
    """

    def __init__(self, connection: BrowserConnection) -> None:
        self._callbacks = connection.closed_callbacks
        self._task = asyncio.current_task()
        self.has_come = False

    def __enter__(self) -> Self:
        self._callbacks.append(self._cancel)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.ignore()
        if not (self.has_come and isinstance(error, asyncio.CancelledError)):
            return False
        if self._task is not None:
            self._task.uncancel()
        return True

    def ignore(self) -> None:
        """Lets the task go on."""
        if self._cancel in self._callbacks:
            self._callbacks.remove(self._cancel)

    def _cancel(self) -> None:
        self.has_come = True
        if self._task is not None:
            self._task.cancel()


class ConnectionGate:
    """Counts connections, and drops those that take nothing.

    Args:
        limits: what browsers may use.
        trusted: reverse proxies, which have connections for many browsers.
        metrics: metrics of the gateway.
    """

    def __init__(self, limits: GatewayLimits, trusted: TrustedProxies, metrics: GatewayMetrics) -> None:
        self.limits = limits
        self._trusted = trusted
        self._metrics = metrics
        self._addresses = Counter[str]()
        self._connections = dict[asyncio.Transport, tuple[int, float]]()  # → unsent bytes, since when no fewer

    def admit(self, transport: asyncio.Transport, address: str) -> str:
        """Counts a connection. Returns the limit that it would exceed, and does not count it; "" if there is none."""
        limit = ""
        if len(self._connections) >= self.limits.connections:
            limit = "all"
        elif address not in self._trusted and self._addresses[address] >= self.limits.connections_per_address:
            limit = "address"
        if limit:
            self._metrics.refused.labels(limit).inc()
            return limit
        self._connections[transport] = (0, 0.0)
        self._addresses[address] += 1
        self._metrics.connections.set(len(self._connections))
        return ""

    def leave(self, transport: asyncio.Transport, address: str) -> None:
        """Takes note of the end of a connection; does nothing if it was not counted."""
        if self._connections.pop(transport, None) is None:
            return
        self._addresses[address] -= 1
        if self._addresses[address] <= 0:
            del self._addresses[address]
        self._metrics.connections.set(len(self._connections))

    def sweep(self, now: float) -> None:
        """Drops the connections that have taken nothing for too long."""
        for transport, (unsent, since) in list(self._connections.items()):
            size = transport.get_write_buffer_size()
            if not size or size < unsent or not unsent:
                self._connections[transport] = (size, now)
            elif now - since > self.limits.stalled_seconds:
                transport.abort()
            else:
                self._connections[transport] = (size, since)


class HttpConnection(H11Protocol):
    """A connection that speaks HTTP/1.1.

    Args:
        gate: counts the connections.
        options: arguments of uvicorn.

    Attributes:
        closed_callbacks: called once the connection is closed.
        refused: status with which the connection itself answered the newest request, and closed; 0 if it did not.
    """

    def __init__(self, gate: ConnectionGate, **options: Any) -> None:
        super().__init__(**options)
        self._gate = gate
        self._timer: asyncio.TimerHandle | None = None
        self.closed_callbacks: list[Any] = []
        self.refused = 0
        self.app = partial(_with_connection, self.app, self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts the connection, or refuses it."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        limit = self._gate.admit(transport, _address(self))
        if limit:
            what = "this gateway" if limit == "all" else "your address"
            message = f"{what} has too many connections; try again"
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "RESOURCE_EXHAUSTED", message, "TOO_MANY_CONNECTIONS")
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Takes note of the end."""
        self._disarm()
        super().connection_lost(exc)
        self._gate.leave(self.transport, _address(self))
        for callback in self.closed_callbacks:
            callback()

    def data_received(self, data: bytes) -> None:
        """Parses what was received; a request has to be complete within a time."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        state = self.conn.their_state
        if state in _RECEIVING or (state is h11.IDLE and self.conn.trailing_data[0]):
            self._arm()
        else:
            self._disarm()

    async def send_raw(self, chunk: bytes) -> None:
        """Sends a chunk of an answer that has begun: a third of what the ways of ASGI and h11 cost.

        Returns once the network has taken most of what was sent before; of a closed connection at once.
        """
        if self.flow.write_paused:
            await self.flow.drain()
        if not self.transport.is_closing():
            self.transport.write(chunk)

    def send_raw_now(self, chunk: bytes) -> bool:
        """Sends a chunk as above if that needs no waiting; returns whether it did."""
        if self.flow.write_paused or self.transport.is_closing():
            return False
        self.transport.write(chunk)
        return True

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", "the request is not valid HTTP/1.1", "INVALID_HTTP")

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leaves the connection to the WebSocket protocol."""
        self._disarm()
        super().handle_websocket_upgrade(event)

    def _should_upgrade(self) -> bool:
        # uvicorn's parser of other upgrades raises on some of them.
        return self.scope["path"] == WEBSOCKET_PATH and self.scope["method"] == "GET" and super()._should_upgrade()

    @property
    def _is_in_body(self) -> bool:
        """Whether the newest request has not been received to its end."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.more_body

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self._gate.limits.request_seconds, self._on_slow_request)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_slow_request(self) -> None:
        seconds = self._gate.limits.request_seconds
        self._refuse(
            HTTPStatus.REQUEST_TIMEOUT, "DEADLINE_EXCEEDED", f"no complete request within {seconds:g} s", "SLOW_REQUEST"
        )

    def _refuse(self, status: HTTPStatus, code: str, message: str, reason: str) -> None:
        """Answers without the application, unless an answer has begun, and closes the connection."""
        if self.transport.is_closing():
            return
        # A body that does not end, or is wrong, belongs to a request that may have been answered already.
        unanswered = not self.cycle.response_started if self._is_in_body else _is_idle(self)
        if unanswered:
            self.refused = status.value
            self.transport.write(_raw_answer(RequestRefused(status, code, message, reason)))
        self.transport.close()


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A connection that speaks the WebSocket protocol; it was counted as a HttpConnection."""

    def __init__(self, gate: ConnectionGate, **options: Any) -> None:
        super().__init__(**options)
        self._gate = gate
        self.closed_callbacks: list[Any] = []
        self.refused = 0
        self.app = partial(_with_connection, self.app, self)

    def data_received(self, data: bytes) -> None:
        """Parses what was received; drops the connection if that fails."""
        try:
            super().data_received(data)
        except Exception as error:  # uvicorn expects a close frame for every violation of the protocol
            log.debug("websocket_violation", error=repr(error))
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Takes note of the end."""
        super().connection_lost(exc)
        self._gate.leave(self.transport, _address(self))
        for callback in self.closed_callbacks:
            callback()


async def _with_connection(app: Any, connection: BrowserConnection, scope: Any, receive: Any, send: Any) -> None:
    scope[CONNECTION_KEY] = connection
    await app(scope, receive, send)


def _is_idle(connection: H11Protocol) -> bool:
    """Returns whether no request of a connection is being answered."""
    cycle: RequestResponseCycle | None = connection.cycle
    return cycle is None or cycle.response_complete


def _address(connection: H11Protocol | WebSocketsSansIOProtocol) -> str:
    return connection.client[0] if connection.client else ""


def _raw_answer(refused: RequestRefused) -> bytes:
    body = dump(refused.as_json())
    return b"\r\n".join([*_raw_head(refused.status, len(body)), b"", body])


def _raw_head(status: HTTPStatus, length: int) -> Iterator[bytes]:
    yield f"HTTP/1.1 {status.value} {status.phrase}".encode()
    fields = {"content-type": JSON, "content-length": str(length), "connection": "close", "cache-control": "no-store"}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        fields["retry-after"] = "5"
    for name, value in {**fields, **SECURITY_HEADERS}.items():
        yield f"{name}: {value}".encode()
