"""The metrics of a worker: counted calls, whose labels no caller can invent, sampled lags and ages, and timed work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.waiting import until
from tests.support.processes.servers import async_worker

from dejavu_client import FINAL, HALFTIME, AsyncDejavuClient
from dejavu_server.access.caller import CallerLabels
from dejavu_server.forecasting.online_updater import OnlineUpdater
from dejavu_server.streaming.ledger_manager import LedgerManager
from dejavu_server.worker import ratings_age_metrics, sampler
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
    monkeypatch.setattr(ratings_age_metrics, "REFRESH_SECONDS", 0.05)


async def test_unknown_methods_have_one_name_and_core_s_refusals_count(
    worker: Worker, channel: grpc.aio.Channel
) -> None:
    figures = worker.metrics.registry
    predict = "/dejavu.v1.PredictionService/Predict"

    async def code(path: str, request: bytes) -> grpc.StatusCode:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        return await method(request, timeout=30).code()

    for number in range(400):  # more than may be in progress: each gives its place back
        assert await code(f"/no.Such{number}/Method", b"") is grpc.StatusCode.UNIMPLEMENTED
    labels = {"method": "unknown", "code": "UNIMPLEMENTED"}
    assert figures.get_sample_value("dejavu_calls_total", labels) == 400
    assert await code(predict, b"\xff") is grpc.StatusCode.INVALID_ARGUMENT
    assert await code(predict, bytes(5_000_000)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    labels = {"method": predict, "reason": "NO_REQUEST"}
    await until(lambda: figures.get_sample_value("dejavu_calls_refused_total", labels) == 1)
    samples = (sample for family in figures.collect() for sample in family.samples)
    methods = {sample.labels["method"] for sample in samples if "method" in sample.labels}
    assert {method for method in methods if not method.startswith(("/dejavu.", "/grpc."))} == {"unknown"}


def test_the_labels_of_callers_are_the_names_of_few_tokens() -> None:
    labels = CallerLabels(limit=2)
    assert [labels.of(f"token:{name}") for name in ("a", "b", "c", "a")] == ["a", "b", "other", "a"]
    assert labels.of("jwt:anybody") == "other"
    assert labels.of("") == "none"


async def test_streams_and_models_that_stand_still_lag_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def learn_nothing(_: OnlineUpdater) -> None:
        pass

    async with client_of(tmp_path) as (_, figures, client):

        def lags() -> list[float | None]:
            return [
                figures.get_sample_value(f"dejavu_{name}") for name in ("stream_lag_entries", "learner_lag_outcomes")
            ]

        await until(lambda: lags() == [0, 0])
        with monkeypatch.context() as standing_still:
            standing_still.setattr(LedgerManager, "stream_position", 0)
            standing_still.setattr(OnlineUpdater, "update", learn_nothing)
            await client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(0))
            for number in range(2):
                await client.report_outcome(current_game(number), 3, horizon=HALFTIME)
            await until(lambda: lags() == [3, 2])
        await client.report_outcome(current_game(2), 3, horizon=HALFTIME)
        await until(lambda: lags() == [0, 0])


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


async def test_a_reported_final_ends_what_the_log_and_the_metrics_say_of_outdated_ratings(tmp_path: Path) -> None:
    with capture_logs() as log:
        async with client_of(tmp_path, shipped=True) as (worker, figures, client):
            [model] = worker.models

            def figure(name: str) -> float:
                return figures.get_sample_value(f"dejavu_{name}", {"model": model}) or 0.0

            [listed] = await client.list_models()
            assert figure("ratings_age_seconds") == 86_400 * listed.ratings_age_days > 86_400 * 400
            assert figure("finals_since") == 0
            await client.report_outcome(current_game(1), 12, horizon=FINAL, home_team="NYK", away_team="MIA")
            await until(lambda: figure("ratings_age_seconds") <= 0)
            assert figure("finals_since") == 1
    [outdated] = [entry for entry in log if entry["event"] == "ratings_outdated"]
    assert (outdated["log_level"], outdated["model"], outdated["ratings_date"]) == ("warning", model, "2024-06-17")
    assert outdated["age_days"] == listed.ratings_age_days
    assert [entry["finals_since"] for entry in log if entry["event"] == "ratings_current"] == [1]
