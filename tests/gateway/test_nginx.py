"""nginx with the configuration of docs/page.md in front of a gateway."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.support.harness.documents import blocks
from tests.support.harness.waiting import until
from tests.support.processes.connections import answers, free_port
from tests.support.processes.gateway import running_gateway
from tests.support.processes.proxies import nginx_configuration, running_proxy
from tests.support.processes.servers import running_worker

from dejavu_common.address import Address

STREAM = b"GET /api/stream HTTP/1.1\r\nhost: dejavu.example\r\n\r\n"
UPGRADE = (
    b"GET /api/ws HTTP/1.1\r\nhost: dejavu.example\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"origin: http://dejavu.example\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PER_ADDRESS = 64
"""Requests in progress of an address in docs/page.md."""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The address of nginx in front of a gateway of which an address may have many streams."""
    folder = tmp_path_factory.mktemp("nginx")
    configured = {block.about: block.text for block in blocks("docs/page.md", "nginx")}
    options = ("--trusted-proxy", "127.0.0.1", "--host", "dejavu.example", "--max-streams-per-address", "1000")
    with running_worker(folder / "server") as server, running_gateway(server, *options) as gateway:
        port = free_port()
        here = configured["server"].replace("127.0.0.1:8080", gateway.address)
        listening = f"listen 127.0.0.1:{port}; {here}"
        file = folder / "nginx.conf"
        file.write_text(nginx_configuration(folder, configured["http"], listening, "master_process off;"))
        with running_proxy("nginx", file):
            address = Address("127.0.0.1", port)
            asyncio.run(until(lambda: answers(str(address))))
            yield address


def asked(nginx: Address, request: bytes, source: str) -> socket.socket:
    """Send a request from an address of this machine."""
    connection = socket.create_connection(nginx, timeout=60, source_address=(source, 0))
    connection.sendall(request)
    return connection


def test_one_viewer_with_many_requests_leaves_the_others_theirs(nginx: Address) -> None:
    with ExitStack() as stack:
        for _ in range(PER_ADDRESS):
            connection = stack.enter_context(asked(nginx, STREAM, "127.0.0.2"))
            assert connection.recv(12) == b"HTTP/1.1 200"
        for path in (b"/", b"/api/status", b"/v2/health/live"):
            request = STREAM.replace(b"/api/stream", path)
            assert stack.enter_context(asked(nginx, request, "127.0.0.2")).recv(12) == b"HTTP/1.1 429"
            assert stack.enter_context(asked(nginx, request, "127.0.0.3")).recv(12) == b"HTTP/1.1 200"


def test_live_events_pass_at_once_and_what_is_not_for_viewers_does_not(nginx: Address) -> None:
    with asked(nginx, STREAM, "127.0.0.4") as stream:
        received = b""
        while b"event: status" not in received:
            received += stream.recv(4096)
    with asked(nginx, UPGRADE, "127.0.0.4") as program:
        assert program.recv(12) == b"HTTP/1.1 101"
    for path in (b"/metrics", b"/healthz", b"/readyz"):
        with asked(nginx, STREAM.replace(b"/api/stream", path), "127.0.0.4") as other:
            assert other.recv(12) == b"HTTP/1.1 404"
