"""Lines of real pollers: from the odds of a feed, frozen at tip-off, and kept whatever happens to a poller."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.processes.servers import spawned_server
from tests.support.programs.poller import PollerProcess, poller_process

from dejavu.v1.forecast_pb2 import MARGIN_SOURCE_FEED
from dejavu_client import DejavuClient
from dejavu_feed.lines import Line
from dejavu_feed.replay.games import simulated_evening
from dejavu_feed.replay.http_server import LocalServer, Response
from dejavu_feed.replay.replay import Replay

LINES = (Line(6.5), Line(-3.0))


def until_forecast(poller: PollerProcess, game_ids: list[str]) -> None:
    for game_id in game_ids:
        poller.wait_for("forecast", lambda each, game_id=game_id: each["game"]["gameId"] == game_id)  # type: ignore[misc]


@pytest.mark.nightly
def test_a_game_has_one_line_of_the_feed_whichever_poller_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    games = [replace(game, line=line) for game, line in zip(simulated_evening(random.Random(5), 2), LINES, strict=True)]
    started = Future[Replay]()

    def respond(path: str) -> Response:
        """Begin the evening with the first request, so that a poller is there before tip-off on a busy machine too."""
        with beginning:
            if not started.done():
                started.set_result(Replay(games, speed=180, delay=5))
        return started.result().respond(path)

    beginning = threading.Lock()
    with (
        spawned_server("--ledger", f"sqlite:///{tmp_path / 'ledger.sqlite3'}", "--workers", "1") as server,
        LocalServer(respond) as feed,
    ):
        options = ("--feed-url", feed.url, "--interval", "0.2", "--target", server.address)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "one"))
        with poller_process(*options) as first:
            evening = started.result(60)
            ids = list(evening.games)
            until_forecast(first, ids)  # it is killed
        assert [each["line"] for each in first.events if each["event"] == "line"] != []
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))  # as on another machine
        with poller_process(*options) as second, DejavuClient(server.address, timeout=30.0) as client:
            until_forecast(second, ids)
            recorded = [each.forecast for game_id in ids for each in client.list_predictions(game_id=game_id)]
    expected = dict(zip(ids, LINES, strict=True))
    assert {each.expected_margin - expected[each.game_id].margin for each in recorded} == {0.0}  # type: ignore[operator]
    assert {each.margin_source for each in recorded} == {MARGIN_SOURCE_FEED}
    places = [(each.game_id, each.horizon, each.elapsed_minutes, str(each.moment)) for each in recorded]
    assert max(Counter(places).values()) == 1
    before = {each.margin_time.ToDatetime() for each in recorded}
    assert max(before) < evening.start.replace(tzinfo=None) + timedelta(seconds=1), "read before tip-off"
