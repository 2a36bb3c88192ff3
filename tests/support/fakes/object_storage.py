"""HTTP servers of this machine that stand for object storage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
from typing_extensions import override


@contextmanager
def aws_at(port: int) -> Iterator[None]:
    """Let the environment name a server of this machine as AWS's."""
    clients = fsspec.get_filesystem_class("s3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        clients.clear_instance_cache()  # they know the storage of an earlier test
        yield
        clients.clear_instance_cache()


@contextmanager
def served(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve HTTP; yield the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class LyingStorage(BaseHTTPRequestHandler):
    """Says that every file has 10 bytes, and sends 256 MiB of it."""

    protocol_version = "HTTP/1.1"
    sent = 0

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(OSError):  # the reader has gone
            for _ in range(256):
                self.wfile.write(b"100000\r\n" + b" " * 2**20 + b"\r\n")
                type(self).sent += 2**20
            self.wfile.write(b"0\r\n\r\n")

    @override
    def log_message(self, *_: object) -> None:
        pass


class StalledStorage(LyingStorage):
    """Sends the first bytes of a file and no more, until it is released."""

    released = threading.Event()

    @override
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"12345")
        self.wfile.flush()
        self.released.wait(30)
        self.close_connection = True
