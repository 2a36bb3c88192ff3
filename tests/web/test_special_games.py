"""Special games: at their last minute, in overtime, with or without moments, late forecasts only, or swapped teams."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.support.processes.browser import Tab
from tests.support.processes.gateway import running_gateway
from tests.support.processes.servers import running_worker
from tests.web.conftest import Evening
from tests.web.test_numbers import assert_percent
from tests.web.test_problems import changed_status

from dejavu_client import FINAL, DejavuClient, Moment
from dejavu_common.clock import game_day, utc_now
from dejavu_feed.game_ids import seasons_on
from dejavu_feed.live_inputs import Possession, Side

if TYPE_CHECKING:
    from playwright.sync_api import Page

GAME, FINISHED, SWAPPED, OVERTIME, WATCHED = (f"990000000{number}" for number in range(3, 8))
YESTERDAY = game_day(utc_now()) - timedelta(days=1)
LATE = f"002{(seasons_on(YESTERDAY)[0] - 1) % 100:02}00061"
COURSE = [(7 * minute) % 5 for minute in range(1, 48)]
MOMENTS = (Moment(4, 42.5, 1, 2), Moment(4, 42.5, 2, 1), Moment(5, 300.0, 0), Moment(5, 130.5, -2))
BALL = Possession(Side.HOME)


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    folder = tmp_path_factory.mktemp("server")
    with running_worker(folder, shipped=True) as server, DejavuClient(server, timeout=60.0) as client:
        for game_id in (GAME, FINISHED):
            for minute in (46, 47):
                client.predict(COURSE[:minute], game_id=game_id, horizon=FINAL, home_team="DET", away_team="NYK")
        client.report_outcome(FINISHED, 3, horizon=FINAL, overtimes=1)
        for minute in (*range(6, 48, 6), 47):
            client.predict(COURSE[:minute], game_id=WATCHED, horizon=FINAL, home_team="BOS", away_team="LAL")
        client.report_outcome(WATCHED, -4, horizon=FINAL)
        for minute in (45, 46, 47):
            client.predict(COURSE[:minute], game_id=OVERTIME, horizon=FINAL, home_team="BOS", away_team="LAL")
        for each in MOMENTS:
            client.predict(
                COURSE, game_id=OVERTIME, horizon=FINAL, home_team="BOS", away_team="LAL", moment=each, possession=BALL
            )
        for minute, home, away in ((30, "DEN", "UTA"), (31, "UTA", "DEN")):
            client.predict([5.0] * minute, game_id=SWAPPED, horizon=FINAL, home_team=home, away_team=away)
        assert client.predict([7.0] * 47, game_id=LATE, horizon=FINAL, game_date=YESTERDAY).late
        with running_gateway(server, "--demo") as gateway:
            yield Evening(server, f"http://{gateway.address}")


@contextmanager
def later(opened: Tab, minutes: float) -> Iterator[Page]:
    """Show the page as it is some minutes later, by the server's clock."""
    time = datetime.now(UTC) + timedelta(minutes=minutes)
    opened.page.route("**/api/status", changed_status(serverTime=time.isoformat()))
    opened.page.evaluate("dispatchEvent(new Event('online'))")
    yield opened.page
    opened.page.unroute("**/api/status")


def test_a_game_that_is_over_tells_its_story(opened: Tab, evening: Evening) -> None:
    opened.open("/", f'[data-game="{WATCHED}"] .story')
    story = opened.page.locator(f'[data-game="{WATCHED}"] .story').inner_text()
    with DejavuClient(evening.server) as client:
        recorded = client.list_predictions(game_id=WATCHED, horizon=FINAL)
        lowest = min(1 - each.forecast.home_lead_probability for each in recorded)
    assert re.match(r"LAL won from .* at .*, \d points behind · decided at the very end", story), story
    assert_percent(story.removeprefix("LAL won from "), lowest)


def test_after_the_last_forecast_nothing_is_green_and_no_winner_is_forecast_in_overtime(opened: Tab) -> None:
    place = ".scoreboard"
    opened.open(f"/game/{GAME}", f"{place} .badge[data-state]")
    shown = opened.page.locator(place)
    with later(opened, 2) as page:
        page.wait_for_selector(f'{place} .badge[data-state="last"]')
        assert shown.locator(".badge[data-state]").inner_text() == "2 min ago"
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


def test_the_record_and_the_charts_know_the_overtime_afterwards(opened: Tab) -> None:
    opened.open("/", f'[data-game="{FINISHED}"]')
    assert "final, OT" in opened.page.locator(f'[data-game="{FINISHED}"]').inner_text()
    opened.open(f"/embed/game/{FINISHED}", ".embed-head")
    assert "DET +3 · final, OT" in opened.page.locator(".embed-head").inner_text()
    opened.open(f"/game/{FINISHED}", ".chart canvas")
    words = opened.page.locator("main").inner_text()
    assert "final, OT" in words
    assert "The game went to overtime, which has no forecasts" in words
    assert "At the end: DET +3 after overtime" in words
    assert "How it went" in words


def test_overtime_with_forecasts_of_moments_is_live_until_they_expire(opened: Tab) -> None:
    place = f'[data-game="{OVERTIME}"]'
    opened.open("/", f'{place} .badge[data-state="live"]')
    words = opened.page.locator(place).inner_text()
    assert "LAL +2" in words
    assert "OT 2:10.5" in words
    assert "no forecast" not in words
    assert "Seen before" not in words
    assert opened.page.locator(place).locator(".chance-number, .winbar, .chance-now").count() == 1
    with later(opened, 7) as page:
        page.wait_for_selector(f'{place} .badge[data-state="stale"]')
        assert "no forecast" not in page.locator(place).inner_text()


def test_a_game_is_followed_from_moment_to_moment(opened: Tab) -> None:
    opened.open(f"/game/{OVERTIME}", ".chart canvas")
    main = opened.page.locator("main")
    assert "The last two minutes, and overtime" in main.inner_text()
    assert "What moved the forecast before overtime" in main.inner_text()
    assert "Both sum to the forecast after minute 47." in main.inner_text()
    assert "as it was after minute 47, before overtime" in opened.page.locator(".dejavu").inner_text()
    assert "which has no forecasts" not in main.inner_text()
    back = opened.page.get_by_role("button", name="Earlier forecast")
    for text, address in (
        ("At OT 5:00", "minute=48"),
        ("At Q4 0:42.5", "minute=47.2917"),
        ("After minute 47", "minute=47"),
    ):
        back.click()
        opened.page.wait_for_selector(f".scrubber-text:has-text('{text}')")
        assert opened.page.url.endswith(f"?{address}")
    opened.open(f"/game/{OVERTIME}?minute=47.2917", ".scrubber-text:has-text('At Q4 0:42.5')")
    assert "BOS +2" in opened.page.locator(".scoreboard-now").inner_text()
    picture = opened.page.get_by_role("link", name="Picture of this moment").get_attribute("href")
    image = opened.page.request.get(f"{opened.page.url.split('/game/')[0]}{picture}").text()
    assert "at Q4 0:42.5: BOS +2" in image
    assert "Corrected plays" not in main.inner_text()


def test_a_minute_that_the_viewer_chose_is_shown_as_it_was(opened: Tab) -> None:
    opened.open(f"/game/{GAME}?minute=46", ".winbar")
    with later(opened, 7) as page:
        page.wait_for_selector('.scoreboard .badge[data-state="beyond"]')
        assert "DET wins" in page.locator(".winbar").inner_text()


def test_a_game_that_was_forecast_late_only_is_shown_without_a_score(opened: Tab) -> None:
    opened.open(f"/game/{LATE}", ".pending:not(:has-text('Loading'))")
    words = opened.page.inner_text("main")
    assert "All forecasts of this game were made late" in words
    assert "even" not in words
    assert "minute 0" not in words
    assert not opened.page.locator(".scoreboard, .embed-head").count()


@pytest.mark.parametrize("path", [f"/game/{SWAPPED}", f"/embed/game/{SWAPPED}"])
@pytest.mark.nightly
def test_the_lead_is_that_of_the_team_that_was_home_in_the_forecast_that_is_shown(opened: Tab, path: str) -> None:
    for query, leader in (("", "UTA"), ("?minute=30", "DEN")):
        opened.open(path + query, ".winbar, .chance-now")
        assert f"{leader} +5" in opened.page.inner_text("main")
