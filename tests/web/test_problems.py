"""The page says in words what is wrong, and is well again by itself."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.processes.browser import Tab, tab
from tests.support.processes.gateway import running_gateway
from tests.support.processes.restartable_server import Restartable, restartable_server
from tests.support.processes.servers import SpawnedServer
from tests.web.conftest import COURSE, IN_PLAY, Evening, running_evening

from dejavu_client import FINAL, DejavuClient

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route


HIDING = """
window.hidden = false;
Object.defineProperty(document, "hidden", { get: () => window.hidden });
window.hide = (hidden) => {
  window.hidden = hidden;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""


def changed_status(**changes: object) -> Callable[[Route], None]:
    """Return a handler of requests for the status, which changes fields of the gateway's answer."""

    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=json.dumps(response.json() | changes))

    return answer


@pytest.mark.nightly
def test_a_gateway_or_server_that_is_gone_is_named_until_it_is_back_and_nothing_is_missed(
    browser: Browser, tmp_path: Path
) -> None:
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
            server.server.process.send_signal(signal.SIGKILL)
            server.server.exit_code()
            named = opened.page.wait_for_selector("[data-problem]")  # at once, and no other part before it
            assert named is not None
            assert "The forecast server does not answer." in named.inner_text()
            server.start_again()
            opened.until_well()


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    """An evening to which these tests add games."""
    with running_evening(tmp_path_factory.mktemp("server")) as running:
        yield running


SILENCED, HIDDEN = "9900000011", "9900000012"
"""Games of their own: a game's minutes only rise, in whichever order tests run."""


SKEWED_CLOCK = """
const now = Date.now.bind(Date);
Date.now = () => now() + 10 * 60 * 1000;
"""


def test_a_tab_that_nobody_sees_resumes_where_it_was(browser: Browser, evening: Evening) -> None:
    with DejavuClient(evening.server) as client, tab(browser, evening.origin, script=HIDING) as opened:
        forecast(client, 8, HIDDEN)
        shown = f'[data-game="{HIDDEN}"]'
        opened.open("/", f"{shown}:has-text('after 8 min')")
        opened.page.evaluate("window.hide(true)")
        forecast(client, 9, HIDDEN)
        assert "after 8 min" in opened.page.locator(shown).inner_text()
        with opened.page.expect_request(lambda request: "/api/stream?resume=" in request.url):
            opened.page.evaluate("window.hide(false)")
        opened.page.wait_for_selector(f"{shown}:has-text('after 9 min')")


def forecast(client: DejavuClient, minute: int, game_id: str = IN_PLAY) -> None:
    client.predict(COURSE[:minute], game_id=game_id, horizon=FINAL, home_team="DEN", away_team="MIA", timeout=30)


@contextmanager
def gateway_of(server: Restartable, *args: str) -> Iterator[SpawnedServer]:
    with running_gateway(server.address, "--demo", *args) as gateway:
        yield gateway


@pytest.mark.nightly
def test_a_wrong_clock_is_named_and_ages_follow_the_server(browser: Browser, evening: Evening) -> None:
    with tab(browser, evening.origin, script=SKEWED_CLOCK) as opened:
        opened.open("/", f'[data-game="{IN_PLAY}"]')
        assert "10 min ahead" in opened.problem("skew") or "9 min ahead" in opened.problem("skew")
        badge = opened.page.locator(f'[data-game="{IN_PLAY}"] .badge[data-state]')
        assert badge.get_attribute("data-state") == "live"


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
        pytest.param(
            *({"reason": "STREAM_BROKEN", "streaming": False}, "STREAM_BROKEN", "is interrupted"),
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            *({"ledger": {"ok": False, "message": "No disk."}, "reason": "LEDGER_BROKEN"}, "LEDGER_BROKEN", "No disk."),
            marks=pytest.mark.nightly,
        ),
        (GONE, "SERVER_GONE", "cannot be reached"),
    ],
)
def test_what_the_gateway_finds_wrong_is_shown_until_it_is_right_and_nothing_is_called_live(
    opened: Tab, changes: dict[str, object], key: str, words: str
) -> None:
    opened.page.route("**/api/status", changed_status(**changes))
    opened.open("/system", ".model")
    opened.page.evaluate("dispatchEvent(new Event('online'))")  # asks for the status at once
    assert words in opened.problem(key)
    assert opened.page.locator("[data-problem]").count() == 1
    link = opened.page.locator(".connection")
    assert link.get_attribute("data-state") == "broken"
    assert link.inner_text() != "live"
    if key == "SERVER_GONE":
        ledger = opened.page.locator(".checks > div", has_text="Ledger").first.inner_text()
        assert "not known: the server cannot be reached" in ledger
    opened.page.unroute("**/api/status")
    opened.page.evaluate("dispatchEvent(new Event('online'))")
    opened.until_well()
    opened.page.wait_for_selector('.connection[data-state="live"]')


def test_a_quiet_feed_turns_the_badge(opened: Tab) -> None:
    later = datetime.now(UTC) + timedelta(minutes=6)
    opened.page.route("**/api/status", changed_status(serverTime=later.isoformat()))
    opened.open("/", f'[data-game="{IN_PLAY}"]')
    opened.page.evaluate("dispatchEvent(new Event('online'))")
    opened.page.wait_for_selector(f'[data-game="{IN_PLAY}"] .badge[data-state="stale"]')
    assert "The feed is quiet." in opened.problem("quiet")


@pytest.mark.parametrize(
    ("observed", "published", "key", "title"),
    [(90, 5, "feed", "The feed is gone."), (90, 90, "poller", "The poller is gone.")],
)
def test_of_games_in_play_the_part_that_is_gone_is_named(
    opened: Tab, observed: int, published: int, key: str, title: str
) -> None:
    def with_state(route: Route) -> None:
        response = route.fetch()
        day, now = response.json(), datetime.now(UTC)
        for game in day["games"]:
            state = {name: game[name] for name in ("gameId", "homeTeam", "awayTeam")}
            ages = {"observedTime": observed, "publishedTime": published}
            times = {name: (now - timedelta(seconds=age)).isoformat() for name, age in ages.items()}
            game["state"] = {**state, **times, "status": "GAME_STATUS_LIVE", "period": 2, "secondsLeft": 120}
        route.fulfill(response=response, body=json.dumps(day))

    opened.page.route("**/api/games?*", with_state)
    opened.open("/", f'[data-game="{IN_PLAY}"]')
    assert title in opened.problem(key)
    assert opened.page.locator("[data-problem]").count() == 1
    opened.page.wait_for_selector('.connection[data-state="broken"]')
    assert opened.page.locator(".connection").inner_text() == f"no {key}"
    assert opened.page.locator('.badge[data-state="live"]').count() == 0, "nothing is green"
