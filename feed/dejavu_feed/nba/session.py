"""Session for nba_api: refuses answers that are no answer, too large, too slow, or of another server.

nba_api takes its session by `set_session`, a class method; so each feed has a subclass with a session of its own.
"""

from __future__ import annotations

import io
import socket
import threading
from contextlib import suppress
from contextvars import ContextVar
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from nba_api.library.http import NBAHTTP
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.nba.typed_fields import brief

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that are never reached through a proxy."""

_CHUNK: Final = 65_536
"""Maximum bytes per read; a read returns available data without waiting for more."""

_CONNECTIONS: Final = 32
"""Connections kept open: one for each game of a full evening, and as many again."""

_TRANSIENT: Final = frozenset({403, 408, 425, 429})
"""Transient statuses in addition to 5xx. stats.nba.com temporarily returns 403 to clients that it takes for bots."""


class _CutOff:
    """Ends the connections of a request that takes too long, whatever the reading thread waits for.

    The time-out of a socket starts again with every byte. A check between two reads comes too late if one read goes on
    for ever: of headers, interim responses or trailers, or of compressed data that contains nothing.

    Attributes:
        is_due: whether the time is over.
    """

    def __init__(self, seconds: float) -> None:
        self.is_due = False
        self._lock = threading.Lock()
        self._sockets = list[socket.socket]()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._before = _CUT_OFF.set(self)
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        _CUT_OFF.reset(self._before)
        self._timer.cancel()
        with self._lock:
            self._sockets.clear()  # others may use them now

    def watch(self, connection: socket.socket) -> None:
        """End a connection when the time is over."""
        with self._lock:
            self._sockets.append(connection)
        if self.is_due:
            self._end()

    def _end(self) -> None:
        self.is_due = True
        with self._lock:
            for each in self._sockets:
                with suppress(OSError):  # it is closed
                    # Not the method of an SSLSocket, which would go on in plain text. Both directions, because Linux
                    # delivers what still arrives after the end of one.
                    socket.socket.shutdown(each, socket.SHUT_RDWR)


_CUT_OFF: Final[ContextVar[_CutOff | None]] = ContextVar("cut_off", default=None)
"""The limit of the request of this thread."""


class _Watched(HTTPConnection):
    """Connection whose responses have a limit of time from the first byte to the last."""

    def getresponse(self) -> Any:
        """Return the response, see `_CutOff`."""
        if (cut_off := _CUT_OFF.get()) is not None and isinstance(self.sock, socket.socket):
            cut_off.watch(self.sock)
        return super().getresponse()


class _WatchedSecure(_Watched, HTTPSConnection):
    """The same with TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Watched


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedSecure


_POOLS: Final = {"http": _Pool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    """Sends requests over watched connections, directly or through a proxy."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Create the pools of connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Return the pools of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **options)
        if isinstance(manager, urllib3.ProxyManager):  # one of SOCKS has connections of its own
            manager.pool_classes_by_scheme = _POOLS
        return manager


class FeedSession(requests.Session):
    """Session with one server, for several threads: it keeps no state but connections.

    It keeps no cookies: after an answer with many cookies, every later request would be refused for its size.

    Args:
        host: the server's host.
        timeout: seconds to wait for a connection, and for the next bytes of an answer.
        limit: seconds that an answer may take in all, from its headers and those of redirects to its last byte.
        max_bytes: maximum size of an answer, decompressed.
        max_redirects: maximum number of redirects within the server that are followed.
    """

    def __init__(self, host: str, *, timeout: float, limit: float, max_bytes: int, max_redirects: int = 3) -> None:
        super().__init__()
        self.max_redirects = max_redirects
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.trust_env = host not in LOOPBACK
        self._timeout, self._limit, self._max_bytes = timeout, limit, max_bytes
        self._closed = False
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(pool_maxsize=_CONNECTIONS))

    def close(self) -> None:
        """Close all idle connections without waiting for those in use; no later request is sent."""
        self._closed = True
        super().close()

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None, so that requests follows no redirect: it would follow it to any host."""

    def get(self, url: str | bytes, params: Any = None, **options: Any) -> requests.Response:
        """Send a GET request and read the whole answer.

        Raises:
            FeedUnavailable: if no whole answer of status 200 is received in time, it is too large, a redirect leads to
                another server, or the session is closed.
        """
        if self._closed:
            raise FeedUnavailable("the feed is closed")
        options |= {"params": params, "timeout": self._timeout, "stream": True}
        with _CutOff(self._limit) as cut_off:
            try:
                answer = self._answer(str(url), options)
                if not cut_off.is_due:  # what has come until then may look like the whole
                    return answer
            except FeedUnavailable:
                if not cut_off.is_due:
                    raise
        raise FeedUnavailable(f"no whole answer within {self._limit:g} s")

    def _answer(self, address: str, options: dict[str, Any]) -> requests.Response:
        """Return the whole answer.

        Raises:
            FeedUnavailable: see `get`.
        """
        try:
            return self._follow(address, options)
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise FeedUnavailable(f"no answer within {self._timeout:g} s") from error
        except requests.ConnectionError as error:
            # Without user and password, because the message is logged and shown.
            raise FeedUnavailable(f"no connection to {urlsplit(address).netloc.rpartition('@')[2]}") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            # An invalid URL, for example of a redirect, raises a ValueError.
            raise FeedUnavailable(f"no whole answer: {type(error).__name__}") from error

    def _follow(self, url: str, options: dict[str, Any]) -> requests.Response:
        for _ in range(self.max_redirects + 1):
            with super().get(url, **options) as response:
                body = None if response.is_redirect else self._body(response)
            if body is not None:
                response.raw, response.encoding = io.BytesIO(body), "utf-8"  # JSON is UTF-8 regardless of the headers
                return response
            target = urljoin(url, response.headers["Location"])
            if _server(target) not in {_server(url), ("https", *_server(url)[1:])}:
                raise FeedUnavailable(f"a redirect to another server, {brief(target)}")
            url, options = target, {**options, "params": None}
        raise FeedUnavailable("too many redirects")

    def _body(self, response: requests.Response) -> bytes:
        """Return the body of an answer."""
        if (status := response.status_code) != HTTPStatus.OK:
            raise FeedUnavailable(
                f"status {status}",
                transient=status in _TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR,
                retry_after=_seconds(response.headers.get("Retry-After")),
            )
        body = bytearray()
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > self._max_bytes:
                raise FeedUnavailable(f"an answer of more than {self._max_bytes} bytes")
        return bytes(body)


def _server(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _seconds(retry_after: str | None) -> float | None:
    """Parse a Retry-After of seconds or a date (RFC 9110, 10.2.3) into seconds; None if it is neither."""
    try:
        return float(urllib3.Retry().parse_retry_after(retry_after or ""))
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None


class NbaService:
    """A service of the NBA, read through nba_api.

    Args:
        kind: nba_api's class of its requests.
        base_url: address with a place for {endpoint}; None for nba_api's.
        session: sends the requests.
    """

    def __init__(self, kind: type[NBAHTTP], base_url: str | None, session: FeedSession) -> None:
        # nba_api sets Host to the NBA's for any URL, and accepts encodings that urllib3 may not support.
        headers = {name: value for name, value in kind.headers.items() if name.lower() != "host"}
        own: Any = type(kind.__name__, (kind,), {"headers": {**headers, "Accept-Encoding": "gzip, deflate"}})
        own.set_session(session)
        self._http = own()
        self._http.base_url = base_url or kind.base_url
        self._session = session

    def read(self, endpoint: str, parameters: dict[str, Any]) -> Any:
        """Send one request and return the JSON of the answer.

        Args:
            endpoint: path below the base URL.
            parameters: the query.

        Raises:
            FeedUnavailable: see `FeedSession.get`.
            MalformedFeed: if the answer is not JSON.
        """
        answer = self._http.send_api_request(endpoint=endpoint, parameters=parameters)
        try:
            return answer.get_dict()
        except (ValueError, RecursionError) as error:
            raise MalformedFeed(f"not JSON: begins with {answer.get_response()[:40].strip()!r}") from error

    def close(self) -> None:
        """Close the connections; no later request is sent."""
        self._session.close()
