"""HTTP server for /metrics pages. A hanging client holds a thread and a descriptor for READER_SECONDS at most."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from dejavu_common.address import Address

READER_SECONDS = 10.0
"""Socket timeout of a client that sends nothing or does not read the response."""


class ScrapeHandler(WSGIRequestHandler):
    """Handles one scrape."""

    timeout = READER_SECONDS

    def log_message(self, *_: object) -> None:
        """Log nothing: scrapes arrive every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    warn: Callable[..., object] = staticmethod(lambda *_, **__: None)

    def handle_error(self, *_: object) -> None:
        """Log errors other than a client that hangs or disconnects."""
        error = sys.exception()
        if error is not None and not isinstance(error, TimeoutError | ConnectionError):
            self.warn("metrics_not_served", error=repr(error))


@contextlib.contextmanager
def serve_wsgi(app: Any, listen: Address, warn: Callable[..., object]) -> Iterator[Address]:
    """Serve a WSGI application until the end of the block; yield the address, with the actual port in place of 0.

    Args:
        app: the application, called in threads.
        listen: where to listen.
        warn: logs an event with fields, as a method of a structlog logger; called with each error of a request.

    Raises:
        OSError: if the address cannot be bound.
    """
    family, numeric = listen.resolve()
    kind: Any = type("_ServerOfFamily", (_Server,), {"address_family": family, "warn": staticmethod(warn)})
    server: WSGIServer = kind(numeric[:2], ScrapeHandler)
    server.set_app(app)
    thread = threading.Thread(target=server.serve_forever, name="http-server", daemon=True)
    thread.start()
    try:
        yield Address(listen.host, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
