"""A disk with less free space than the reserve: no new forecasts, but outcomes, and all again once there is room."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.support.builders.calls import GAME, PATTERN, current_game, refusal
from tests.support.builders.issued_forecasts import game, issued
from tests.support.builders.outcomes import outcome
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.waiting import until
from tests.support.processes.servers import settings_in

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1 import record_service_pb2
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_common import failure_log
from dejavu_ledger import Ledger
from dejavu_ledger.database import sqlite, sqlite_engine
from dejavu_ledger.errors import DiskReserveReached
from dejavu_ledger.records import IssuedForecast
from dejavu_ledger.rules import RecordingLimits
from dejavu_models.results import Failed
from dejavu_server.api.health import LEDGER
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.observability.metrics import Metrics
from dejavu_server.streaming import ledger_manager
from dejavu_server.worker.worker import Worker

NAMED = pb.PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)
OTHER = pb.PredictRequest(pattern=PATTERN, game_id=current_game(90002), horizon=HORIZON_HALFTIME)
WHAT_IF = pb.PredictRequest(pattern=PATTERN)
MIB = 2**20

Log = list[MutableMapping[str, Any]]


class Disk:
    """The free space that the ledgers in a folder see; workers of other tests may live in this process."""

    def __init__(self, folder: Path) -> None:
        self.free: int | None = 300 * MIB
        self._folder = folder
        self._of_others = sqlite_engine.free_bytes

    def free_bytes(self, path: Path) -> int | None:
        return self.free if path.is_relative_to(self._folder.resolve()) else self._of_others(path)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Disk:
    disk = Disk(tmp_path)
    monkeypatch.setattr(sqlite, "free_bytes", disk.free_bytes)
    monkeypatch.setattr(ledger_manager, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(failure_log, "SETTLED_SECONDS", 0.0)
    return disk


@pytest.fixture
def log() -> Iterator[Log]:
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def figures() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def serving(tmp_path: Path, disk: Disk, log: Log, figures: CollectorRegistry) -> AsyncIterator[grpc.aio.Channel]:
    registry = ServingModels([PersistenceForecaster()])
    async with (
        Worker(settings_in(tmp_path), registry=registry, metrics=Metrics(figures)) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        yield channel


async def until_told(channel: grpc.aio.Channel, status: int) -> None:
    """Wait until the ledger has this health."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=LEDGER))
    while (await watch.read()).status != status:
        pass
    watch.cancel()


async def test_below_the_reserve_outcomes_are_recorded_and_new_forecasts_refused_until_there_is_room(
    serving: grpc.aio.Channel, disk: Disk, log: Log, figures: CollectorRegistry
) -> None:
    service: Any = PredictionServiceStub(serving)
    record: Any = RecordServiceStub(serving)
    first = (await service.Predict(NAMED)).forecast
    assert figures.get_sample_value("dejavu_ledger_disk_reserve_bytes") == 256 * MIB
    disk.free = 200 * MIB
    refused = await refusal(service.Predict(OTHER))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DISK_RESERVE")
    assert "200 MiB left" in refused.message
    assert "256 MiB" in refused.message
    disk.free = 256 * MIB - 1
    assert "255.9 MiB left, less than the reserve of 256 MiB" in (await refusal(service.Predict(OTHER))).message
    disk.free = 200 * MIB
    assert (await service.Predict(NAMED)).forecast == first, "what is recorded is still answered"
    batch = pb.PredictBatchRequest(requests=[WHAT_IF, OTHER, NAMED])
    results = (await service.PredictBatch(batch)).results
    assert [each.error.reason for each in results] == ["", "DISK_RESERVE", ""]
    await until_told(serving, health_pb2.HealthCheckResponse.NOT_SERVING)
    reported = record_service_pb2.ReportOutcomeRequest(game_id=GAME, differential=8, horizon=HORIZON_HALFTIME)
    assert (await record.ReportOutcome(reported)).outcome.sequence == 2
    await until(lambda: figures.get_sample_value("dejavu_ledger_disk_free_bytes") == 200 * MIB)
    assert figures.get_sample_value("dejavu_workers_without_ledger") == 1
    disk.free = 256 * MIB
    assert (await service.Predict(OTHER)).forecast.sequence == 3, "at once, whatever was logged last"
    await until_told(serving, health_pb2.HealthCheckResponse.SERVING)
    alarms = [entry for entry in log if entry["event"].startswith("ledger_disk")]
    assert [(entry["event"], entry["log_level"]) for entry in alarms] == [
        ("ledger_disk_low", "error"),
        ("ledger_disk_recovered", "info"),
    ]
    assert alarms[0]["free_bytes"] in {200 * MIB, 256 * MIB - 1}  # whichever it had when the disk was checked
    assert alarms[0]["reserve_bytes"] == 256 * MIB


@pytest.mark.parametrize(
    ("free", "reserve", "recorded"), [(10, 11, False), (11, 11, True), (0, 0, True), (None, 9, True)]
)
async def test_the_reserve_is_a_bound_that_may_be_switched_off_or_not_be_known(
    url: str, disk: Disk, free: int | None, reserve: int, recorded: bool
) -> None:
    disk.free = free
    ledger = await Ledger.open(url, limits=RecordingLimits(reserve_bytes=reserve))
    [stored] = await ledger.commit([issued(game(1))])
    assert isinstance(stored, IssuedForecast) == recorded
    if isinstance(stored, Failed):
        assert isinstance(stored.error, DiskReserveReached)
    await ledger.record_outcome(outcome(3, game(2)))
    await ledger.close()
