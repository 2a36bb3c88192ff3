"""Servers of one ledger know what each other did, whichever is asked; what they cannot know, they say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.service_stats import stats_when
from tests.support.processes.servers import async_worker

from dejavu_client import AsyncDejavuClient
from dejavu_server.ledger import LedgerUnavailable, server_reports
from dejavu_server.streaming.ledger_manager import LedgerManager
from dejavu_server.worker import server_reports as worker_reports
from dejavu_server.worker import statistics
from dejavu_server.worker.worker import Worker

PREDICT = "dejavu.v1.PredictionService/Predict"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "TOTALS_SECONDS", 0.02)
    monkeypatch.setattr(worker_reports, "READ_SECONDS", 0.02)
    monkeypatch.setattr(server_reports, "REPORT_SECONDS", 0.04)
    monkeypatch.setattr(server_reports, "REPORT_COUNTS", timedelta(seconds=0.5))


@asynccontextmanager
async def client_of(worker: Worker) -> AsyncIterator[AsyncDejavuClient]:
    async with AsyncDejavuClient(worker.address, timeout=30.0) as client:
        yield client


def predicts(windows: Any) -> int:
    return sum(each.calls for each in windows[-1].methods if each.method == PREDICT)


async def test_any_of_two_servers_tells_what_each_and_both_did_until_one_ends(tmp_path: Path) -> None:
    async with async_worker(tmp_path) as one, client_of(one) as first:
        async with async_worker(tmp_path) as other, client_of(other) as second:
            for number in range(3):
                await first.predict(PATTERN, game_id=current_game(number))
            for _ in range(2):
                await second.predict(PATTERN)
            await second.report_feed("nba", 1, live_games=4)
            for client, own in ((first, 3), (second, 2)):
                stats = await stats_when(client, lambda stats: predicts(stats.all_servers.windows) == 5)
                assert (predicts(stats.windows), predicts(stats.servers[0].windows)) == (own, own)
                assert predicts(stats.servers[1].windows) == 5 - own
                assert stats.servers[0].server == stats.server
                assert stats.others_missing == ""
                [recorded] = {each.recorded for each in stats.all_servers.windows[-1].predictions if each.recorded}
                assert recorded == 3
            stats = await stats_when(first, lambda stats: stats.all_servers.feeds)
            assert (stats.all_servers.feeds[0].live_games, len(stats.feeds)) == (4, 0)
            ids = {each.server.server_id for each in stats.servers}
            assert len(ids) == stats.all_servers.servers == 2
        stats = await stats_when(first, lambda stats: len(stats.servers) == 1)
        assert predicts(stats.all_servers.windows) == 3


async def test_a_server_whose_ledger_is_away_tells_what_it_has_and_why_others_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with async_worker(tmp_path) as one, async_worker(tmp_path), client_of(one) as client:
        await stats_when(client, lambda stats: len(stats.servers) == 2)
        manager = one._ledger_manager
        read = LedgerManager.read

        async def away(self: LedgerManager, *args: Any, **more: Any) -> Any:
            if self is manager:
                raise LedgerUnavailable("the disk is gone")
            return await read(self, *args, **more)

        monkeypatch.setattr(LedgerManager, "read", away)
        await client.predict(PATTERN)
        stats = await stats_when(client, lambda stats: stats.others_missing and predicts(stats.windows) == 1)
        assert "the disk is gone" in stats.others_missing
        assert (len(stats.servers), stats.all_servers.servers) == (1, 1)
        monkeypatch.setattr(LedgerManager, "read", read)
        await stats_when(client, lambda stats: len(stats.servers) == 2 and not stats.others_missing)


async def test_a_ledger_that_does_not_answer_delays_no_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with async_worker(tmp_path) as one, async_worker(tmp_path), client_of(one) as client:
        await stats_when(client, lambda stats: len(stats.servers) == 2)
        manager, read, answers = one._ledger_manager, LedgerManager.read, asyncio.Event()

        async def hangs(self: LedgerManager, *args: Any, **more: Any) -> Any:
            if self is manager:
                await answers.wait()
            return await read(self, *args, **more)

        monkeypatch.setattr(LedgerManager, "read", hangs)
        monkeypatch.setattr(worker_reports, "STALE_SECONDS", 0.3)
        stats = await stats_when(client, lambda stats: "has not answered" in stats.others_missing)
        assert len(stats.servers) == 1
        answers.set()
        await stats_when(client, lambda stats: len(stats.servers) == 2 and not stats.others_missing)


async def test_a_report_that_cannot_be_written_neither_fails_a_call_nor_the_health_of_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = asyncio.Event()

    def fails(*_: Any, **__: Any) -> bool:
        loop.call_soon_threadsafe(refused.set)
        raise LedgerUnavailable("too many connections")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(server_reports, "report", fails)
    async with async_worker(tmp_path) as one, client_of(one) as client:
        await refused.wait()
        assert (await client.predict(PATTERN, game_id=current_game(1))).sequence == 1
        stats = await stats_when(client, lambda stats: predicts(stats.windows) == 1)
        assert stats.ledger_lag.workers_without == 0
        assert (len(stats.servers), stats.others_missing) == (1, "")
