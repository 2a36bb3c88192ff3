"""Live events: as server-sent events, and over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Final

from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket, WebSocketDisconnect

from dejavu_common.slots import NoSlotError
from dejavu_gateway.api.context import client_address, context_of
from dejavu_gateway.http.connections import connection_of
from dejavu_gateway.http.envelope import UNLIMITED, Receive, Scope, Send
from dejavu_gateway.live.browser import RETRY_SECONDS, Browser
from dejavu_gateway.live.messages import StreamMessage
from dejavu_gateway.logs import get_logger
from dejavu_gateway.messages.decode import check_flag, check_game_id, check_names
from dejavu_gateway.messages.errors import RequestRefused, invalid_field

MAX_GAMES: Final = 200
"""Maximum number of games that a browser may name; to follow all games, it names none."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_=-]{1,128}")
_PARAMETERS: Final = ("game", "current", "resume")
_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013
"""Codes with which a WebSocket is closed (RFC 6455, 7.4)."""
_REASON_BYTES: Final = 123
"""Maximum length of the reason of a close frame (RFC 6455, 5.5)."""

log = get_logger()


class SseOutlet:
    """A browser that reads server-sent events."""

    transport = "sse"

    def __init__(self, scope: Scope, send: Send) -> None:
        self._connection = connection_of(scope)
        self._send = send
        self._form = attrgetter("chunk" if scope["http_version"] == "1.1" else "sse")

    @property
    def ready(self) -> bool:
        """See `Outlet`."""
        return self._connection.writable

    def write(self, messages: Sequence[StreamMessage]) -> None:
        """See `Outlet`."""
        self._connection.write(b"".join(map(self._form, messages)))

    async def finish(self, retry_seconds: float) -> None:
        """See `Outlet`."""
        await self._send({"type": "http.response.body", "body": _retry_line(retry_seconds) + b"\n", "more_body": False})

    def abort(self) -> None:
        """See `Outlet`."""
        self._connection.abort()


class WebSocketOutlet:
    """A program that reads messages of a WebSocket, whose frames only the library writes.

    Attributes:
        on_ready: called each time that it is ready again.
    """

    transport = "websocket"

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._sending: asyncio.Task[None] | None = None
        self.on_ready: Callable[[], None] = lambda: None

    @property
    def ready(self) -> bool:
        """See `Outlet`."""
        return self._sending is None

    def write(self, messages: Sequence[StreamMessage]) -> None:
        """See `Outlet`."""
        self._sending = asyncio.create_task(self._send(messages))

    async def _send(self, messages: Sequence[StreamMessage]) -> None:
        with contextlib.suppress(WebSocketDisconnect):  # told to who reads
            for each in messages:
                await self._socket.send_text(each.text)
        self._sending = None
        self.on_ready()

    async def finish(self, retry_seconds: float) -> None:
        """See `Outlet`."""
        if self._sending is not None:
            await self._sending
        await self._socket.close(_TRY_AGAIN_LATER, f"connect again in {retry_seconds:.1f} s")

    def abort(self) -> None:
        """See `Outlet`."""
        connection_of(self._socket.scope).abort()


class ServerSentEvents:
    """GET /api/stream, as an ASGI application: each browser takes only a task and a position."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the browser is gone."""
        request = Request(scope, receive)
        if scope["method"] != "GET":
            raise RequestRefused("METHOD_NOT_ALLOWED", "expected GET", headers={"allow": "GET"})
        browser = _browser(request, SseOutlet(scope, send), request.headers.get("last-event-id", ""))
        with _slot(request, browser):
            scope[UNLIMITED]()
            connection = connection_of(scope)
            connection.closed_callbacks.append(browser.close)
            connection.on_writable = browser.pump
            headers = [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),  # otherwise nginx would hold events back
                (b"connection", b"close"),  # an ended stream gives up its connection
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": _retry_line(RETRY_SECONDS), "more_body": True})
            await browser.run()


async def websocket(socket: WebSocket) -> None:
    """Send the same messages over a WebSocket: JSON texts {"event", "id", "data"}."""
    await socket.accept()
    try:
        outlet = WebSocketOutlet(socket)
        browser = _browser(socket, outlet, "")
        outlet.on_ready = browser.pump
        with _slot(socket, browser):
            reading = asyncio.create_task(socket.receive())
            reading.add_done_callback(lambda _: browser.close())
            try:
                await browser.run()
            finally:
                reading.cancel()
        if not reading.cancelling() and reading.result()["type"] == "websocket.receive":
            await socket.close(_VIOLATION, "this stream takes no messages")
    except RequestRefused as refused:
        code = _TRY_AGAIN_LATER if refused.retry_after else _VIOLATION
        await socket.close(code, refused.message.encode()[:_REASON_BYTES].decode(errors="ignore"))
    except WebSocketDisconnect:
        log.debug("websocket_closed")


def _browser(connection: HTTPConnection, outlet: SseOutlet | WebSocketOutlet, last_event_id: str) -> Browser:
    """Return the browser of a request.

    Raises:
        RequestRefused: if a parameter is unknown or invalid.
    """
    parameters = connection.query_params
    check_names(parameters, _PARAMETERS)
    games = parameters.getlist("game")
    if len(games) > MAX_GAMES:
        raise invalid_field("game", f"{len(games)} games; expected at most {MAX_GAMES}, or none for all")
    for game in games:
        check_game_id(game, "game")
    current = check_flag(parameters.get("current", "0"), "current")
    token = last_event_id or parameters.get("resume", "")
    if token and not _TOKEN.fullmatch(token):
        name = "Last-Event-ID" if last_event_id else "resume"
        raise invalid_field(name, "is no id of an event", "INVALID_RESUME_TOKEN")
    feed = context_of(connection).feed
    return Browser(feed, outlet, frozenset(games), token, current=current)


@contextlib.contextmanager
def _slot(connection: HTTPConnection, browser: Browser) -> Iterator[None]:
    """Hold a slot of the live streams.

    Raises:
        RequestRefused: if the address already has its share of the slots.
    """
    slots = context_of(connection).streams
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(slots.held(client_address(connection), browser.make_room))
        except NoSlotError as error:
            raise RequestRefused("TOO_MANY_STREAMS", str(error), retry_after=10.0) from None
        yield


def _retry_line(seconds: float) -> bytes:
    return b"retry: %d\n" % round(1000 * seconds)
