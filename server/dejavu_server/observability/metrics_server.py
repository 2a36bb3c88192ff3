"""The HTTP server behind /metrics. A reader that hangs holds a thread and a descriptor for seconds, not for ever."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from dejavu_server.settings import Address

READER_SECONDS = 10.0
"""How long a reader may be silent, or not read what it asked for."""

_log = structlog.get_logger(__name__)


class Handler(WSGIRequestHandler):
    """One request for the figures."""

    timeout = READER_SECONDS

    def log_message(self, *_: object) -> None:
        """Quiet: whoever scrapes does so every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A reader that hangs or goes is no fault of ours; anything else is told in the log, as all else is."""
        error = sys.exception()
        if not isinstance(error, TimeoutError | ConnectionError):
            _log.warning("metrics_not_served", error=repr(error))


@contextlib.contextmanager
def served(registry: CollectorRegistry, listen: Address) -> Iterator[Address]:
    """Serves figures over HTTP until the end of the block; yields the address, where port 0 has become a free one.

    Raises:
        OSError: if the address can't be bound.
    """
    family, *_, numeric = socket.getaddrinfo(
        listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    kind: Any = type("_ServerOfFamily", (_Server,), {"address_family": family})
    server: WSGIServer = kind(numeric[:2], Handler)
    server.set_app(make_wsgi_app(registry))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield Address(listen.host, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
