"""The page of the record for a selection without forecasts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.support.processes.browser import tab
from tests.support.processes.gateway import running_gateway
from tests.support.processes.servers import running_worker
from tests.web.conftest import Evening

from dejavu_client import FINAL, DejavuClient

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GAME = "9900000006"


@pytest.fixture(scope="module")
def old_replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    """A replay of a game of long ago, as the games of the demo are."""
    folder = tmp_path_factory.mktemp("server")
    with running_worker(folder, shipped=True) as server, DejavuClient(server, timeout=60.0) as client:
        for minute in (6, 12, 18):
            client.predict([2.0] * minute, game_id=GAME, horizon=FINAL, game_date="2021-01-15")
        for late in (5, 6):
            client.predict([3.0] * late, game_id=GAME, horizon=FINAL, game_date="2021-01-15")
        client.predict([3.0] * 18, game_id=GAME, horizon=FINAL, game_date="2021-01-15")
        client.report_outcome(GAME, 7, horizon=FINAL)
        with running_gateway(server, "--demo") as gateway:
            yield Evening(server, f"http://{gateway.address}")


@pytest.mark.nightly
def test_months_without_forecasts_are_said_to_have_none_and_why_forecasts_are_left_out(
    browser: Browser, old_replay: Evening
) -> None:
    """Formerly, the chart of months said "Loading …" for ever."""
    with tab(browser, old_replay.origin) as opened:
        opened.open("/record", ".record-figures .chart canvas")
        figure = opened.page.locator(".figure", has_text="month after month")
        figure.get_by_text("No settled forecast of this span.").wait_for()
        assert not figure.get_by_text("Loading").count()
        opened.page.get_by_text("Left out as corrected: 1. Left out as late: 2.").wait_for()
