"""Rules for every request: known hosts only, an id, security headers, a time limit, metrics, and no traceback."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dejavu_client import DejavuClientError
from dejavu_common.address import Address, share_of
from dejavu_gateway.http.answers import SECURITY_HEADERS, error_response
from dejavu_gateway.http.connections import HangUp, connection_of
from dejavu_gateway.http.origins import DEFAULT_PORTS, SharedOrigins, is_same_origin
from dejavu_gateway.logs import get_logger
from dejavu_gateway.messages.errors import RequestRefused, of_server
from dejavu_gateway.metrics import GatewayMetrics
from dejavu_gateway.settings import GatewaySettings, TrustedProxies

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUEST_ID: Final = "dejavu.request_id"
"""Key of the id of a request in an ASGI scope."""

UNLIMITED: Final = "dejavu.unlimited"
"""Key of an ASGI scope with the function that a live stream calls to be exempt from the time limit."""

CLIENT_CLOSED_REQUEST: Final = 499
"""Status in metrics and logs (as with nginx) of a request whose browser hung up before it was answered."""

OPEN_INFERENCE: Final = "/v2/"
"""Prefix of the paths of the Open Inference Protocol, whose errors have a form of their own."""

MAX_PARAMETERS: Final = 256
"""Maximum number of query parameters; a stream of the maximum number of games has fewer."""

LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
_METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH")
_UNKNOWN: Final = "other"

log = get_logger()


class Envelope:
    """Wraps the application.

    Args:
        app: the application.
        settings: settings of the gateway.
        metrics: metrics of the gateway.
        any_host: whether requests for any host name are answered.
    """

    def __init__(self, app: Application, settings: GatewaySettings, metrics: GatewayMetrics, *, any_host: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._seconds = settings.limits.answer_seconds
        self._trusted = settings.trusted_proxies
        self._shared = SharedOrigins(settings.origins)
        self._hosts = None if any_host else {*LOOPBACK_HOSTS, *(host.lower() for host in settings.hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[REQUEST_ID] = request_id = secrets.token_hex(8)
        started, status, asked = time.perf_counter(), 0, Headers(scope=scope)

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _complete(MutableHeaders(scope=message), self._shared.headers(scope["path"], asked), request_id)
            await send(message)

        try:
            if await self._handle(scope, receive, send_with_headers):
                status = status or CLIENT_CLOSED_REQUEST
        except Exception as error:
            if status:  # the answer has begun: all that is left is to end the connection
                log.exception("answer_failed", request_id=request_id, path=scope["path"])
                raise
            plain = f"{scope['path']}/".startswith(OPEN_INFERENCE)
            answer = error_response(self._refusal(error, scope), request_id, plain=plain)
            await answer(scope, receive, send_with_headers)
        finally:
            endpoint = _endpoint(scope)
            self._metrics.requests.labels(endpoint, str(status)).inc()
            if endpoint != "/api/stream" and status != CLIENT_CLOSED_REQUEST:
                self._metrics.seconds.labels(endpoint).observe(time.perf_counter() - started)
            log.debug("request", path=scope["path"], status=status, request_id=request_id)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Have a request answered, within its time; return whether its browser hung up before."""
        self._check(scope)
        allowed = self._shared.preflight(scope["method"], scope["path"], Headers(scope=scope))
        if allowed is not None:
            await Response(status_code=HTTPStatus.NO_CONTENT, headers=allowed)(scope, receive, send)
            return False
        with HangUp(connection_of(scope)) as hang_up:
            async with asyncio.timeout(self._seconds) as limit:
                scope[UNLIMITED] = partial(_let_go_on, limit, hang_up)
                await self._app(scope, receive, send)
        return hang_up.has_come

    def _refusal(self, error: Exception, scope: Scope) -> RequestRefused:
        match error:
            case RequestRefused():
                return error
            case DejavuClientError():
                return of_server(error)
            case HTTPException():
                return _of_http(error, scope)
            case TimeoutError():
                message = f"no answer within {self._seconds:g} s"
                return RequestRefused("ANSWER_TIMEOUT", message)
        log.exception("request_failed", request_id=scope[REQUEST_ID], path=scope["path"])
        message = "an error in the gateway; its log has the details under the request's id"
        return RequestRefused("GATEWAY_ERROR", message)

    def _check(self, scope: Scope) -> None:
        """Refuse a request for a foreign host name: another site can point its name to this gateway (DNS rebinding).

        Also refuse a request with so many query parameters that reading them would keep browsers waiting for their
        events.
        """
        if scope["query_string"].count(b"&") >= MAX_PARAMETERS:
            message = f"more than {MAX_PARAMETERS} query parameters"
            raise RequestRefused("TOO_MANY_PARAMETERS", message)
        headers = Headers(scope=scope)
        host = host_name(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            message = f"{host[:80]!r} is no host name of this page; the operator adds one by --host"
            raise RequestRefused("UNKNOWN_HOST", message)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a page of another site that may not read: browsers do not apply CORS to WebSockets."""
        headers = Headers(scope=scope)
        with contextlib.suppress(RequestRefused):
            self._check(scope)
            if headers.get("origin") in self._shared or not is_foreign_origin(scope, headers, self._trusted):
                await self._app(scope, receive, send)
                return
        await send({"type": "websocket.close"})


def _complete(headers: MutableHeaders, sharing: Mapping[str, str], request_id: str) -> None:
    """Add the headers of every answer, and those of an answer that pages of other sites may read."""
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if headers["x-frame-options"] == "":
        del headers["x-frame-options"]
    headers["x-request-id"] = request_id
    for name, value in sharing.items():
        headers[name] = ", ".join([*headers.getlist(name), value]) if name == "vary" else value


def browser_address(scope: Scope, headers: Headers, trusted: TrustedProxies) -> str:
    """Return the key (`share_of`) of a browser's address, as its reverse proxy reports it if the proxy is trusted."""
    peer = (scope.get("client") or ("",))[0]
    if peer not in trusted:
        return share_of(peer)
    # The last address is the one that the proxy itself saw; the browser can forge those before it, also in separate
    # headers.
    said = ",".join(headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    try:
        return share_of(str(ip_address(said)))
    except ValueError:
        return share_of(peer)


def forwarded_scheme(scope: Scope, headers: Headers, trusted: TrustedProxies) -> str:
    """Return http or https, as a trusted proxy reports; empty if not known: an unknown proxy may be in front."""
    peer = (scope.get("client") or ("",))[0]
    scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower() if peer in trusted else ""
    return scheme if scheme in DEFAULT_PORTS else ""


def _let_go_on(limit: asyncio.Timeout, hang_up: HangUp) -> None:
    limit.reschedule(None)
    hang_up.ignore()


def host_name(text: str) -> str:
    """Return the host of a Host header, without the port, in lower case."""
    try:
        return Address.parse(text).host.lower()
    except ValueError:
        return text.lower().removeprefix("[").removesuffix("]")


def is_foreign_origin(scope: Scope, headers: Headers, trusted: TrustedProxies) -> bool:
    """Return whether a request comes from a page of another scheme, host or port, by its Origin."""
    origin = headers.get("origin")
    scheme = forwarded_scheme(scope, headers, trusted)
    return origin is not None and not is_same_origin(origin, headers.get("host", ""), scheme)


def _endpoint(scope: Scope) -> str:
    """Return the template of the matched path: with the path itself, any browser could create metrics."""
    return getattr(scope.get("route"), "path", _UNKNOWN)


def _of_http(error: HTTPException, scope: Scope) -> RequestRefused:
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        method = scope["method"] if scope["method"] in _METHODS else "this method"
        message = f"{method} is not allowed here; expected {headers.get('allow', headers.get('Allow', ''))}"
        return RequestRefused("METHOD_NOT_ALLOWED", message, headers=headers)
    if status is HTTPStatus.NOT_FOUND:
        return RequestRefused("UNKNOWN_PATH", "there is nothing at this path")
    return RequestRefused("INVALID_REQUEST", error.detail, headers=headers)
