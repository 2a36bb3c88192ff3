"""A ledger that can't be used costs named forecasts and streams; what-ifs go on, and all works once it is usable."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs
from tests.support.builders.calls import GAME, PATTERN, current_game, refusal
from tests.support.builders.issued_forecasts import game, issued
from tests.support.harness import ledger_faults
from tests.support.harness.ledger_faults import AT_THE_START, LOCKED, WHILE_IT_RUNS, Fault
from tests.support.processes.scrapes import scrape, value_in
from tests.support.processes.servers import SpawnedServer, spawned_server, worker_and_channel

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1 import record_service_pb2
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_client import HALFTIME, DejavuClient, FailedPreconditionError, UnavailableError
from dejavu_common import failure_log
from dejavu_ledger import Ledger, verify
from dejavu_ledger.database import sqlite, sqlite_engine
from dejavu_ledger.records import IssuedForecast
from dejavu_ledger.rules import RecordingLimits
from dejavu_server.api.health import LEDGER
from dejavu_server.streaming import ledger_manager
from dejavu_server.worker.signer import Signer
from dejavu_server.worker.worker import Worker

WHAT_IF = pb.PredictRequest(pattern=PATTERN)
NAMED = pb.PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
RECORDED = 3
MIB = 2**20


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[MutableMapping[str, Any]]]:
    """Shorten all waits; capture the log, so that it and its tracebacks are not rendered."""
    monkeypatch.setattr(sqlite_engine, "BUSY_SECONDS", 0.02)
    monkeypatch.setattr(failure_log, "SETTLED_SECONDS", 0.0)
    for name in ("WATCH_SECONDS", "FIRST_RETRY_SECONDS", "LONGEST_RETRY_SECONDS"):
        monkeypatch.setattr(ledger_manager, name, 0.05)
    with capture_logs() as captured:
        yield captured


async def new_ledger(path: Path, forecasts: int) -> Path:
    """Record forecasts in a new ledger that nobody has open then."""
    ledger = await Ledger.open(url_of(path))
    await ledger.commit([issued(game(number)) for number in range(forecasts)])
    await ledger.close()
    return path


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    return await new_ledger(tmp_path / "folder" / "ledger.sqlite3", RECORDED)


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def by_day(faults: list[Fault], *names: str) -> list[Any]:
    """Return faults of which all but some are nightly: one of each reason that callers are given stays."""
    assert {*names} <= {str(fault) for fault in faults}
    return [pytest.param(fault, marks=[] if str(fault) in names else pytest.mark.nightly) for fault in faults]


class Caller:
    """A caller of a worker."""

    def __init__(self, channel: grpc.aio.Channel, worker: Worker) -> None:
        self.predict: Any = PredictionServiceStub(channel).Predict
        self.batch: Any = PredictionServiceStub(channel).PredictBatch
        self.report: Any = RecordServiceStub(channel).ReportOutcome
        self.health: Any = health_pb2_grpc.HealthStub(channel)
        self.figure = worker.metrics.registry.get_sample_value
        self._stream: Any = PredictionServiceStub(channel).StreamPredictions

    def stream(self, token: str = "") -> Any:
        return self._stream(pb.StreamPredictionsRequest(resume_token=token))

    async def begun_stream(self, token: str = "") -> tuple[Any, str]:
        """Return a stream whose first heartbeat has come, and the token of that."""
        stream = self.stream(token)
        first = await stream.read()
        assert first.HasField("heartbeat")
        return stream, first.resume_token

    async def told(self, service: str = "") -> int:
        answer = await self.health.Check(health_pb2.HealthCheckRequest(service=service))
        return int(answer.status)

    async def until_told(self, status: int) -> None:
        """Wait until a watcher is told this health of the ledger."""
        watch = self.health.Watch(health_pb2.HealthCheckRequest(service=LEDGER))
        async with asyncio.timeout(30):
            while (await watch.read()).status != status:
                pass
        watch.cancel()

    async def lives_without_a_ledger(self, fault: Fault) -> None:
        """Wait until named forecasts are refused for the fault; check what else callers are told then."""
        async with asyncio.timeout(30):
            while (refused := await refusal(self.predict(NAMED))).reason != fault.reason:
                pass
        assert refused.code is fault.code
        assert "sqlite3." not in refused.message
        assert "SELECT" not in refused.message
        assert (await self.predict(WHAT_IF)).forecast.point_forecast == 11.0
        results = (await self.batch(pb.PredictBatchRequest(requests=[NAMED, WHAT_IF]))).results
        assert [result.error.reason for result in results] == [fault.reason, ""]
        assert await self.told() == await self.told("dejavu.v1.PredictionService") == SERVING
        assert await self.told(LEDGER) == NOT_SERVING
        assert self.figure("dejavu_workers_without_ledger") == 1

    async def is_well(self, recorded: int = RECORDED) -> None:
        """Check that a named forecast is recorded right after the earlier ones, and streamed."""
        await self.until_told(SERVING)
        stream, _ = await self.begun_stream()
        assert (await self.predict(NAMED)).forecast.sequence == recorded + 1
        assert (await stream.read()).forecast.sequence == recorded + 1
        stream.cancel()
        assert self.figure("dejavu_workers_without_ledger") == self.figure("dejavu_workers_without_streams") == 0


@contextlib.asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Caller]:
    async with worker_and_channel(path.parent, ledger=url_of(path)) as (worker, channel):
        yield Caller(channel, worker)


@pytest.mark.parametrize("fault", by_day(AT_THE_START, "locked", "damaged pages", "later schema"), ids=str)
async def test_a_worker_starts_without_a_usable_ledger_and_takes_it_up_once_it_is_well(
    path: Path, fault: Fault
) -> None:
    undo = fault.befall(path)
    async with serving(path) as caller:
        refused = await refusal(caller.stream().read())
        assert (refused.code, refused.reason) == (fault.code, fault.reason)
        await caller.lives_without_a_ledger(fault)
        assert caller.figure("dejavu_workers_without_streams") == 1
        undo()
        await caller.is_well()
    assert verify(url_of(path)).sequence == RECORDED + 1


@pytest.mark.parametrize("fault", by_day(WHILE_IT_RUNS, "file taken away", "garbage"), ids=str)
async def test_a_ledger_that_is_lost_while_in_use_is_noticed_and_taken_up_again(path: Path, fault: Fault) -> None:
    async with serving(path) as caller:
        stream, token = await caller.begun_stream()
        undo = fault.befall(path)
        in_its_place = content(path)
        refused = await refusal(stream.read())  # nobody calls: the loss is noticed all the same
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "LEDGER_REPLACED")
        await caller.lives_without_a_ledger(fault)
        assert content(path) == in_its_place, "no ledger is made anew"
        undo()
        await caller.is_well()
        resumed, _ = await caller.begun_stream(token)
        assert (await resumed.read()).forecast.sequence == RECORDED + 1
        resumed.cancel()
    assert verify(url_of(path)).sequence == RECORDED + 1


async def test_a_lock_that_is_held_for_long_costs_named_forecasts_and_no_stream(path: Path) -> None:
    async with serving(path) as caller:
        stream, _ = await caller.begun_stream()
        undo = LOCKED.befall(path)
        await caller.lives_without_a_ledger(LOCKED)
        assert caller.figure("dejavu_workers_without_streams") == 0
        undo()
        assert (await caller.predict(NAMED)).forecast.sequence == RECORDED + 1
        assert (await stream.read()).forecast.sequence == RECORDED + 1
        await caller.until_told(SERVING)
        stream.cancel()


async def test_another_ledger_in_its_place_is_taken_up_and_reported(
    path: Path, tmp_path: Path, log: list[MutableMapping[str, Any]]
) -> None:
    other = await new_ledger(tmp_path / "other.sqlite3", 10)
    async with serving(path) as caller:
        stream, token = await caller.begun_stream()
        for each in sorted(path.parent.glob(f"{path.name}?*")):
            each.unlink()
        other.replace(path)
        assert (await refusal(stream.read())).reason == "LEDGER_REPLACED"
        await caller.is_well(recorded=10)
        refused = await refusal(caller.stream(token).read())
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_RESUME_TOKEN")
    assert "ledger_replaced" in {entry["event"] for entry in log}
    assert verify(url_of(path)).sequence == 11


async def test_an_entry_that_cannot_be_read_stops_streams_until_it_is_mended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Signer, "start", lambda _: None)  # the entry, which is removed later, must not be signed
    async with serving(path) as caller:
        stream, _ = await caller.begun_stream()
        ledger_faults.add_unreadable_entry(path)
        assert (await refusal(stream.read())).reason == "LEDGER_CORRUPT"
        await caller.until_told(NOT_SERVING)
        ledger_faults.execute(path, "DELETE FROM entries WHERE canonical = '{}'")
        await caller.is_well()
    assert verify(url_of(path)).sequence == RECORDED + 1


async def test_a_drain_does_not_wait_for_a_ledger(path: Path) -> None:
    ledger_faults.garbage(path)
    async with serving(path) as caller:
        await caller.until_told(NOT_SERVING)


async def test_below_the_reserve_outcomes_are_recorded_and_new_forecasts_refused_until_there_is_room(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 300 * MIB
    monkeypatch.setattr(sqlite, "free_bytes", lambda _: free)
    other = pb.PredictRequest(pattern=PATTERN, game_id=current_game(90002), horizon=HORIZON_HALFTIME)
    async with serving(path) as caller:
        first = (await caller.predict(NAMED)).forecast
        free = 256 * MIB - 1
        refused = await refusal(caller.predict(other))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DISK_RESERVE")
        assert (await caller.predict(NAMED)).forecast == first, "what is recorded is still answered"
        results = (await caller.batch(pb.PredictBatchRequest(requests=[WHAT_IF, other, NAMED]))).results
        assert [each.error.reason for each in results] == ["", "DISK_RESERVE", ""]
        await caller.until_told(NOT_SERVING)
        reported = record_service_pb2.ReportOutcomeRequest(game_id=GAME, differential=8, horizon=HORIZON_HALFTIME)
        assert (await caller.report(reported)).outcome.sequence == first.sequence + 1
        figures = {"ledger_disk_free_bytes": free, "ledger_disk_reserve_bytes": 256 * MIB, "workers_without_ledger": 1}
        assert {name: caller.figure(f"dejavu_{name}") for name in figures} == figures
        free = 256 * MIB
        assert (await caller.predict(other)).forecast.sequence == first.sequence + 2, "at once"
        await caller.until_told(SERVING)


@pytest.mark.parametrize(
    ("free", "reserve", "recorded"), [(10, 11, False), (11, 11, True), (0, 0, True), (None, 9, True)]
)
async def test_the_reserve_is_a_bound_that_may_be_off_and_needs_a_known_free_space(
    path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, reserve: int, recorded: bool
) -> None:
    monkeypatch.setattr(sqlite, "free_bytes", lambda _: free)
    ledger = await Ledger.open(url_of(path), limits=RecordingLimits(reserve_bytes=reserve))
    [stored] = await ledger.commit([issued(game(RECORDED))])
    assert isinstance(stored, IssuedForecast) == recorded
    await ledger.close()


WORKERS = 2


def kill(server: SpawnedServer, number: int) -> list[str]:
    """Kill some workers; return the names of their successors once these serve."""
    before = [entry["worker"] for entry in server.events if entry["event"] == "serving"]
    for worker in before[:number]:
        os.kill(int(worker.partition("-")[2]), signal.SIGKILL)

    def serves(slot: str) -> str:
        new = server.wait_for("serving", lambda entry: entry["worker"] not in before and entry["worker"][0] == slot)
        return str(new["worker"])

    return [serves(worker[0]) for worker in before[:number]]


def predict(client: DejavuClient, number: int) -> int:
    return client.predict(PATTERN, horizon=HALFTIME, game_id=game(number)).sequence


@contextlib.contextmanager
def two_workers(
    ledger: Path, *within: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[SpawnedServer, DejavuClient]]:
    """Run a server as processes, and a client of it."""
    options = ("--workers", str(WORKERS), "--ledger", url_of(ledger), "--metrics-listen", "127.0.0.1:0")
    given = {"DEJAVU_LEDGER_RESERVE_MIB": "0", **(environment or {})}
    with (
        spawned_server(*options, within=within, environment=given, makes_ledger=True) as server,
        DejavuClient(server.address, timeout=30) as client,
    ):
        yield server, client


@pytest.mark.nightly
def test_a_full_disk_for_temporary_files_ends_no_worker_and_keeps_none_from_starting(tmp_path: Path) -> None:
    """The disk has room for the metrics of both workers, four files of a mebibyte each, and not of a third."""
    folder = tmp_path / "folder"
    folder.mkdir()
    mount = f'mount -t tmpfs -o size={4 * WORKERS + 2}m small "$0" && exec "$@"'
    command = ("unshare", "--mount", "sh", "-c", mount, str(folder))  # a disk for the server alone
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    with two_workers(tmp_path / "l.db", *command, environment={"TMPDIR": str(folder)}) as (server, client):
        mounted = Path(f"/proc/{server.process.pid}/root{folder}")
        with (mounted / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert not shutil.disk_usage(mounted).free
        assert [predict(client, number) for number in (0, 1)] == [1, 2]
        with pytest.raises(FailedPreconditionError):  # the first of its code, which is counted apart
            client.predict(PATTERN, alpha=1e-9)
        assert "worker_died" not in {entry["event"] for entry in server.events}
        successors = kill(server, 1)
        assert [entry["worker"] for entry in server.events if entry["event"] == "metrics_not_kept"] == successors
        assert [predict(client, number) for number in (1, 2)] == [2, 3]
        assert value_in(scrape(server), "dejavu_worker_deaths_total") == 1


@pytest.mark.nightly
def test_the_successors_of_killed_workers_make_no_ledger_in_the_place_of_one_that_is_away(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with two_workers(folder / "l.db") as (server, client):
        assert predict(client, 0) == 1
        away = folder.rename(tmp_path / "away")
        folder.mkdir()
        successors = kill(server, WORKERS)

        def all_report(event: str) -> None:
            for name in successors:
                server.wait_for(event, lambda entry, name=name: entry["worker"] == name)  # type: ignore[misc]

        all_report("ledger_failing")
        with pytest.raises(UnavailableError) as caught:
            predict(client, 91)
        assert caught.value.reason == "LEDGER_UNAVAILABLE"
        assert client.predict(PATTERN).sequence == 0
        assert list(folder.iterdir()) == []
        folder.rmdir()
        away.rename(folder)
        all_report("ledger_recovered")
        assert [predict(client, number) for number in (0, 1)] == [1, 2]
