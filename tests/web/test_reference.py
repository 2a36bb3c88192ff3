"""The page of the interface: small, without scripts, and as wide as its window."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.support.processes.browser import tab
from tests.web.conftest import Evening

from dejavu_gateway.api.pages import REFERENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_it_has_at_most_40_kb_and_no_script() -> None:
    page = REFERENCE.read_text()
    assert len(page.encode()) <= 40_000
    assert not re.search(r"<script|\son\w+=|\sstyle=|url\(|@import", page)


def test_each_message_that_it_names_is_on_it() -> None:
    page = REFERENCE.read_text()
    assert set(re.findall('href="?#(\\w+)', page)) <= set(re.findall(r"\sid=(\w+)", page))


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1440, "light")])
def test_it_fits_its_window_in_the_colors_of_the_page(
    browser: Browser, evening: Evening, width: int, theme: str
) -> None:
    size = {"width": width, "height": 900}
    with tab(browser, evening.origin, color_scheme=theme, viewport=size) as opened:
        opened.open("/docs", "#Forecast")
        assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        opened.open("/system", "main")
        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
        assert (opened.errors, opened.foreign) == ([], [])
