"""A game whose forecasts were given the teams the other way round: each moment is told with its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.support.processes.browser import tab
from tests.support.processes.gateway import spawned_gateway
from tests.support.processes.servers import running_worker

from dejavu_client import FINAL, DejavuClient

GAME = "9900000005"


@pytest.mark.parametrize("place", [f"/game/{GAME}", f"/embed/game/{GAME}"])
def test_the_lead_is_that_of_the_team_that_was_home_in_the_forecast_that_is_shown(
    browser: Browser, tmp_path: Path, place: str
) -> None:
    with running_worker(tmp_path, shipped=True) as server, DejavuClient(server, timeout=60.0) as client:
        for minute, home, away in ((30, "DEN", "UTA"), (31, "UTA", "DEN")):
            client.predict([5.0] * minute, game_id=GAME, horizon=FINAL, home_team=home, away_team=away)
        with (
            spawned_gateway("--target", server, "--demo") as gateway,
            tab(browser, f"http://{gateway.address}") as opened,
        ):
            gateway.wait_for("status_changed", lambda entry: entry["reason"] == "OK")
            for query, leader in (("", "UTA"), ("?minute=30", "DEN")):
                opened.open(place + query, ".winbar, .chance-now")
                assert f"{leader} +5" in opened.page.inner_text("main")
