"""A small HTTP server in the process: what a replay is served by, and what tests put faults into."""

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
    """An HTTP answer, before it is sent: a layer of faults may put another in its place.

    Content-Length is that of the body unless the headers give another.

    Attributes:
        hold: if not 0, there is no answer: the connection is held for so many seconds, then closed without a word.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: float = 0.0


Responder = Callable[[str], Response]
"""Answers the GET of a path, its query left out unless the server was told to leave it."""


class LocalServer:
    """Serves a responder over HTTP from a thread of its own, from `with` until its end.

    Args:
        respond: what answers; called from many threads.
        host, port: where to listen; port 0 takes a free one.
        query: whether a path comes with its query.

    Raises:
        OSError: if the address cannot be bound.
    """

    def __init__(self, respond: Responder, host: str = "127.0.0.1", port: int = 0, *, query: bool = False) -> None:
        self._server = _Server((host, port), respond if query else lambda path: respond(path.partition("?")[0]))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="local-http", daemon=True)

    @property
    def url(self) -> str:
        """The address to give to a feed's reader."""
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
        """Binds without asking DNS for the host's full name, which can take seconds and serves only CGI."""
        TCPServer.server_bind(self)

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """A reader that hangs up in the middle is no fault of ours; anything else is not hidden."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Headers and body leave together: apart, the reader's delayed acknowledgement costs 40 ms a call.
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
        """Quiet: a poller asks many times a second."""
