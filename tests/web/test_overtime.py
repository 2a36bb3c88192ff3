"""The last minute and overtime have no forecast, and the page, the board and an embedded chart say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page
from tests.support.processes.browser import Tab, tab
from tests.support.processes.gateway import spawned_gateway
from tests.support.processes.servers import running_worker
from tests.web.conftest import Evening
from tests.web.test_problems import changed_status

from dejavu_client import FINAL, DejavuClient

GAME, FINISHED = "9900000003", "9900000004"
COURSE = [(7 * minute) % 5 for minute in range(1, 48)]
PLACES = {"/": f'[data-game="{GAME}"]', f"/game/{GAME}": ".scoreboard", f"/embed/game/{GAME}": ".embed"}


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    with running_worker(tmp_path_factory.mktemp("server"), shipped=True) as server, DejavuClient(server) as client:
        for game_id in (GAME, FINISHED):
            for minute in (46, 47):
                client.predict(
                    COURSE[:minute], game_id=game_id, horizon=FINAL, home_team="DET", away_team="NYK", timeout=30
                )
        client.report_outcome(FINISHED, 3, horizon=FINAL, overtimes=1, timeout=30)
        with spawned_gateway("--target", server, "--demo") as gateway:
            gateway.wait_for("status_changed", lambda entry: entry["reason"] == "OK")
            yield Evening(server, f"http://{gateway.address}")


@contextmanager
def later(opened: Tab, minutes: float) -> Iterator[Page]:
    """Shows the page as it is some minutes later, by the server's clock."""
    time = datetime.now(UTC) + timedelta(minutes=minutes)
    opened.page.route("**/api/status", changed_status(serverTime=time.isoformat()))
    opened.page.evaluate("dispatchEvent(new Event('online'))")
    yield opened.page
    opened.page.unroute("**/api/status")


@pytest.mark.parametrize(("path", "place"), PLACES.items())
def test_after_the_last_forecast_nothing_is_green_and_no_winner_is_forecast_in_overtime(
    browser: Browser, evening: Evening, path: str, place: str
) -> None:
    with tab(browser, evening.origin) as opened:
        opened.open(path, f"{place} .badge[data-state]")
        shown = opened.page.locator(place)
        with later(opened, 2) as page:
            page.wait_for_selector(f'{place} .badge[data-state="last"]')
            assert shown.locator(".badge[data-state]").inner_text() == "2 min ago"
            green, badge = page.evaluate(
                "badge => [getComputedStyle(document.documentElement).getPropertyValue('--good'),"
                " getComputedStyle(document.querySelector(badge)).color]",
                f"{place} .badge[data-state]",
            )
            assert badge == "rgb(86, 93, 106)", f"grey, not {green}"
        with later(opened, 7) as page:
            page.wait_for_selector(f'{place} .badge[data-state="beyond"]')
            words = shown.inner_text()
            assert "last minute or overtime" in words.lower()
            assert "no forecast" in words
            assert not shown.locator(".chance-number, .winbar, .chance-now").count()
            assert shown.locator(".no-forecast").count() == 1
        with later(opened, 121) as page:
            page.wait_for_selector(f'{place} .badge[data-state="unreported"]')
            assert "overtime" not in shown.inner_text().lower()


def test_the_record_and_the_charts_know_the_overtime_afterwards(browser: Browser, evening: Evening) -> None:
    with tab(browser, evening.origin) as opened:
        opened.open("/", f'[data-game="{FINISHED}"]')
        assert "final, OT" in opened.page.locator(f'[data-game="{FINISHED}"]').inner_text()
        opened.open(f"/embed/game/{FINISHED}", ".embed-head")
        assert "DET +3 · final, OT" in opened.page.locator(".embed-head").inner_text()
        opened.open(f"/game/{FINISHED}", ".chart canvas")
        words = opened.page.locator("main").inner_text()
        assert "final, OT" in words
        assert "The game went to overtime, which has no forecasts" in words
        assert "The end came out DET +3 after overtime." in words


def test_a_minute_that_the_viewer_chose_is_shown_as_it_was(browser: Browser, evening: Evening) -> None:
    with tab(browser, evening.origin) as opened:
        opened.open(f"/game/{GAME}?minute=46", ".winbar")
        with later(opened, 7) as page:
            page.wait_for_selector('.scoreboard .badge[data-state="beyond"]')
            assert "DET wins" in page.locator(".winbar").inner_text()
