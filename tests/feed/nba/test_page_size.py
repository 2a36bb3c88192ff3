"""A page of the feed has a largest size, decompressed."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dejavu_feed.errors import FeedUnavailable
from dejavu_feed.nba import NbaFeed, http


class Compressed(BaseHTTPRequestHandler):
    """Answers with a megabyte of spaces, compressed to a thousandth."""

    def do_GET(self) -> None:
        body = gzip.compress(b" " * 2**20)
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Compressed) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_that_is_too_large_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_PAGE", 2**19)
    with NbaFeed(url) as feed, pytest.raises(FeedUnavailable, match="an answer of more than 524288 bytes"):
        feed.scoreboard()
