"""The NBA's CDN answers 403 to requests without a Referer of nba.com since May 2026 (nba_api issue 670)."""

from __future__ import annotations

import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from packaging.requirements import Requirement
from tests.support.harness.documents import ROOT

from dejavu_feed.nba import NbaFeed


class _AsksForReferer(BaseHTTPRequestHandler):
    """Answers as the CDN does."""

    def do_GET(self) -> None:
        known = self.headers.get("Referer", "").startswith("https://www.nba.com")
        self.send_response(200 if known else 403)
        self.end_headers()
        self.wfile.write(b'{"scoreboard": {"games": []}}' if known else b"Access Denied")

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def test_the_live_feed_sends_the_referer_that_the_nba_asks_for() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _AsksForReferer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            with NbaFeed(f"http://127.0.0.1:{server.server_port}") as feed:
                assert feed.scoreboard().games == ()
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("extra", ["live", "trainer"])
def test_no_release_of_nba_api_without_the_referer_is_installed(extra: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    [bound] = [each for each in map(Requirement, extras[extra]) if each.name == "nba_api"]
    assert "1.11.5" not in bound.specifier
    assert "1.11.6" in bound.specifier, "the first release that sends it"
