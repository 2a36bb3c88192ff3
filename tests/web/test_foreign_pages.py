"""A page of another site, in a real browser: what it reads of a gateway that names its site, and of another one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.processes.browser import tab
from tests.support.processes.gateway import running_gateway
from tests.web.conftest import COURSE, OVER, Evening

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TRIALS = """async ([gateway, game, pattern]) => {
  const tried = (work) => work.catch((error) => error.name);
  const post = (body) => tried(fetch(gateway + "/api/predict", {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  }).then(async (answer) => answer.ok ? "forecast" : (await answer.json()).error.reason));
  const heard = (source, event) => new Promise((resolve) => {
    source.addEventListener(event, () => { source.close(); resolve("heard"); });
    source.onerror = () => { source.close(); resolve("refused"); };
  });
  const [answer, other] = [`/api/games/${game}`, "/metrics"].map((path) => tried(fetch(gateway + path).then(
    async (got) => `${got.status} ${Boolean(got.headers.get("x-request-id"))} ${(await got.text()).includes(game)}`)));
  return {
    answer: await answer,
    missing: await tried(fetch(gateway + "/api/games/1").then(async (got) => (await got.json()).error.reason)),
    with_cookies: await tried(fetch(gateway + "/api/status", { credentials: "include" }).then((got) => got.status)),
    of_the_operator: await other,
    stream: await heard(new EventSource(gateway + "/api/stream"), "position"),
    socket: await heard(new WebSocket(gateway.replace("http", "ws") + "/api/ws"), "message"),
    what_if: await post({ pattern, horizon: "HORIZON_FINAL" }),
    recorded: await post({ pattern, horizon: "HORIZON_FINAL", gameId: "9900000077" }),
    deleted: await tried(fetch(gateway + "/api/status", { method: "DELETE" }).then((got) => got.status)),
  };
}"""
"""Requests that the page makes; a TypeError is what a browser raises for an answer that a page may not read."""

ALLOWED = {
    "answer": "200 true true",
    "missing": "INVALID_REQUEST",
    "with_cookies": "TypeError",
    "of_the_operator": "TypeError",
    "stream": "heard",
    "socket": "heard",
    "what_if": "forecast",
    "recorded": "RECORDING_NOT_ALLOWED",
    "deleted": "TypeError",
}
REFUSED = dict.fromkeys(ALLOWED, "TypeError") | {"stream": "refused", "socket": "refused"}


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another site</title>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The origin of another site: one of another port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("allows", "found"), [(("--allow-origin", "SITE/"), ALLOWED), (("--allow-origin", "https://else.example"), REFUSED)]
)
def test_a_page_of_another_site_reads_what_it_may_if_its_site_is_named(
    browser: Browser, evening: Evening, site: str, allows: tuple[str, str], found: dict[str, str]
) -> None:
    """Also where the page of the gateway itself may have forecasts recorded."""
    options = ("--demo", "--allow-record", *(each.replace("SITE", site) for each in allows))
    with running_gateway(evening.server, *options) as gateway, tab(browser, site) as opened:
        opened.page.goto(site)
        origin = f"http://{gateway.address}"
        assert opened.page.evaluate(TRIALS, [origin, OVER, COURSE[:6]]) == found
        answer = httpx.get(f"{origin}/api/games", headers={"origin": site}, timeout=60)
        assert "origin" in answer.headers["vary"], "a cache keeps the answers to several sites apart"
        assert "access-control-allow-credentials" not in answer.headers


def test_every_site_is_allowed_only_where_that_is_written(evening: Evening, site: str) -> None:
    for options, allowed in (((), None), (("--allow-origin", "*"), "*")):
        with running_gateway(evening.server, *options) as gateway:
            for origin in (site, "null"):
                answer = httpx.get(f"http://{gateway.address}/api/games", headers={"origin": origin}, timeout=60)
                assert answer.headers.get("access-control-allow-origin") == allowed
