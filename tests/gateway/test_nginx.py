"""nginx with the configuration of docs/watch.md in front of a gateway."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from tests.support.harness.documents import blocks
from tests.support.harness.waiting import until
from tests.support.processes.connections import answers, free_port
from tests.support.processes.gateway import running_gateway
from tests.support.processes.proxied import nginx_configuration, running_proxy
from tests.support.processes.servers import running_worker

from dejavu_common.address import Address

STREAM = b"GET /api/stream HTTP/1.1\r\nhost: dejavu.example\r\n\r\n"
UPGRADE = (
    b"GET /api/ws HTTP/1.1\r\nhost: dejavu.example\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"origin: http://dejavu.example\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PER_ADDRESS = 64
"""Requests in progress of an address in docs/watch.md."""
CONNECTIONS = 150
"""Connections of the gateway."""


class Nginx(NamedTuple):
    """nginx in front of a gateway of which an address may have many streams.

    Attributes:
        address: its address.
        proxied: its address for connections that begin with the address of their client (PROXY protocol).
    """

    address: Address
    proxied: Address


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    configured = {block.about: block.text for block in blocks("docs/watch.md", "nginx")}
    limits = ("--max-connections", str(CONNECTIONS), "--max-streams-per-address", "1000")
    options = ("--trusted-proxy", "127.0.0.1", "--host", "dejavu.example", *limits)
    with running_worker(folder / "server") as server, running_gateway(server, *options) as gateway:
        port, proxied = free_port(), free_port()
        here = configured["server"].replace("127.0.0.1:8080", gateway.address)
        real = f"listen 127.0.0.1:{proxied} proxy_protocol; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;"
        listening = f"listen 127.0.0.1:{port}; {real} {here}"
        file = folder / "nginx.conf"
        file.write_text(nginx_configuration(folder, configured["http"], listening, "master_process off;"))
        with running_proxy("nginx", file):
            address = Address("127.0.0.1", port)
            asyncio.run(until(lambda: answers(str(address))))
            yield Nginx(address, Address("127.0.0.1", proxied))


@pytest.fixture
def nginx(proxies: Nginx) -> Address:
    return proxies.address


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


def test_all_addresses_of_an_ipv6_network_are_one_viewer_however_they_are_written(proxies: Nginx) -> None:
    """Formerly, those whose third and fourth groups are 0 were a viewer each: nginx shortens them."""

    def proxied(source: str) -> socket.socket:
        connection = socket.create_connection(proxies.proxied, timeout=60)
        connection.sendall(f"PROXY TCP6 {source} 2a01:4f8::9 1000 443\r\n".encode() + STREAM)
        return connection

    with ExitStack() as stack:
        for number in range(PER_ADDRESS):
            connection = stack.enter_context(proxied(f"2a01:4f8::{number + 1:x}:2:3"))
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert stack.enter_context(proxied("2a01:4f8::ffff:2:3")).recv(12) == b"HTTP/1.1 429"
        assert stack.enter_context(proxied("2a01:4f8:0:1::1")).recv(12) == b"HTTP/1.1 200"


def test_ipv4_addresses_are_viewers_of_their_own_also_at_a_socket_of_both_families(proxies: Nginx) -> None:
    with ExitStack() as stack:
        for number in range(PER_ADDRESS + 1):
            connection = stack.enter_context(socket.create_connection(proxies.proxied, timeout=60))
            source = f"::ffff:192.0.2.{number + 1}"
            connection.sendall(f"PROXY TCP6 {source} 2a01:4f8::9 1000 443\r\n".encode() + STREAM)
            assert connection.recv(12) == b"HTTP/1.1 200"


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


HEAD = b"POST /api/predict HTTP/1.1\r\nhost: dejavu.example\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: identity\r\n\r\n",
        b"transfer-encoding\t: chunked\r\n\r\n0\r\n\r\n",
        b"content-length: 2\r\ncontent-length: 5\r\n\r\n{}",
        b"content-length: +2\r\n\r\n{}",
        b"x: a\r\n content-length: 2\r\n\r\n",
        b"x: a\rcontent-length: 2\r\n\r\n",
        b"x: a\ncontent-length: 2\r\n\r\n{}",
    ],
)
def test_no_request_reaches_the_gateway_within_another_one(nginx: Address, rest: bytes) -> None:
    """If both disagreed about the end of a request, its body would be a request that the proxy has not checked."""
    hidden = b"GET /metrics HTTP/1.1\r\nhost: dejavu.example\r\nconnection: close\r\n\r\n"
    with asked(nginx, HEAD + rest + hidden, "127.0.0.5") as connection:
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501 "))
    assert b"dejavu_dashboard_" not in received


def test_connections_without_a_whole_request_take_none_of_the_gateway(nginx: Address) -> None:
    begins = (b"", b"GET /api/st", HEAD + b"content-length: 9\r\n\r\n{")
    with ExitStack() as stack:
        for number in range(CONNECTIONS + 30):
            stack.enter_context(asked(nginx, begins[number % 3], f"127.0.1.{number % 10 + 1}"))
        for path in (b"/", b"/api/stream"):
            request = STREAM.replace(b"/api/stream", path)
            assert stack.enter_context(asked(nginx, request, "127.0.0.6")).recv(12) == b"HTTP/1.1 200"
