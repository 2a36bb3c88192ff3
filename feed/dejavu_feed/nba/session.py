"""A session of requests for one read at a time, with a time limit for the whole read."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that are never reached through a proxy."""

_AGAIN: Final = 0.1
"""Seconds between attempts to cut off a late read: one attempt may miss a connection that is just being opened."""


class FeedSession(requests.Session):
    """A session with one server, for one thread at a time.

    It keeps no cookies: after an answer with many cookies, every later request would be refused for its size.

    Args:
        host: the server's host.
    """

    def __init__(self, host: str) -> None:
        super().__init__()
        self.max_redirects = 3
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.trust_env = host not in LOOPBACK
        self._adapter = _Adapter()
        self.mount("http://", self._adapter)
        self.mount("https://", self._adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None, so that the session follows no redirect: requests would follow it to any host."""

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Cut off the reads of the block after a total time, including headers, body and redirects.

        The timeout of requests limits only the wait for the next bytes. Resolving a name has no limit but the system's,
        and connecting takes up to the timeout for each address.

        Raises:
            TimeoutError: if the block was cut off.
        """
        done, late = threading.Event(), threading.Event()
        watch = threading.Thread(target=self._watch, args=(seconds, done, late), name="feed-limit", daemon=True)
        watch.start()
        try:
            yield
        except Exception as error:
            if not late.is_set():
                raise
            raise TimeoutError(f"no whole answer within {seconds:g} s") from error
        finally:
            done.set()
            watch.join()
        if late.is_set():  # the end of the connection can look like the end of the body
            raise TimeoutError(f"no whole answer within {seconds:g} s")

    def _watch(self, seconds: float, done: threading.Event, late: threading.Event) -> None:
        while not done.wait(_AGAIN if late.is_set() else seconds):
            late.set()
            self._adapter.cut()


class _Adapter(HTTPAdapter):
    """Keeps track of the sockets of its connections.

    A connection itself forgets the socket of an answer that lasts until the connection closes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sockets = list[Any]()

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> HTTPConnectionPool:
        """Return the connection pool of a request; its connections register their sockets with this adapter."""
        pool = super().get_connection_with_tls_context(*args, **options)
        if not issubclass(pool.ConnectionCls, _Telling):
            pool.ConnectionCls = type("Connection", (_Telling, pool.ConnectionCls), {"opened": self._opened})
        return pool

    def cut(self) -> None:
        """Shut all sockets down: a read from one gets the end of the data or an error."""
        for link in self._sockets:
            with suppress(OSError):  # the socket is not connected any more
                socket.socket.shutdown(getattr(link, "socket", link), socket.SHUT_RDWR)  # `socket`: for TLS within TLS

    def _opened(self, link: Any) -> None:
        self._sockets = [*(each for each in self._sockets if each.fileno() != -1), link]


class _Telling:
    """Mixin of urllib3's connections that calls `opened` with each socket: on connecting, and within TLS."""

    opened: Callable[[Any], None]
    _socket: Any

    @property
    def sock(self) -> Any:
        return self._socket

    @sock.setter
    def sock(self, link: Any) -> None:
        self._socket = link
        if link is not None:
            self.opened(link)
