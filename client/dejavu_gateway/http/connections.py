"""Connections of browsers, with the limits of one connection, of one address and of all together.

uvicorn has no limit per address, no time limit for the arrival of a request, and waits forever for a browser
that reads nothing, so its protocol classes are extended.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from dejavu_gateway.http.answers import JSON, SECURITY_HEADERS
from dejavu_gateway.http.gate import BrowserConnection, ConnectionGate
from dejavu_gateway.logs import get_logger
from dejavu_gateway.messages.encode import dump
from dejavu_gateway.messages.errors import RequestRefused

CONNECTION_KEY: Final = "dejavu.connection"
"""Key of the connection of a request in an ASGI scope."""

WEBSOCKET_PATH: Final = "/api/ws"

SWEEP_SECONDS: Final = 1.0

SEND_BUFFER: Final = 128 * 1024
"""Bytes that the kernel buffers for a browser; by default the buffer grows to megabytes."""

READ_BYTES: Final = 16 * 1024
"""Maximum number of bytes read at once, and of a body that the application has not requested yet. With the loop's
default of 256 KiB, that much could be in memory for all connections at once, before any of them can be refused."""

END_SECONDS: Final = 1.0
"""Time for which a connection that is ended at once waits for the network to take its last bytes."""

FRAMES_BYTES: Final = 1024
FRAMES_BYTES_A_SECOND: Final = 128
"""Bytes that a program may send over a WebSocket at once, and per second in the long run: pings and pongs. A frame can
have only 6 bytes, but costs as much as hundreds of bytes, and its answer stays in memory until the program reads it."""

_AMBIGUOUS: Final = re.compile(rb"(?<!\r)\n|\n[ \t]")
"""A line feed without its carriage return, or a line that continues a header (RFC 9112, 2.2 and 5.2)."""

_RECEIVING: Final = {h11.SEND_BODY}

log = get_logger()


class HangUp:
    """Cancels the task that answers a request once its browser has hung up, until the end of the block.

    uvicorn lets such a task go on, and its connection does not count any more: a browser that requests and hangs up,
    again and again, could cause any amount of work.

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
        """Let the task continue."""
        if self._cancel in self._callbacks:
            self._callbacks.remove(self._cancel)

    def _cancel(self) -> None:
        self.has_come = True
        if self._task is not None:
            self._task.cancel()


class StrictConnection(h11.Connection):
    """The state of an HTTP/1.1 connection; it refuses input that a proxy and a server may read differently.

    If the two disagree about the end of a request, a body for the proxy is another request for the server, which the
    proxy never checked (request smuggling). h11 accepts lines that end without CR, headers that continue on the next
    line, and a length together with chunks. Chunks are refused altogether: each costs as much as hundreds of bytes, and
    callers of this interface know the length of their bodies.
    """

    def next_event(self) -> Any:
        """Return the next event; raise h11.RemoteProtocolError for an ambiguous request."""
        if self.their_state is h11.IDLE:
            head = self.trailing_data[0].partition(b"\r\n\r\n")[0]
            if _AMBIGUOUS.search(head):
                raise h11.RemoteProtocolError("a line without CR, or one that continues a header")
        event = super().next_event()
        if isinstance(event, h11.Request) and any(name == b"transfer-encoding" for name, _ in event.headers):
            raise h11.RemoteProtocolError("a transfer coding")
        return event


class SmallReads(asyncio.BufferedProtocol):
    """Passes received bytes to another protocol, a little at a time.

    Args:
        protocol: the other protocol; its connection was made already.
    """

    _buffer = bytearray(READ_BYTES)  # shared by all connections: its content is passed on before the next one reads

    def __init__(self, protocol: HttpConnection) -> None:
        self._protocol = protocol
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return the buffer to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on the data that were read."""
        self._protocol.data_received(bytes(memoryview(self._buffer)[:nbytes]))


class HttpConnection(H11Protocol):
    """A connection that speaks HTTP/1.1.

    Args:
        gate: counts the connections.
        options: arguments of uvicorn.

    See `BrowserConnection`.
    """

    def __init__(self, gate: ConnectionGate, **options: Any) -> None:
        super().__init__(**options)
        self.conn = StrictConnection(h11.SERVER, gate.limits.header_bytes)
        self._gate = gate
        self._timer: asyncio.TimerHandle | None = None
        self.closed_callbacks: list[Any] = []
        self.refused = 0
        self.is_stream = False
        self.app = partial(_with_connection, self.app, self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, or refuse it."""
        super().connection_made(transport)
        transport.set_protocol(SmallReads(self))
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        limit = self._gate.admit(self, _address(self))
        if limit:
            what = "this gateway" if limit == "all" else "your address"
            message = f"{what} has too many connections; try again"
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "RESOURCE_EXHAUSTED", message, "TOO_MANY_CONNECTIONS")
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""
        self._disarm()
        super().connection_lost(exc)
        self._gate.leave(self.transport)
        for callback in self.closed_callbacks:
            callback()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; a request has to be complete within a time limit."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._is_in_body and len(self.cycle.body) >= READ_BYTES:
            self.flow.pause_reading()  # until the application requests the body
        state = self.conn.their_state
        if state in _RECEIVING or (state is h11.IDLE and self.conn.trailing_data[0]):
            self._arm()
        else:
            self._disarm()

    def on_response_complete(self) -> None:
        """Drop the received part of the body, which is not needed any more."""
        self.cycle.body = bytearray()
        super().on_response_complete()

    @property
    def is_waiting(self) -> bool:
        """See `BrowserConnection`."""
        return (_is_idle(self) or self._is_in_body) and not self.transport.get_write_buffer_size()

    def end_now(self, last: bytes) -> None:
        """See `BrowserConnection`."""
        self._gate.leave(self.transport)
        _end_now(self.transport, last)

    async def taken(self) -> None:
        """Return once the network has taken most of what was sent, or the connection is closed."""
        if self.flow.write_paused:
            await self.flow.drain()

    async def send_raw(self, chunk: bytes) -> None:
        """Send a chunk of an answer that has begun, at a third of the cost of ASGI and h11.

        Returns once the network has taken most of the previous data; at once if the connection is closed.
        """
        await self.taken()
        if not self.transport.is_closing():
            self.transport.write(chunk)

    def send_raw_now(self, chunk: bytes) -> bool:
        """Send a chunk as `send_raw` does if this needs no waiting; return whether it was sent."""
        if self.flow.write_paused or self.transport.is_closing():
            return False
        self.transport.write(chunk)
        return True

    def send_400_response(self, msg: str) -> None:
        """Answer input that is not HTTP, or ambiguous."""
        message = (
            "the request is not valid HTTP/1.1, or ambiguous; expected lines that end with CR and LF, headers of one "
            "line, and a body with its Content-Length and without a Transfer-Encoding"
        )
        self._refuse(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", message, "INVALID_HTTP")

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the connection to the WebSocket protocol."""
        self._disarm()
        super().handle_websocket_upgrade(event)

    def _should_upgrade(self) -> bool:
        # uvicorn's parser raises on some other upgrades.
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
        """Answer without the application, unless an answer has begun, and close the connection."""
        if self.transport.is_closing():
            return
        # An incomplete or malformed body belongs to a request that may have been answered already.
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
        self.is_stream = False
        self.is_waiting = False
        self._allowance, self._allowed_at = float(FRAMES_BYTES), self.loop.time()
        self.app = partial(self._answer, self.app)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the place of the HttpConnection."""
        super().connection_made(transport)
        self._gate.upgrade(self)

    async def _answer(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        await _with_connection(app, self, scope, receive, send)
        if self.initial_response is not None:  # refused: otherwise uvicorn logs an error, which anybody can cause
            self.handshake_complete = True

    def end_now(self, last: bytes) -> None:
        """See `BrowserConnection`."""
        self._gate.leave(self.transport)
        _end_now(self.transport, last)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; drop the connection if this fails, or if they exceed the limit of a program."""
        # The first bytes are the request, which the HttpConnection has limited.
        if self.handshake_initiated and not self._may_send(len(data)):
            log.debug("websocket_flooded")
            self.transport.abort()
            return
        try:
            super().data_received(data)
        except Exception as error:  # uvicorn expects a close frame for every violation of the protocol
            log.debug("websocket_violation", error=repr(error))
            self.transport.abort()
            return
        if not self.handshake_initiated and not self.transport.is_closing():
            # The library does not answer a request with a body, or with more headers than it accepts, and would wait.
            message = "the request opens no WebSocket; expected at most 128 headers of at most 8 kB, and no body"
            self.transport.write(
                _raw_answer(RequestRefused(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", message, "INVALID_HTTP"))
            )
            self.transport.close()

    def send_receive_event_to_app(self) -> None:
        """Pass a message on; drop the connection if it is not text: uvicorn would log a traceback each time."""
        if self.curr_msg_data_type == "text":
            b"".join(self.frames).decode()  # data_received handles the error
        super().send_receive_event_to_app()

    def _may_send(self, size: int) -> bool:
        """Count received bytes; return whether they are within the limit of a program."""
        now = self.loop.time()
        self._allowance += (now - self._allowed_at) * FRAMES_BYTES_A_SECOND
        self._allowance, self._allowed_at = min(self._allowance, FRAMES_BYTES) - size, now
        return self._allowance >= 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""
        super().connection_lost(exc)
        self._gate.leave(self.transport)
        for callback in self.closed_callbacks:
            callback()


async def _with_connection(app: Any, connection: BrowserConnection, scope: Any, receive: Any, send: Any) -> None:
    scope[CONNECTION_KEY] = connection
    await app(scope, receive, send)


def _end_now(transport: asyncio.Transport, last: bytes) -> None:
    if transport.get_write_buffer_size():
        transport.abort()
    elif not transport.is_closing():
        transport.write(last)
        transport.close()
        asyncio.get_running_loop().call_later(END_SECONDS, transport.abort)  # unless it is closed by then


def _is_idle(connection: H11Protocol) -> bool:
    """Return whether no request of a connection is being answered."""
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
