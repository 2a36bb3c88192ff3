"""Connections of browsers: uvicorn's, to whose transport live streams write, and which they can drop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, cast

from h11 import LocalProtocolError
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

_STATE: Final = "dejavu.connection"
"""Key of the connection of a request in the state of its ASGI scope."""


class HttpConnection(H11Protocol):
    """A connection that speaks HTTP/1.1. Overrides only methods of asyncio.Protocol.

    Args:
        app_state: state of the application, which the scope of each request has a copy of.
        options: further arguments of uvicorn.

    Attributes:
        closed_callbacks: called once the connection is closed.
        on_writable: called each time that the network has taken most of what was sent.
    """

    def __init__(self, *, app_state: dict[str, Any], **options: Any) -> None:
        super().__init__(app_state={**app_state, _STATE: self}, **options)
        self.closed_callbacks: list[Callable[[], None]] = []
        self.on_writable: Callable[[], None] = lambda: None
        self._full = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport."""
        super().connection_made(transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""
        super().connection_lost(exc)
        for callback in self.closed_callbacks:
            callback()

    def data_received(self, data: bytes) -> None:
        """Close the connection at what is no HTTP; uvicorn alone would fail if an answer has begun, or is made yet."""
        try:
            super().data_received(data)
        except LocalProtocolError:  # it is too late to answer 400
            self._transport.close()
        if self._transport.is_closing() and self.cycle is not None:
            self.cycle.disconnected = True  # its answer is dropped
            self.cycle.message_event.set()

    def pause_writing(self) -> None:
        """Take note that the network takes no more."""
        super().pause_writing()
        self._full = True

    def resume_writing(self) -> None:
        """Take note that the network has taken most of what was sent."""
        super().resume_writing()
        self._full = False
        self.on_writable()

    @property
    def writable(self) -> bool:
        """Whether the network takes more, and the connection is open."""
        return not (self._full or self._transport.is_closing())

    def write(self, data: bytes) -> None:
        """Send a part of an answer that has begun, at a third of the cost of ASGI and h11; only while writable."""
        self._transport.write(data)

    def abort(self) -> None:
        """Drop the connection with its unsent data."""
        self._transport.abort()


def connection_of(scope: Scope) -> HttpConnection:
    """Return the connection of a request."""
    return cast("HttpConnection", scope["state"][_STATE])


class HangUp:
    """Cancels the task that answers a request once its browser has hung up, until the end of the block.

    uvicorn lets such a task go on, and its connection does not count any more: a browser that requests and hangs up,
    again and again, could cause any amount of work.

    Args:
        connection: the connection of the request.

    Attributes:
        has_come: whether the browser has hung up.
    """

    def __init__(self, connection: HttpConnection) -> None:
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
