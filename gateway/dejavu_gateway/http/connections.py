"""Connections of browsers: uvicorn's, to whose transport live streams write, and which they can drop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self, cast

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
    """

    def __init__(self, *, app_state: dict[str, Any], **options: Any) -> None:
        super().__init__(app_state={**app_state, _STATE: self}, **options)
        self.closed_callbacks: list[Callable[[], None]] = []
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport."""
        super().connection_made(transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end."""
        super().connection_lost(exc)
        self._writable.set()
        for callback in self.closed_callbacks:
            callback()

    def pause_writing(self) -> None:
        """Take note that the network takes no more."""
        super().pause_writing()
        self._writable.clear()

    def resume_writing(self) -> None:
        """Take note that the network has taken most of what was sent."""
        super().resume_writing()
        self._writable.set()

    async def send_raw(self, chunk: bytes) -> None:
        """Send a chunk of an answer that has begun, at a third of the cost of ASGI and h11.

        Returns once the network has taken most of the previous data; at once if the connection is closed.
        """
        await self._writable.wait()
        self.send_raw_now(chunk)

    def send_raw_now(self, chunk: bytes) -> bool:
        """Send a chunk as `send_raw` does if this needs no waiting; return whether it was sent."""
        if not self._writable.is_set() or self._transport.is_closing():
            return False
        self._transport.write(chunk)
        return True

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
