"""Debian's chromium, driven by Playwright, and helpers to inspect a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.harness.required import required_program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[3]
WEB = ROOT / "gateway/web"
ARGUMENTS = (
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run a browser without a window: the headless shell if available, whose tabs take a fraction of the CPU time."""
    from playwright.sync_api import sync_playwright  # imported late: it takes a third of a second

    shell = "chromium-headless-shell"
    path = shutil.which(shell) or required_program("chromium", f"{shell} or chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """A page of a browser, with its errors.

    Attributes:
        page: the page.
        origin: scheme, host and port of the gateway.
        errors: exceptions and errors of the console, such as violations of the content security policy.
        foreign: URLs of other hosts that it requested.
    """

    page: Page
    origin: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self, path: str, ready: str) -> None:
        """Open a path and wait until something is visible, the canvas of a chart too, which is drawn on screen only."""
        self.page.goto(self.origin + path)
        if (chart := ready.removesuffix(" canvas")) != ready:
            self.page.locator(chart).first.scroll_into_view_if_needed()
        self.page.wait_for_selector(ready, state="visible")

    def problem(self, key: str) -> str:
        """Wait until a problem is shown, and return its text."""
        shown = self.page.wait_for_selector(f'[data-problem="{key}"]', timeout=60_000)
        assert shown is not None
        return shown.inner_text()

    def until_well(self) -> None:
        """Wait until no problem is shown any more."""
        self.page.wait_for_selector("[data-problem]", state="detached", timeout=60_000)


@contextmanager
def tab(browser: Browser, origin: str, *, script: str = "", **options: Any) -> Iterator[Tab]:
    """Open a tab of its own in a browser.

    Args:
        browser: the browser.
        origin: scheme, host and port of the gateway.
        script: runs before the scripts of the page.
        options: for example `color_scheme` or `viewport`; see Browser.new_context.
    """
    context = browser.new_context(**{"reduced_motion": "reduce", **options})
    try:
        if script:
            context.add_init_script(script)
        page = context.new_page()
        opened = Tab(page, origin)
        page.on("pageerror", lambda error: opened.errors.append(str(error)))
        page.on("console", lambda message: opened.errors.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: None if request.url.startswith((origin, "data:")) else opened.foreign.append(request.url),
        )
        yield opened
    finally:
        context.close()
