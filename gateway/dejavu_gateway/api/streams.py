"""Live events: as server-sent events, and over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final

from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket, WebSocketDisconnect

from dejavu_common.slots import NoSlotError
from dejavu_gateway.api.context import client_address, context_of
from dejavu_gateway.http.connections import connection_of
from dejavu_gateway.http.envelope import UNLIMITED, Receive, Scope, Send
from dejavu_gateway.live.browser import RETRY_SECONDS, Browser
from dejavu_gateway.live.event_log import LiveEvent
from dejavu_gateway.live.games import PublishedGame
from dejavu_gateway.logs import get_logger
from dejavu_gateway.messages.decode import check_flag, check_game_id, check_names
from dejavu_gateway.messages.encode import JsonObject, dump
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
    """A browser that reads server-sent events (html.spec.whatwg.org, 9.2)."""

    transport = "sse"

    def __init__(self, scope: Scope, send: Send) -> None:
        self._connection = connection_of(scope)
        self._send = send
        self._chunked = scope["http_version"] == "1.1"

    async def status(self, status: JsonObject, token: str) -> None:
        """See `Outlet`."""
        await self._write(_id_line(token) + b"event: status\ndata: %b\n\n" % dump(status))

    async def games(self, states: Sequence[PublishedGame]) -> None:
        """See `Outlet`."""
        if self._chunked:
            await self._connection.send_raw(b"".join([state.chunk for state in states]))
        else:
            await self._write(b"".join([state.sse for state in states]))

    async def events(self, entries: Sequence[tuple[LiveEvent, bytes]]) -> None:
        """See `Outlet`."""
        if self._chunked:
            await self._connection.send_raw(b"".join([chunk for _, chunk in entries]))
        else:
            await self._write(b"".join([event.sse for event, _ in entries]))

    def event_now(self, entry: tuple[LiveEvent, bytes]) -> bool:
        """See `Outlet`."""
        return self._chunked and self._connection.send_raw_now(entry[1])

    async def position(self, token: str) -> None:
        """See `Outlet`."""
        # An event instead of a comment: pages do not see comments, so they could not tell silence from a dead
        # connection.
        await self._write(_id_line(token) + b"event: position\ndata: {}\n\n")

    async def reset(self, error: JsonObject) -> None:
        """See `Outlet`."""
        # An empty id: a browser that loses its connection right after this must not resume from the unknown position.
        await self._write(b"id\nevent: reset\ndata: %b\n\n" % dump(error))

    async def finish(self, retry_seconds: float) -> None:
        """See `Outlet`."""
        await self._send({"type": "http.response.body", "body": _retry_line(retry_seconds) + b"\n", "more_body": False})

    def abort(self) -> None:
        """See `Outlet`."""
        self._connection.abort()

    async def _write(self, text: bytes) -> None:
        await self._send({"type": "http.response.body", "body": text, "more_body": True})


class WebSocketOutlet:
    """A program that reads messages of a WebSocket."""

    transport = "websocket"

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def status(self, status: JsonObject, token: str) -> None:
        """See `Outlet`."""
        await self._write(b"status", token, dump(status))

    async def games(self, states: Sequence[PublishedGame]) -> None:
        """See `Outlet`."""
        for state in states:
            await self._write(state.event, "", state.json)

    async def events(self, entries: Sequence[tuple[LiveEvent, bytes]]) -> None:
        """See `Outlet`."""
        for event, _ in entries:
            await self._write(b"prediction", event.token, event.json)

    def event_now(self, entry: tuple[LiveEvent, bytes]) -> bool:
        """See `Outlet`."""
        return False  # only the library writes its frames

    async def position(self, token: str) -> None:
        """See `Outlet`."""
        await self._write(b"position", token, b"{}")

    async def reset(self, error: JsonObject) -> None:
        """See `Outlet`."""
        await self._write(b"reset", "", dump(error))

    async def finish(self, retry_seconds: float) -> None:
        """See `Outlet`."""
        await self._socket.close(_TRY_AGAIN_LATER, f"connect again in {retry_seconds:.1f} s")

    def abort(self) -> None:
        """See `Outlet`."""
        connection_of(self._socket.scope).abort()

    async def _write(self, event: bytes, token: str, data: bytes) -> None:
        await self._socket.send_text((b'{"event":"%b","id":"%b","data":%b}' % (event, token.encode(), data)).decode())


class ServerSentEvents:
    """GET /api/stream, as an ASGI application: each browser takes only a task and a position."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the browser is gone."""
        request = Request(scope, receive)
        if scope["method"] != "GET":
            raise RequestRefused(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "UNIMPLEMENTED",
                "expected GET",
                "METHOD_NOT_ALLOWED",
                headers={"allow": "GET"},
            )
        browser = _browser(request, SseOutlet(scope, send), request.headers.get("last-event-id", ""))
        with _slot(request, browser):
            scope[UNLIMITED]()
            connection_of(scope).closed_callbacks.append(browser.close)
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
        browser = _browser(socket, WebSocketOutlet(socket), "")
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
    return Browser(feed, outlet, frozenset(games), token, current=current, address=client_address(connection))


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
            raise RequestRefused(
                HTTPStatus.TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", str(error), "TOO_MANY_STREAMS", retry_after=10.0
            ) from None
        yield


def _id_line(token: str) -> bytes:
    return b"id: %b\n" % token.encode() if token else b""


def _retry_line(seconds: float) -> bytes:
    return b"retry: %d\n" % round(1000 * seconds)
