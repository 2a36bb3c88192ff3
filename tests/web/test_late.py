"""A game with late forecasts alone: no page shows a lead or a winner of it, and both say why."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.support.processes.browser import tab
from tests.support.processes.gateway import spawned_gateway
from tests.support.processes.servers import running_worker

from dejavu_client import FINAL, DejavuClient
from dejavu_common.clock import utc_now
from dejavu_feed.game_day import game_day
from dejavu_feed.game_ids import seasons_on


@pytest.mark.parametrize("path", ["/game/{}", "/embed/game/{}"])
def test_a_game_that_was_forecast_late_only_is_shown_without_a_score(
    browser: Browser, tmp_path: Path, path: str
) -> None:
    yesterday = game_day(utc_now()) - timedelta(days=1)
    game_id = f"002{(seasons_on(yesterday)[0] - 1) % 100:02}00061"
    with running_worker(tmp_path, shipped=True) as server, DejavuClient(server, timeout=60.0) as client:
        made = client.predict([7.0] * 47, game_id=game_id, horizon=FINAL, game_date=yesterday)
        assert made.late
        with spawned_gateway("--target", server) as gateway, tab(browser, f"http://{gateway.address}") as opened:
            gateway.wait_for("status_changed", lambda entry: entry["reason"] == "OK")
            opened.open(path.format(game_id), ".pending:not(:has-text('Loading'))")
            words = opened.page.inner_text("main")
            assert "All forecasts of this game were made late" in words
            assert "even" not in words
            assert "minute 0" not in words
            assert not opened.page.locator(".scoreboard, .embed-head").count()
