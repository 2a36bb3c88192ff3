"""Every page in a real browser: painted, accessible, fitting every screen, and without requests to other hosts."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.harness.laws import NIGHTLY
from tests.support.processes.browser import WEB, Tab, tab
from tests.web.conftest import IN_PLAY, MINUTES, OVER, Evening
from tests.web.test_problems import HIDING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ViewportSize

PAGES = {
    "/": ".game-card",
    f"/game/{IN_PLAY}": ".chart canvas",
    f"/game/{OVER}?minute=12": ".chart canvas",
    "/record": ".stats",
    "/what-if": '[data-answer="point"]',
    "/system": ".model",
    "/models": ".stack table",
    "/overlay": ".preview iframe",
    "/board": ".tv-game .air",
    "/help": "#crps",
    f"/embed/game/{OVER}": ".chart canvas",
    "/game/no-such-game": "h1",
}
"""Path → what is visible once it is ready."""

BY_DAY = ("/", f"/game/{OVER}?minute=12", "/record", "/overlay", "/help")
"""Pages that axe checks by day: cards, charts with their tables, and forms."""

AXE = WEB / "node_modules/axe-core/axe.min.js"

LAPTOP: ViewportSize = {"width": 1280, "height": 720}

COLORS = """canvas => {
  const { width, height } = canvas;
  const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, width, height).data.buffer);
  return new Set(pixels).size;
}"""


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), pytest.param(3840, "dark", marks=pytest.mark.nightly)])
def test_pages_fit_the_screen_ask_nobody_else_raise_no_error_and_leave_axe_nothing_to_find(
    browser: Browser, evening: Evening, width: int, scheme: str
) -> None:
    """Axe checks a page at the width of a laptop, with its tables shown."""
    has_axe = AXE.is_file()
    assert has_axe or os.environ.get("DEJAVU_CI") != "1", "axe-core is not installed"
    # Charts are drawn once they come on screen.
    screen: ViewportSize = {"width": width, "height": 900 if width < 3840 else 2160}
    found: dict[str, Any] = {}
    with tab(browser, evening.origin, color_scheme=scheme, viewport=screen) as opened:
        for path, ready in PAGES.items():
            opened.page.set_viewport_size(screen)
            opened.open(path, ready)
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert not opened.foreign, path
            assert not opened.errors, path
            if has_axe and (NIGHTLY or path in BY_DAY):
                opened.page.set_viewport_size(LAPTOP)
                found |= {f"{path}: {rule}": nodes for rule, nodes in violations(opened).items()}
    assert not found, json.dumps(found, indent=1)
    if not has_axe:
        pytest.skip("axe-core is not installed: run make web")


def violations(opened: Tab) -> dict[str, list[str]]:
    """Return the violations that axe finds on a page with its tables shown, by the name of the rule."""
    toggles = opened.page.get_by_role("button", name="Show as table")
    while toggles.count():
        toggles.first.click()
    # Not add_script_tag: the content security policy refuses inline scripts.
    opened.page.evaluate(AXE.read_text())
    found = opened.page.evaluate("axe.run().then(result => result.violations)")
    return {each["id"]: [node["html"][:200] for node in each["nodes"]] for each in found}


def test_a_word_leads_to_its_sentence(opened: Tab) -> None:
    opened.open("/record", ".stats .word")
    opened.page.get_by_role("link", name="CRPS").first.click()
    opened.page.wait_for_function("document.activeElement?.id === 'crps'")
    assert "error of a whole forecast" in opened.page.locator("#crps").inner_text()
    assert opened.page.url.endswith("/help#crps")
    assert opened.page.title() == "Help · Dejavu"


def test_charts_are_painted(opened: Tab) -> None:
    opened.open(f"/game/{OVER}?minute=12", ".chart canvas")
    charts = opened.page.locator(".chart")
    assert charts.count() == 3
    for place in range(3):
        canvas = charts.nth(place).locator("canvas")
        canvas.wait_for()
        assert canvas.evaluate(COLORS) > 20


def test_a_chart_is_read_with_pointer_finger_and_arrow_keys(browser: Browser, evening: Evening) -> None:
    with tab(browser, evening.origin, has_touch=True) as opened:
        opened.open(f"/game/{IN_PLAY}", ".figure:has-text('Who wins') canvas")
        frame = opened.page.locator(".figure:has-text('Who wins') .chart-frame").first
        chart, reading = frame.locator(".chart"), frame.locator(".reading")
        chart.scroll_into_view_if_needed()
        chart.hover()
        assert re.match(r"Q\d \d+:\d\d\s+\w", reading.inner_text())
        opened.page.mouse.move(1, 1)
        assert not reading.inner_text()
        chart.focus()
        opened.page.keyboard.press("End")
        assert reading.inner_text().startswith("Q2 2:00")
        assert re.search(r"\w{3} wins \d+ %", reading.inner_text())
        opened.page.keyboard.press("ArrowLeft")
        assert reading.inner_text().startswith("Q2 6:00")
        opened.page.keyboard.press("Escape")
        assert not reading.inner_text()
        chart.tap()
        assert reading.inner_text()
        assert not opened.errors


def test_a_past_game_is_named_where_it_is_pointed_at_and_told_where_it_is_chosen(opened: Tab) -> None:
    opened.open(f"/game/{IN_PLAY}", COURSES)
    rows = opened.page.locator(".dejavu-list button")
    names = rows.locator("strong").all_inner_texts()
    assert len(names) == 5
    assert opened.page.locator(".dejavu-story strong").inner_text() == f"{names[0]}."
    rows.nth(2).click()
    # The same forecast is loaded again when its tab is seen again.
    with opened.page.expect_response(lambda answer: answer.url.endswith(f"/api/games/{IN_PLAY}")) as loaded:
        opened.page.evaluate(HIDING)
        opened.page.evaluate("window.hide(true)")
        opened.page.evaluate("window.hide(false)")
    loaded.value.finished()
    opened.page.evaluate("() => new Promise(requestAnimationFrame)")
    assert opened.page.locator(".dejavu-story strong").inner_text() == f"{names[2]}."
    chart = opened.page.locator(".courses")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    ends = [dot.bounding_box() for dot in opened.page.locator(".course-end:not([data-own])").all()]
    assert box is not None
    for end in ends:
        assert end is not None
        opened.page.mouse.move(end["x"], end["y"] + end["height"] / 2)
        assert opened.page.locator(".readout").first.inner_text().split(" · ")[0] in names


COURSES = ".courses .course:not([data-own])"
"""Courses of past games."""


def test_a_chart_has_its_table(opened: Tab) -> None:
    opened.open(f"/game/{IN_PLAY}", ".chart canvas")
    figure = opened.page.locator(".figure").first
    figure.get_by_role("button", name="Show as table").click()
    rows = figure.locator("tbody tr")
    minutes = [row.locator("td").first.inner_text() for row in rows.all()]
    assert minutes == [str(minute) for minute in MINUTES for _ in range(2)]


def test_a_link_to_a_moment_shows_it_and_the_keyboard_moves_on(opened: Tab) -> None:
    opened.open(f"/game/{IN_PLAY}?minute=12", ".chart canvas")
    text = opened.page.locator(".scrubber-text")
    assert text.inner_text().startswith("After minute 12")
    opened.page.get_by_role("slider").focus()
    opened.page.keyboard.press("ArrowRight")
    assert text.inner_text().startswith("After minute 18")
    assert opened.page.url.endswith("?minute=18")
    opened.page.keyboard.press("End")  # the newest minute is followed
    assert text.inner_text().startswith("After minute 22")
    assert opened.page.url.endswith(f"/game/{IN_PLAY}")
