"""Metrics that are sampled: lags, the age of the newest checkpoint, the queue, and the coverage of the served model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.waiting import until
from tests.support.processes.servers import async_worker

from dejavu_client import HALFTIME, AsyncDejavuClient, UnavailableError
from dejavu_server.forecasting.online_updater import OnlineUpdater
from dejavu_server.streaming.broadcaster import Broadcaster
from dejavu_server.worker import sampler
from dejavu_server.worker.worker import Worker


@asynccontextmanager
async def client_of(
    tmp_path: Path, **changes: Any
) -> AsyncIterator[tuple[Worker, CollectorRegistry, AsyncDejavuClient]]:
    async with async_worker(tmp_path, **changes) as worker, AsyncDejavuClient(worker.address, timeout=30.0) as client:
        yield worker, worker.metrics.registry, client


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "SAMPLE_SECONDS", 0.02)
    monkeypatch.setattr(sampler, "COVERAGE_SECONDS", 0.02)


async def test_a_tail_that_stands_still_lags_behind_by_what_was_recorded_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Broadcaster._publish
    monkeypatch.setattr(Broadcaster, "_publish", lambda self, entry: None)
    monkeypatch.setattr(Broadcaster, "idle", False)  # or it would skip what it has not published
    async with client_of(tmp_path) as (_, figures, client):
        for number in range(3):
            await client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(number))
        await until(lambda: figures.get_sample_value("dejavu_stream_lag_entries") == 3)
        monkeypatch.setattr(Broadcaster, "_publish", publish)
        await client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(3))
        await until(lambda: figures.get_sample_value("dejavu_stream_lag_entries") == 0)


async def test_models_that_do_not_learn_lag_behind_by_the_reports_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(tmp_path) as (_, figures, client):
        update = OnlineUpdater.update

        async def stand_still(self: OnlineUpdater) -> None:
            pass

        monkeypatch.setattr(OnlineUpdater, "update", stand_still)
        for number in range(2):
            await client.report_outcome(current_game(number), 3, horizon=HALFTIME)
        await until(lambda: figures.get_sample_value("dejavu_learner_lag_outcomes") == 2)
        monkeypatch.setattr(OnlineUpdater, "update", update)
        await client.report_outcome(current_game(2), 3, horizon=HALFTIME)
        await until(lambda: figures.get_sample_value("dejavu_learner_lag_outcomes") == 0)


async def test_the_age_of_the_checkpoint_grows_only_while_an_entry_is_not_signed(tmp_path: Path) -> None:
    # The first checkpoint is written at the start, of an empty ledger: none. The next would follow in a minute.
    async with client_of(tmp_path) as (_, figures, client):

        def age() -> float:
            return figures.get_sample_value("dejavu_checkpoint_age_seconds") or 0.0

        assert age() == 0
        await client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(0))
        await until(lambda: age() > 0.05)
        grown = age()
        await until(lambda: age() > grown)
        assert figures.get_sample_value("dejavu_checkpoint_interval_seconds") == 60
    async with client_of(tmp_path):  # signs at its start
        pass
    async with client_of(tmp_path) as (_, again, _):
        await until(lambda: (again.get_sample_value("dejavu_ledger_bytes") or 0) > 0)
        assert again.get_sample_value("dejavu_checkpoint_age_seconds") == 0


async def test_what_is_computed_and_recorded_is_timed_and_counted(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (worker, figures, client):
        await asyncio.gather(*(client.predict(PATTERN) for _ in range(5)))
        await client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(0))
        batches = figures.get_sample_value("dejavu_batch_size_count")
        assert figures.get_sample_value("dejavu_queue_seconds_count") == batches
        assert figures.get_sample_value("dejavu_compute_seconds_count") == batches
        assert figures.get_sample_value("dejavu_ledger_commit_seconds_count") == 1
        for kind, forecasts in (("what_if", 5), ("named", 1)):
            labels = {"model": worker.models[0], "horizon": "halftime", "kind": kind}
            assert figures.get_sample_value("dejavu_forecasts_total", labels) == forecasts


@pytest.mark.sqlite
async def test_a_commit_that_fails_is_timed(tmp_path: Path) -> None:
    async with client_of(tmp_path) as (_, figures, client):
        await client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(0))
        (tmp_path / "ledger.sqlite3").rename(tmp_path / "elsewhere")
        with pytest.raises(UnavailableError):
            await client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(1), timeout=5.0)
        assert (figures.get_sample_value("dejavu_ledger_commit_seconds_count") or 0) >= 2
