"""Worker lifecycle: start, drain, and errors that prevent a start."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.support.builders.calls import GAME, PATTERN, refusal
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.ledger_faults import add_unreadable_entry
from tests.support.processes.servers import async_worker, new_worker, running_worker, settings_in

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_models.errors import BundleNotFound
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.registry.registry import Registry, default_bundle
from dejavu_models.types import Horizon
from dejavu_server import worker_main
from dejavu_server.forecasting.batcher import CHUNK
from dejavu_server.ledger import InvalidLedgerUrl, Ledger, LedgerUnavailable
from dejavu_server.observability.metrics import Metrics
from dejavu_server.supervisor.protocol import WorkerStart, WorkerStatus
from dejavu_server.worker.models import DuplicateBundle, warm_up
from dejavu_server.worker.worker import BindError, Worker

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub

NAMED = pb.PredictRequest(pattern=PATTERN, game_id=GAME)


class Gate:
    """Blocks a model on the batcher's thread until opened."""

    def __init__(self, model: PersistenceForecaster) -> None:
        self.reached = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._open = threading.Event()
        model.before = self._wait

    def open(self) -> None:
        self._open.set()

    def _wait(self, _: Sequence[ForecastQuery]) -> None:
        self._loop.call_soon_threadsafe(self.reached.set)
        assert self._open.wait(10)


def a_batch() -> pb.PredictBatchRequest:
    return pb.PredictBatchRequest(requests=[NAMED, pb.PredictRequest(pattern=PATTERN)])


async def begin_to_drain(worker: Worker) -> asyncio.Task[None]:
    """Starts a drain; returns once the worker accepts no more calls."""
    async with grpc.aio.insecure_channel(worker.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        draining = asyncio.create_task(worker.drain())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await refusal(watch.read())
    return draining


async def test_a_drain_lets_calls_that_run_finish(
    service: PredictionServiceAsyncStub, worker: Worker, model: PersistenceForecaster
) -> None:
    gate = Gate(model)
    call = asyncio.ensure_future(service.PredictBatch(a_batch()))
    await gate.reached.wait()
    draining = await begin_to_drain(worker)
    assert not draining.done()
    gate.open()
    response = await call
    await draining
    assert response.results[0].forecast.sequence == 1


async def test_a_drain_takes_no_new_calls(worker: Worker, model: PersistenceForecaster) -> None:
    gate = Gate(model)
    async with grpc.aio.insecure_channel(worker.address) as channel, grpc.aio.insecure_channel(worker.address) as other:
        call = asyncio.ensure_future(PredictionServiceStub(channel).PredictBatch(a_batch()))
        await gate.reached.wait()
        draining = await begin_to_drain(worker)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await PredictionServiceStub(other).Predict(NAMED, timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        gate.open()
        await call
        await draining


async def test_a_drain_cuts_off_what_outlasts_its_grace(tmp_path: Path, model: PersistenceForecaster) -> None:
    worker = new_worker(tmp_path, model, grace_seconds=0.1)
    async with worker, grpc.aio.insecure_channel(worker.address) as channel:
        gate = Gate(model)
        call = asyncio.ensure_future(PredictionServiceStub(channel).PredictBatch(a_batch()))
        await gate.reached.wait()
        draining = asyncio.create_task(worker.drain())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        gate.open()
        await draining


async def test_a_drain_ends_streams_at_once_and_says_why(service: PredictionServiceAsyncStub, worker: Worker) -> None:
    stream = service.StreamPredictions(pb.StreamPredictionsRequest())
    await stream.read()
    async with asyncio.timeout(2):  # less than the grace time, 5 s
        await worker.drain()
    refused = await refusal(stream.read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def test_draining_twice_is_draining_once(worker: Worker) -> None:
    await asyncio.gather(worker.drain(), worker.drain())
    await worker.drain()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_was_recorded_outlives_the_worker(tmp_path: Path) -> None:
    async with async_worker(tmp_path) as worker, grpc.aio.insecure_channel(worker.address) as channel:
        first = await PredictionServiceStub(channel).Predict(NAMED)
    async with async_worker(tmp_path) as worker, grpc.aio.insecure_channel(worker.address) as channel:
        assert await PredictionServiceStub(channel).Predict(NAMED) == first


async def test_a_ledger_that_fails_stops_named_forecasts_alone(
    service: PredictionServiceAsyncStub, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "commit", _unavailable)
    refused = await refusal(service.Predict(NAMED))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE")
    assert (await service.Predict(pb.PredictRequest(pattern=PATTERN))).forecast.point_forecast == 11.0
    batch = await service.PredictBatch(a_batch())
    assert [result.WhichOneof("result") for result in batch.results] == ["error", "forecast"]


async def test_calls_that_fail_for_one_cause_are_told_of_once(
    service: PredictionServiceAsyncStub, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "commit", _unavailable)
    with capture_logs() as log:
        for _ in range(10):
            await refusal(service.Predict(NAMED))
            await service.Predict(pb.PredictRequest(pattern=PATTERN))
    [entry] = [entry for entry in log if entry["log_level"] != "debug"]
    assert (entry["event"], entry["log_level"], entry["reason"]) == ("call_failed", "error", "LEDGER_UNAVAILABLE")


async def test_a_call_that_fails_for_a_known_reason_is_told_of_by_its_cause_without_a_traceback(
    service: PredictionServiceAsyncStub, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise LedgerUnavailable("the ledger is read-only") from sqlite3.OperationalError("attempt to write")

    monkeypatch.setattr(Ledger, "commit", fail)
    with capture_logs() as log:
        await refusal(service.Predict(NAMED))
    [entry] = [entry for entry in log if entry["log_level"] != "debug"]
    assert (entry["event"], entry["error"]) == ("call_failed", "the ledger is read-only")
    assert entry["cause"] == "attempt to write"
    assert "exc_info" not in entry


async def test_a_damaged_entry_ends_the_streams_and_nothing_else(tmp_path: Path) -> None:
    figures = CollectorRegistry()
    async with (
        Worker(settings_in(tmp_path), registry=Registry([PersistenceForecaster()]), metrics=Metrics(figures)) as it,
        grpc.aio.insecure_channel(it.address) as channel,
    ):
        service: PredictionServiceAsyncStub = PredictionServiceStub(channel)
        stream = service.StreamPredictions(pb.StreamPredictionsRequest())
        await stream.read()
        assert figures.get_sample_value("dejavu_workers_without_streams") == 0
        add_unreadable_entry(tmp_path / "ledger.sqlite3")
        for _ in range(2):  # the existing stream, and a later one
            refused = await refusal(stream.read())
            assert (refused.code, refused.reason) == (grpc.StatusCode.DATA_LOSS, "LEDGER_CORRUPT")
            stream = service.StreamPredictions(pb.StreamPredictionsRequest())
        assert figures.get_sample_value("dejavu_workers_without_streams") == 1
        assert (await service.Predict(NAMED)).forecast.sequence == 2
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_port_in_use_is_refused(worker: Worker, tmp_path: Path) -> None:
    other = new_worker(tmp_path / "other", listen=worker.address)
    with pytest.raises(BindError, match=worker.address):
        await other.__aenter__()


async def test_a_bundle_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFound):
        await Worker(settings_in(tmp_path, bundles=(tmp_path / "nope",))).__aenter__()


async def test_a_bundle_named_twice_is_refused(tmp_path: Path) -> None:
    bundle = default_bundle()
    with pytest.raises(DuplicateBundle):
        await Worker(settings_in(tmp_path, bundles=(bundle, bundle))).__aenter__()


async def test_a_url_that_can_name_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(InvalidLedgerUrl):
        await new_worker(tmp_path, ledger=f"sqlite:///{tmp_path}/circle/ledger.sqlite3").__aenter__()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LedgerUnavailable("the ledger is read-only"), "the ledger is read-only"),
        (PermissionError(13, "Permission denied", "/x"), "[Errno 13] Permission denied: '/x'"),
        (RuntimeError("a\nb"), "internal error, see the log: RuntimeError: a b"),
    ],
)
async def test_whatever_keeps_a_worker_from_starting_is_reported_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    async def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Worker, "__aenter__", refuse)
    report, write_end = os.pipe()
    with capture_logs() as log:
        start = WorkerStart(
            settings=settings_in(tmp_path), slot=0, report_fd=write_end, make_ledger=True, folder=str(tmp_path)
        )
        assert await worker_main._serve(start, "0") == 1
    os.close(write_end)  # as the exit of its process does
    error.with_traceback(None)  # its frames would keep the worker alive beyond its event loop
    with os.fdopen(report) as pipe:
        assert WorkerStatus.from_json(pipe.read()) == WorkerStatus(refusal=reason)
    assert [entry["event"] for entry in log] == (["start_failed"] if "internal error" in reason else [])


def test_the_bundle_that_ships_is_served(tmp_path: Path) -> None:
    with running_worker(tmp_path, shipped=True) as address, grpc.insecure_channel(address) as channel:
        request = pb.PredictRequest(pattern=PATTERN, return_explanation=True)
        forecast = PredictionServiceStub(channel).Predict(request, timeout=10).forecast
    expected = (
        Registry.load([])
        .get()
        .forecast(
            ForecastQuery(ScorePattern(tuple(map(float, PATTERN))), explain=True),
        )
    )
    assert forecast.point_forecast == pytest.approx(expected.point, abs=1e-3)
    assert forecast.model_version == expected.model_version
    assert forecast.interval_lower < forecast.point_forecast < forecast.interval_upper


def test_every_model_is_warmed_up_alone_and_in_company() -> None:
    one, two = PersistenceForecaster("one"), PersistenceForecaster("two")
    warm_up(Registry([one, two]))
    assert one.groups == two.groups
    assert {1, CHUNK} <= set(one.groups)


def test_every_horizon_of_a_model_is_warmed_up_from_its_first_slot_to_its_last() -> None:
    model = EveryMinuteForecaster()
    asked = set[tuple[Horizon, int]]()
    model.before = lambda queries: asked.update((query.horizon, query.pattern.minutes) for query in queries)
    warm_up(Registry([model]))
    assert asked == {(Horizon.HALFTIME, 1), (Horizon.HALFTIME, 23), (Horizon.FINAL, 1), (Horizon.FINAL, 47)}


def test_the_server_imports_neither_torch_nor_rich() -> None:
    modules = "dejavu_server.worker_main, dejavu_server.worker.worker, dejavu_server.cli.serve"
    program = f"import sys, {modules}; sys.exit(not {{'torch', 'rich'}}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def _unavailable(*_: Any) -> Any:
    raise LedgerUnavailable("the ledger is full: no space left on the disk")
