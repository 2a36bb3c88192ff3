"""The page says in words what is wrong, and is well again by itself."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route
from tests.support.processes.browser import tab
from tests.support.processes.gateway import SilencingRelay, spawned_gateway
from tests.support.processes.restartable_server import Restartable, restartable_server
from tests.support.processes.servers import SpawnedServer
from tests.web.conftest import COURSE, IN_PLAY, Evening

from dejavu_client import FINAL, DejavuClient

SKEWED_CLOCK = """
const now = Date.now.bind(Date);
Date.now = () => now() + 10 * 60 * 1000;
"""

MOVABLE_CLOCK = """
const now = Date.now.bind(Date);
window.passed = 0;
Date.now = () => now() + window.passed;
"""

HIDING = """
window.hidden = false;
Object.defineProperty(document, "hidden", { get: () => window.hidden });
window.hide = (hidden) => {
  window.hidden = hidden;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""


def changed_status(**changes: object) -> Callable[[Route], None]:
    """Returns a handler of requests for the status, which changes fields of the gateway's answer."""

    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=json.dumps(response.json() | changes))

    return answer


def test_a_server_that_is_gone_is_named_until_it_is_back(browser: Browser, tmp_path: Path) -> None:
    with (
        restartable_server(tmp_path / "ledger.sqlite3") as server,
        gateway_of(server) as gateway,
        tab(browser, f"http://{gateway.address}") as opened,
    ):
        opened.open("/", ".pending")
        opened.until_well()
        server.server.process.send_signal(signal.SIGKILL)
        server.server.exit_code()
        assert "The forecast server does not answer." in opened.problem("SERVER_GONE")
        server.start_again()
        opened.until_well()


def test_a_gateway_that_was_killed_is_named_and_nothing_is_missed(browser: Browser, tmp_path: Path) -> None:
    with restartable_server(tmp_path / "ledger.sqlite3") as server, ExitStack() as gateways:
        first = gateways.enter_context(gateway_of(server))
        address = first.address
        with DejavuClient(server.address) as client, tab(browser, f"http://{address}") as opened:
            opened.open("/", ".pending")
            forecast(client, 6)
            shown = f'[data-game="{IN_PLAY}"]'
            opened.page.wait_for_selector(f"{shown}:has-text('after 6 min')")
            os.kill(first.process.pid, signal.SIGKILL)
            first.exit_code()
            assert "The page has lost its server." in opened.problem("page")
            forecast(client, 7)
            gateways.enter_context(gateway_of(server, "--listen", address))
            opened.page.wait_for_selector(f"{shown}:has-text('after 7 min')", timeout=60_000)
            opened.until_well()


def test_a_stream_that_fell_silent_without_an_end_is_opened_anew(browser: Browser, tmp_path: Path) -> None:
    with (
        restartable_server(tmp_path / "ledger.sqlite3") as server,
        gateway_of(server) as gateway,
        SilencingRelay(str(gateway.address)) as relay,
        DejavuClient(server.address) as client,
        tab(browser, f"http://{relay.address}", script=MOVABLE_CLOCK) as opened,
    ):
        opened.open("/", ".pending")
        forecast(client, 6)
        shown = f'[data-game="{IN_PLAY}"]'
        opened.page.wait_for_selector(f"{shown}:has-text('after 6 min')")
        relay.fall_silent()
        forecast(client, 7)
        with opened.page.expect_request(lambda request: "/api/stream?resume=" in request.url):
            opened.page.evaluate("window.passed = 31000; dispatchEvent(new Event('online'))")
        opened.page.wait_for_selector(f"{shown}:has-text('after 7 min')")
        opened.page.evaluate("window.passed = 0; dispatchEvent(new Event('online'))")
        opened.until_well()


def forecast(client: DejavuClient, minute: int) -> None:
    client.predict(COURSE[:minute], game_id=IN_PLAY, horizon=FINAL, home_team="DEN", away_team="MIA", timeout=30)


@contextmanager
def gateway_of(server: Restartable, *args: str) -> Iterator[SpawnedServer]:
    with spawned_gateway("--target", server.address, "--demo", *args) as gateway:
        gateway.wait_for("status_changed", lambda entry: entry["reason"] == "OK")
        yield gateway


def test_a_wrong_clock_is_named_and_ages_follow_the_server(browser: Browser, evening: Evening) -> None:
    with tab(browser, evening.origin, script=SKEWED_CLOCK) as opened:
        opened.open("/", f'[data-game="{IN_PLAY}"]')
        assert "10 min ahead" in opened.problem("skew") or "9 min ahead" in opened.problem("skew")
        badge = opened.page.locator(f'[data-game="{IN_PLAY}"] .badge[data-state]')
        assert badge.get_attribute("data-state") == "live"


def test_a_tab_that_nobody_sees_resumes_where_it_was(browser: Browser, tmp_path: Path) -> None:
    with (
        restartable_server(tmp_path / "ledger.sqlite3") as server,
        gateway_of(server) as gateway,
        DejavuClient(server.address) as client,
        tab(browser, f"http://{gateway.address}", script=HIDING) as opened,
    ):
        opened.open("/", ".pending")
        forecast(client, 6)
        shown = f'[data-game="{IN_PLAY}"]'
        opened.page.wait_for_selector(f"{shown}:has-text('after 6 min')")
        opened.page.evaluate("window.hide(true)")
        forecast(client, 7)
        assert "after 6 min" in opened.page.locator(shown).inner_text()
        with opened.page.expect_request(lambda request: "/api/stream?resume=" in request.url):
            opened.page.evaluate("window.hide(false)")
        opened.page.wait_for_selector(f"{shown}:has-text('after 7 min')")


GONE: dict[str, object] = {
    "reason": "SERVER_GONE",
    "message": "The server cannot be reached.",
    "serving": False,
    "streaming": False,
    "ledger": {"ok": False, "message": ""},
}


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"reason": "TOKEN_REJECTED", "message": "The token expired."}, "TOKEN_REJECTED", "The token expired."),
        ({"reason": "STREAM_BROKEN", "streaming": False}, "STREAM_BROKEN", "is interrupted"),
        ({"ledger": {"ok": False, "message": "No disk."}, "reason": "LEDGER_BROKEN"}, "ledger", "No disk."),
        (GONE, "SERVER_GONE", "cannot be reached"),
    ],
)
def test_what_the_gateway_finds_wrong_is_shown_until_it_is_right_and_nothing_is_called_live(
    browser: Browser, evening: Evening, changes: dict[str, object], key: str, words: str
) -> None:
    with tab(browser, evening.origin) as opened:
        opened.page.route("**/api/status", changed_status(**changes))
        opened.open("/system", ".model")
        opened.page.evaluate("dispatchEvent(new Event('online'))")  # asks for the status at once
        assert words in opened.problem(key)
        assert opened.page.locator("[data-problem]").count() == 1
        link = opened.page.locator(".connection")
        assert link.get_attribute("data-state") == "broken"
        assert link.inner_text() != "live"
        opened.page.unroute("**/api/status")
        opened.page.evaluate("dispatchEvent(new Event('online'))")
        opened.until_well()
        opened.page.wait_for_selector('.connection[data-state="live"]')


def test_a_ledger_is_not_called_broken_when_the_server_is_gone(browser: Browser, evening: Evening) -> None:
    with tab(browser, evening.origin) as opened:
        opened.page.route("**/api/status", changed_status(**GONE))
        opened.open("/system", ".model")
        opened.page.evaluate("dispatchEvent(new Event('online'))")
        opened.problem("SERVER_GONE")
        ledger = opened.page.locator(".checks > div", has_text="Ledger").first.inner_text()
        assert "not known: the server cannot be reached" in ledger


def test_a_quiet_feed_turns_the_badge(browser: Browser, evening: Evening) -> None:
    with tab(browser, evening.origin) as opened:
        later = datetime.now(UTC) + timedelta(minutes=6)
        opened.page.route("**/api/status", changed_status(serverTime=later.isoformat()))
        opened.open("/", f'[data-game="{IN_PLAY}"]')
        opened.page.evaluate("dispatchEvent(new Event('online'))")
        opened.page.wait_for_selector(f'[data-game="{IN_PLAY}"] .badge[data-state="stale"]')
        assert "The feed is quiet." in opened.problem("quiet")


PRUNED = {"throughSequence": "12345", "recordedBefore": "2026-07-01T09:00:00Z", "prunedTime": "2026-09-15T08:00:00Z"}


def test_a_record_that_was_pruned_says_from_when_on_it_reaches(browser: Browser, evening: Evening) -> None:
    def pruned(route: Route) -> None:
        response = route.fetch()
        body = {name: {**value, "pruned": PRUNED} for name, value in response.json().items()}
        route.fulfill(response=response, body=json.dumps(body))

    with tab(browser, evening.origin) as opened:
        for path in ("scorecard", "checkpoint"):
            opened.page.route(f"**/api/{path}*", pruned)
        opened.open("/record", ".stats")
        said = opened.page.locator(".record-start").inner_text()
        assert said.startswith("This record reaches back to Wednesday, July 1, 2026.")
        assert "Tuesday, September 15, 2026" in said
        opened.page.get_by_text("Entries up to 12,345 were removed.").wait_for()
        for path in ("/?date=2026-03-02", "/game/0022500001"):
            opened.open(path, ".record-start")
            text = opened.page.locator("main").inner_text()
            assert "reaches back to Wednesday, July 1, 2026" in text
            assert "missing" not in text
        assert not opened.page.locator("[role=alert], [data-problem]").count()
