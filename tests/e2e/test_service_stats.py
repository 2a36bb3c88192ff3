"""GetServiceStats of several workers: exact sums, whichever worker answers, also after one was killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.servers import spawned_server

from dejavu.ops.v1.operations_service_pb2 import GetServiceStatsResponse
from dejavu_client import FINAL, DejavuClient, InvalidArgumentError

PREDICT = "dejavu.v1.PredictionService/Predict"


def stats_when(client: DejavuClient, condition: Callable[[GetServiceStatsResponse], Any]) -> GetServiceStatsResponse:
    """Return the first statistics that meet a condition; assert that no count since the start ever decreases."""
    deadline = time.monotonic() + 60
    most: dict[str, int] = {}
    while True:
        stats = client.get_service_stats()
        for each in stats.windows[-1].methods:
            assert each.calls >= most.get(each.method, 0)
            most[each.method] = each.calls
        if condition(stats):
            return stats
        assert time.monotonic() < deadline, stats
        time.sleep(0.1)


def predicts(stats: GetServiceStatsResponse, window: int = -1) -> tuple[int, int]:
    """Return the calls of Predict, and how many of them failed."""
    [found] = [each for each in stats.windows[window].methods if each.method == PREDICT]
    return found.calls, sum(error.calls for error in found.errors)


def test_counts_are_those_of_all_workers_also_of_one_that_was_killed(tmp_path: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with (
        spawned_server("--workers", "2", "--ledger", ledger) as server,
        DejavuClient(server.address, channels=6, timeout=30.0) as client,
    ):
        answered = 0
        while len({each.pid for each in server.workers}) < 2 or answered < 60:
            client.predict(PATTERN)
            answered += 1
        for number in range(10):
            client.predict(PATTERN, game_id=current_game(number), horizon=FINAL)
        for _ in range(5):
            with pytest.raises(InvalidArgumentError):
                client.predict([999])
        stats = stats_when(client, lambda stats: predicts(stats) == (answered + 15, 5))
        half, final = stats.windows[0].predictions
        assert (half.what_ifs, half.recorded) == (answered, 0)
        assert (final.what_ifs, final.recorded) == (0, 10)
        assert len(stats.server.workers) == stats.server.configured_workers == 2

        client.report_feed("nba", 3.0, live_games=2)  # to one worker: all report it
        for _ in range(6):
            stats_when(client, lambda stats: [each.live_games for each in stats.feeds] == [2])

        killed = server.workers[0]
        killed.kill()
        now = stats_when(client, lambda stats: all(str(killed.pid) not in each.name for each in stats.server.workers))
        assert predicts(now) == (answered + 15, 5)
        assert predicts(now, window=0) == (answered + 15, 5)
        client.predict(PATTERN)
        stats_when(client, lambda stats: predicts(stats) == (answered + 16, 5))
