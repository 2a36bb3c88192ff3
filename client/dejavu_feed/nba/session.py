"""A session of requests, for one read at a time, that can be cut off as a whole."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that are never reached through a proxy."""

_AGAIN: Final = 0.1
"""Seconds between attempts to cut off a read that is late: a connection may just be opened."""


class FeedSession(requests.Session):
    """A session with one server, for one thread at a time.

    Args:
        host: the server's host.
    """

    def __init__(self, host: str) -> None:
        super().__init__()
        self.max_redirects = 3
        self.trust_env = host not in LOOPBACK
        self._adapter = _Adapter()
        self.mount("http://", self._adapter)
        self.mount("https://", self._adapter)

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Cuts off what the block reads once it has taken so long, whatever it waits for: headers, a body, a redirect.

        The timeout of requests limits only the wait for the next bytes. A name is resolved without a limit but the
        system's, and connecting takes up to the timeout for each address.

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
        if late.is_set():  # the end of the connection can pass for that of the body
            raise TimeoutError(f"no whole answer within {seconds:g} s")

    def _watch(self, seconds: float, done: threading.Event, late: threading.Event) -> None:
        while not done.wait(_AGAIN if late.is_set() else seconds):
            late.set()
            self._adapter.cut()


class _Adapter(HTTPAdapter):
    """Knows the connection in use.

    Attributes:
        connection: the connection of urllib3 that was last opened or asked; None before the first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.connection: Any = None

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> HTTPConnectionPool:
        """Returns the pool of a request, whose connections report to this adapter."""
        pool = super().get_connection_with_tls_context(*args, **options)
        if not issubclass(pool.ConnectionCls, _Reporting):
            pool.ConnectionCls = type("Connection", (_Reporting, pool.ConnectionCls), {"adapter": self})
        return pool

    def cut(self) -> None:
        """Shuts the connection down: a read from it gets the end of the data or an error."""
        link = getattr(self.connection, "sock", None)
        with suppress(OSError):  # it is not connected
            if link is not None:
                socket.socket.shutdown(getattr(link, "socket", link), socket.SHUT_RDWR)  # `socket`: of TLS within TLS


class _Reporting:
    """Mixin of connections."""

    adapter: _Adapter

    def connect(self) -> None:
        self.adapter.connection = self
        super().connect()  # type: ignore[misc]

    def request(self, *args: Any, **options: Any) -> None:
        self.adapter.connection = self
        super().request(*args, **options)  # type: ignore[misc]
