"""A small in-process HTTP server for replays and for fault injection in tests."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from socketserver import TCPServer
from typing import Self


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response before it is sent; a fault injector may replace it.

    Content-Length is the length of the body unless the headers override it.

    Attributes:
        hold: if not 0, nothing is sent: the connection is held open for this many seconds, then closed.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: float = 0.0


Responder = Callable[[str], Response]
"""Responds to the GET of a path; the path includes the query only if the server was created with `query=True`."""


class LocalServer:
    """Serves a responder over HTTP in its own thread while its context is open.

    Args:
        respond: creates the responses; called from many threads.
        host, port: address to listen on; port 0 picks a free port.
        query: whether paths include the query.

    Raises:
        OSError: if the address cannot be bound.
    """

    def __init__(self, respond: Responder, host: str = "127.0.0.1", port: int = 0, *, query: bool = False) -> None:
        self._server = _Server((host, port), respond if query else lambda path: respond(path.partition("?")[0]))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="local-http", daemon=True)

    @property
    def url(self) -> str:
        """Base URL for a feed client."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], respond: Responder) -> None:
        self.respond = respond
        self.ending = threading.Event()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without a DNS lookup of the host's full name, which can take seconds and is only used by CGI."""
        TCPServer.server_bind(self)

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """Ignore clients that disconnect during a response; report other errors."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Send headers and body in one packet; otherwise the client's delayed ACK costs 40 ms per call.
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 60

    def do_GET(self) -> None:
        response = self.server.respond(self.path)
        if response.hold:
            self.server.ending.wait(response.hold)
            self.close_connection = True
            return
        self.send_response(response.status)
        for name, value in {"Content-Length": str(len(response.body)), **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, *_: object) -> None:
        """Log nothing: a poller sends many requests per second."""
