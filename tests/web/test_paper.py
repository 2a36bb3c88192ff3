"""What is printed: every chart, also those that were never on screen, whole tables, in light colors."""

from __future__ import annotations

from playwright.sync_api import Browser
from tests.support.processes.browser import tab
from tests.web.conftest import MINUTES, OVER, Evening
from tests.web.test_pages import COLORS

CLIPPED = "each => each.scrollHeight > each.clientHeight + 1 || each.scrollWidth > each.clientWidth + 1"


def test_paper_has_every_chart_and_whole_tables_in_light_colors(browser: Browser, evening: Evening) -> None:
    with tab(browser, evening.origin, color_scheme="dark", viewport={"width": 700, "height": 800}) as opened:
        page = opened.page
        with page.expect_response(lambda answer: "/assets/library-" in answer.url):
            opened.open(f"/game/{OVER}?minute=12", ".chart canvas")
        charts = page.locator(".chart")
        assert charts.count() == 3
        assert page.locator(".chart canvas").count() < 3, "those below have not been drawn yet"
        page.locator(".figure").first.get_by_role("button", name="Show as table").click()
        page.emulate_media(media="print")
        page.locator(".chart canvas").nth(2).wait_for()
        page.locator("html[data-theme=light]").wait_for()
        for place in range(3):
            assert charts.nth(place).locator("canvas").evaluate(COLORS) > 20
        rows = page.locator(".figure").first.locator("tbody tr")
        assert rows.count() == 2 * len(MINUTES)
        assert not any(table.evaluate(CLIPPED) for table in page.locator(".table-scroll").all())
        assert not page.get_by_role("button", name="Hide table").is_visible()
        page.emulate_media(media="screen")
        page.locator("html[data-theme=dark]").wait_for()


def test_printing_draws_before_the_paper_is_made(browser: Browser, evening: Evening) -> None:
    """A program that prints has no time to wait between the event and the paper."""
    with tab(browser, evening.origin, viewport={"width": 700, "height": 800}) as opened:
        page = opened.page
        opened.open(f"/game/{OVER}?minute=12", ".chart canvas")
        drawn = page.evaluate(
            """async () => {
              dispatchEvent(new Event("beforeprint"));
              await null; // the library draws in a microtask
              return document.querySelectorAll(".chart canvas").length;
            }"""
        )
        assert drawn == 3
