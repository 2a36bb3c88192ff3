"""An evening from the feed to the page: every event once and in order, whatever is killed on the way."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.processes.browser import tab
from tests.support.processes.gateway import running_gateway
from tests.support.processes.servers import spawned_server

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import DejavuClient
from dejavu_client.formatting import clock
from dejavu_feed.moment import from_message
from dejavu_feed.replay.games import simulated_evening
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SPEED = 500.0
RECORDER = """
window.sequences = [];
const Source = window.EventSource;
window.EventSource = class extends Source {
  constructor(...args) {
    super(...args);
    this.addEventListener("prediction", (event) => {
      const { forecast, outcome } = JSON.parse(event.data);
      window.sequences.push(Number((forecast ?? outcome).sequence));
    });
  }
};
"""
"""Notes the sequence of every event that the page receives, over all its connections."""


@contextmanager
def polling(feed: str, server: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dejavu poll` until the evening is over."""
    command = ["poll", "--feed-url", feed, "--target", server, "--interval", "0.1", "--until-final", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dejavu_cli", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def sequences_in(ledger: Path, *kinds: str) -> list[int]:
    """Return the sequences of the entries of some kinds in a ledger.

    Lists have only the outcomes that settle a forecast: a poller that is held up may report a half before it knows any.
    """
    with closing(sqlite3.connect(ledger)) as connection:
        rows = connection.execute("SELECT sequence, kind FROM entries ORDER BY sequence")
        return [sequence for sequence, kind in rows if kind in kinds]


def wait_for_minute(page: Page, minute: int) -> None:
    """Wait until the board shows a game at this minute or later."""
    page.wait_for_function(
        """minute => [...document.querySelectorAll(".game-now .sub")].some(
          each => {
            const [, whole, quarter, left] = each.innerText.match(/after (\\d+) min|Q(\\d) (\\d+):/) ?? [];
            return (whole ?? 12 * quarter - left - 1) >= minute;
          })""",
        arg=minute,
        timeout=90_000,
    )


@pytest.mark.nightly
def test_every_event_of_an_evening_is_shown_once_and_in_order_whatever_is_killed(
    browser: Browser, tmp_path: Path
) -> None:
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with (
        spawned_server("--workers", "2", "--ledger", ledger, standby=True) as server,
        ExitStack() as gateways,
    ):
        gateway = gateways.enter_context(running_gateway(server.address, "--demo"))
        address = gateway.address
        with (
            tab(browser, f"http://{address}", script=RECORDER) as opened,
            DejavuClient(server.address) as client,
            ExitStack() as evening,
        ):
            page = opened.page
            opened.open("/", "main")
            # It begins only now: on a busy machine it could otherwise end before its watchers have started.
            replay = Replay(simulated_evening(random.Random(3), 2), speed=SPEED, stagger=300.0, delay=8.0)
            feed = evening.enter_context(LocalServer(replay.respond))
            poller = evening.enter_context(polling(feed.url, server.address))
            wait_for_minute(page, 10)
            server.workers[0].kill()
            wait_for_minute(page, 20)
            gateway.process.kill()
            gateway.exit_code()
            gateway = gateways.enter_context(running_gateway(server.address, "--demo", "--listen", address))
            opened.until_well()
            wait_for_minute(page, 30)
            page.context.set_offline(True)
            page.evaluate("dispatchEvent(new Event('online'))")  # asks for the status at once
            opened.problem("page")
            page.context.set_offline(False)
            opened.until_well()
            assert poller.wait(90) == 0

            head = client.get_checkpoint().sequence
            page.wait_for_function("head => window.sequences.at(-1) >= head", arg=head, timeout=60_000)
            received = page.evaluate("window.sequences")
            recorded = list(client.list_predictions(include_replays=True, include_superseded=True, page_size=500))
            assert received == sequences_in(tmp_path / "ledger.sqlite3", "forecast", "outcome")
            assert sorted(each.forecast.sequence for each in recorded) == sequences_in(
                tmp_path / "ledger.sqlite3", "forecast"
            )
            outcomes = {each.outcome.sequence for each in recorded if each.HasField("outcome")}
            assert outcomes <= set(received)
            assert len(recorded) > 30

            for game in {each.forecast.game_id for each in recorded}:
                opened.open(f"/game/{game}", ".chart canvas")
                assert_lists(page, game, client)


def assert_lists(page: Page, game: str, client: DejavuClient) -> None:
    """Check that the table of a game lists its forecasts, in the order of the ledger."""
    figure = page.locator(".figure").first
    figure.get_by_role("button", name="Show as table").click()
    rows = figure.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    recorded = sorted(
        client.list_predictions(game_id=game, include_superseded=True, page_size=500),
        key=lambda each: each.forecast.sequence,
    )
    shown = [(row[0], {"half": 1, "end": 2}[row[1]]) for row in rows]
    assert shown == [(time_of_play(each.forecast), each.forecast.horizon) for each in recorded]


def time_of_play(forecast: Forecast) -> str:
    """Return the minute of a forecast, or the clock of its moment, as the page shows them."""
    moment = from_message(forecast)
    if moment is None or moment.is_end_of_minute:
        return str(forecast.elapsed_minutes)
    return clock(moment.period, moment.seconds_left)
