"""A server with a game in play and one that is over, a gateway of it, and a browser: one of each for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.processes.browser import Tab, running_browser, tab
from tests.support.processes.gateway import running_gateway
from tests.support.processes.servers import running_worker

from dejavu_client import FINAL, HALFTIME, DejavuClient

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OVER, IN_PLAY = "9900000001", "9900000002"
COURSE = (0, 2, 4, 3, 5, 7, 6, 4, 4, 6, 8, 9, 11, 10, 8, 7, 9, 11, 12, 10, 9, 13)
"""Differentials of both games, minute by minute."""
MINUTES = (6, 12, 18, 22)
HALF, END = 12, -4
"""Outcomes of the game that is over: the half as forecast, the end a surprise."""


@dataclass(frozen=True)
class Evening:
    """A server with two games, and the gateway that shows them.

    Attributes:
        server: HOST:PORT of the server.
        origin: scheme, host and port of the gateway.
    """

    server: str
    origin: str


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A browser; not for the session, as no test of another package may run in its event loop."""
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def warm_tab(browser: Browser, evening: Evening) -> Iterator[Tab]:
    with tab(browser, evening.origin) as opened:
        yield opened


@pytest.fixture
def opened(warm_tab: Tab) -> Iterator[Tab]:
    """A shared tab of the module, as if new, for tests that change nothing in it but its location.

    A new one costs a second of CPU, as it starts a process that loads and compiles the page again.
    """
    size = warm_tab.page.viewport_size
    assert size is not None
    warm_tab.errors.clear()
    warm_tab.foreign.clear()
    yield warm_tab
    warm_tab.page.goto("about:blank")  # cancels requests in progress
    warm_tab.page.unroute_all()
    warm_tab.page.set_viewport_size(size)


@pytest.fixture(scope="package")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    """An evening to which tests add nothing."""
    with running_evening(tmp_path_factory.mktemp("server")) as running:
        yield running


@contextmanager
def running_evening(folder: Path) -> Iterator[Evening]:
    """Run a server and a gateway with a game in play and one that is over."""
    with running_worker(folder, shipped=True) as server, DejavuClient(server) as client:
        for game_id, home, away in ((OVER, "BOS", "LAL"), (IN_PLAY, "DEN", "MIA")):
            for minute in MINUTES:
                for horizon in (HALFTIME, FINAL):
                    client.predict(
                        COURSE[:minute], game_id=game_id, horizon=horizon, home_team=home, away_team=away, timeout=30
                    )
        client.report_outcome(OVER, HALF, horizon=HALFTIME, timeout=30)
        client.report_outcome(OVER, END, horizon=FINAL, timeout=30)
        with running_gateway(server, "--demo") as gateway:
            yield Evening(server, f"http://{gateway.address}")
