"""HTTP server of both programs' /metrics; tests/server/observability tries it on IPv6."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable

import pytest

from dejavu_common import http_server
from dejavu_common.address import Address
from dejavu_common.http_server import serve_wsgi

StartResponse = Callable[[str, list[tuple[str, str]]], object]
ANY = Address("127.0.0.1", 0)


def hello(_: object, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def broken(_: object, start_response: StartResponse) -> Iterable[bytes]:
    raise ZeroDivisionError


def body(address: Address) -> bytes:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        content: bytes = response.read()
        return content


def test_a_client_that_sends_nothing_is_dropped_and_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server.ScrapeHandler, "timeout", 0.2)
    errors: list[BaseException] = []
    with serve_wsgi(hello, ANY, errors.append) as address, socket.create_connection(address, timeout=30) as silent:
        assert body(address) == b"hello"
        assert silent.recv(1) == b""
    assert errors == []


def test_a_failing_application_answers_500_and_the_next_scrape_is_served() -> None:
    with serve_wsgi(broken, ANY, lambda _: None) as address:
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError, match="500"):
                body(address)
