"""The reference of the interface: a viewer that asks nobody else, within the page's policy, with requests to try."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.processes.browser import Tab, tab
from tests.web.conftest import Evening

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GET, POST = "#operations-Operations-status", "#operations-Forecasts-Predict"


def test_a_request_is_tried_and_nothing_is_asked_of_others(opened: Tab) -> None:
    opened.open("/docs", GET)
    for operation in (GET, POST):
        part = opened.page.locator(operation)
        part.locator(".opblock-summary-control").click()
        part.locator("button.execute").click()
        status = part.locator(".live-responses-table tbody .response-col_status").first
        status.wait_for()
        assert status.inner_text().split()[0] == "200"
    answer = json.loads(opened.page.locator(f"{POST} .live-responses-table .microlight").first.inner_text())
    assert answer["forecast"]["homeTeam"] == "BOS"
    assert (opened.errors, opened.foreign) == ([], [])


def test_the_reference_has_the_policy_of_the_page(evening: Evening) -> None:
    reference, page = (httpx.get(f"{evening.origin}{path}") for path in ("/docs", "/healthz"))
    assert reference.headers["content-security-policy"] == page.headers["content-security-policy"]
    assert "unsafe" not in reference.headers["content-security-policy"]


@pytest.mark.nightly
@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1440, "light"), (1440, "dark")])
def test_the_reference_fits_its_window(browser: Browser, evening: Evening, width: int, theme: str) -> None:
    size = {"width": width, "height": 900}
    with tab(browser, evening.origin, color_scheme=theme, viewport=size) as opened:
        opened.open("/docs", GET)
        assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert opened.errors == []
