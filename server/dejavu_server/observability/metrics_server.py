"""HTTP server for /metrics. A hanging client holds a thread and a descriptor for READER_SECONDS at most."""

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
"""Socket timeout of a client that sends nothing or does not read the response."""

_log = structlog.get_logger(__name__)


class ScrapeHandler(WSGIRequestHandler):
    """Handles one scrape."""

    timeout = READER_SECONDS

    def log_message(self, *_: object) -> None:
        """Logs nothing: scrapes arrive every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Logs errors other than a client that hangs or disconnects."""
        error = sys.exception()
        if not isinstance(error, TimeoutError | ConnectionError):
            _log.warning("metrics_not_served", error=repr(error))


@contextlib.contextmanager
def serve_metrics(registry: CollectorRegistry, listen: Address) -> Iterator[Address]:
    """Serves metrics over HTTP until the end of the block; yields the address, with the actual port in place of 0.

    Raises:
        OSError: if the address cannot be bound.
    """
    family, *_, numeric = socket.getaddrinfo(
        listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    kind: Any = type("_ServerOfFamily", (_Server,), {"address_family": family})
    server: WSGIServer = kind(numeric[:2], ScrapeHandler)
    server.set_app(make_wsgi_app(registry))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield Address(listen.host, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
