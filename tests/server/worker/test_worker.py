"""Worker lifecycle: start, drain, hung threads, errors that prevent a start, and the bundles that it loads."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from itertools import accumulate, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from structlog.testing import capture_logs
from tests.support.builders.bundles import copy_of_default, mark_unfit, write_refreshed_manifest
from tests.support.builders.calls import GAME, PATTERN, refusal
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.processes.hangs import hang, hanging
from tests.support.processes.servers import new_worker, settings_in, spawned_server

from dejavu.v1 import forecast_pb2, model_service_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import HALFTIME, AsyncDejavuClient, DejavuClient, predict_request
from dejavu_client.errors import DejavuClientError
from dejavu_common.activity import Activity
from dejavu_ledger import InvalidLedgerUrl, Ledger, LedgerUnavailable
from dejavu_models.forecast_query import ForecastQuery
from dejavu_models.types import Horizon
from dejavu_server.forecasting.batcher import CHUNK
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.observability.metrics import Metrics
from dejavu_server.worker.grpc_options import max_connections
from dejavu_server.worker.models import DuplicateBundle, PreloadedModels, load_models, warm_up
from dejavu_server.worker.progress import ProgressMonitor
from dejavu_server.worker.worker import Worker
from dejavu_store.bundle import read_manifest
from dejavu_store.default_bundles import default_bundle, refreshed_bundle, served_bundle

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


NAMED = pb.PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)


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
        await asyncio.gather(worker.drain(), worker.drain())  # again does nothing
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_calls_that_fail_for_a_known_reason_are_logged_once_by_its_cause_without_a_traceback(
    service: PredictionServiceAsyncStub, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise LedgerUnavailable("the ledger is read-only") from sqlite3.OperationalError("attempt to write")

    monkeypatch.setattr(Ledger, "commit", fail)
    with capture_logs() as log:
        for _ in range(10):
            await refusal(service.Predict(NAMED))
    [entry] = [entry for entry in log if entry["log_level"] != "debug"]
    assert (entry["event"], entry["error"]) == ("call_failed", "the ledger is read-only")
    assert entry["cause"] == "attempt to write"
    assert "exc_info" not in entry


async def test_a_bundle_named_twice_and_a_url_that_can_name_no_ledger_are_refused(tmp_path: Path) -> None:
    bundle = default_bundle()
    with pytest.raises(DuplicateBundle):
        await Worker(settings_in(tmp_path, bundles=(bundle, bundle))).__aenter__()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(InvalidLedgerUrl):
        await new_worker(tmp_path, ledger=f"sqlite:///{tmp_path}/circle/ledger.sqlite3").__aenter__()


def test_every_model_is_warmed_up_alone_and_in_company_from_the_first_slot_of_each_horizon_to_the_last() -> None:
    one, two = EveryMinuteForecaster("one"), EveryMinuteForecaster("two")
    asked = set[tuple[Horizon, int]]()
    one.before = lambda queries: asked.update((query.horizon, query.pattern.minutes) for query in queries)
    warm_up(ServingModels([one, two]))
    assert one.groups == two.groups
    assert {1, CHUNK} <= set(one.groups)
    assert asked == {(Horizon.HALFTIME, 1), (Horizon.HALFTIME, 23), (Horizon.FINAL, 1), (Horizon.FINAL, 47)}


def test_the_server_imports_neither_torch_nor_rich() -> None:
    modules = "dejavu_server.worker_main, dejavu_server.worker.worker, dejavu_server.cli.serve"
    program = f"import sys, {modules}; sys.exit(not {{'torch', 'rich'}}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_workers_of_a_fork_server_have_the_bundle_of_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = settings_in(tmp_path)
    preloaded = PreloadedModels.load(settings)
    write_refreshed_manifest(refreshed_bundle())
    assert served_bundle() == refreshed_bundle()
    assert load_models(settings, preloaded).versions == (read_manifest(default_bundle()).version,)


def test_connections_leave_descriptors_and_memory_for_work() -> None:
    rows: Any = (
        (1024, 0, 870),  # the rest is for files
        (65_535, 0, 55_704),
        (65_535, 384, 3276),  # idle connections must not take a worker above max_rss
        (1024, 1024, 870),
        (2**40, 0, 2**31 - 1),
    )
    for descriptors, max_rss, connections in rows:
        assert max_connections(descriptors, max_rss) == connections


REASON = "CRPS of the half no better than persistence's in 2021"


@pytest.fixture
def unfit(tmp_path: Path) -> Path:
    copy_of_default(tmp_path / "bundle")
    mark_unfit(tmp_path / "bundle", REASON)
    return tmp_path / "bundle"


async def test_every_answer_of_an_unfit_bundle_is_marked_also_where_it_is_recorded(tmp_path: Path, unfit: Path) -> None:
    with capture_logs() as log:
        async with (
            new_worker(tmp_path, shipped=True, bundles=(unfit,), allow_unfit=True) as worker,
            AsyncDejavuClient(worker.address, timeout=20.0) as client,
        ):
            answers = [await client.predict(PATTERN), await client.predict(PATTERN, horizon=HALFTIME, game_id=GAME)]
            answers += [each.forecast async for each in client.list_predictions()]
            answers += [each.forecast for each in await client.predict_batch([predict_request(PATTERN)])]
            [model] = await client.list_models()
    assert [entry["log_level"] for entry in log if entry["event"] == "model_unfit"] == ["warning"]
    assert (model.verdict, model.verdict_reason) == (model_service_pb2.VERDICT_UNFIT, REASON)
    assert len(answers) == 4
    for answer in answers:
        [warning] = answer.warnings
        assert warning.reason == forecast_pb2.WARNING_REASON_MODEL_UNFIT
        assert "failed its backtest" in warning.text


def test_a_server_does_not_start_with_an_unfit_bundle(tmp_path: Path, unfit: Path) -> None:
    with spawned_server(
        "--workers", "1", "--bundle", str(unfit), "--ledger", f"sqlite:///{tmp_path}/ledger.sqlite3"
    ) as server:
        refused = server.wait_for("cannot_start")
        assert server.exit_code() == 1
    assert REASON in refused["reason"]
    assert "--allow-unfit" in refused["reason"]
    assert "Traceback" not in server.log()


MOST = 110_000_000
"""Bytes of proportional set size (PSS), which includes a share of shared memory; for two workers, the default."""


@pytest.mark.nightly
def test_a_worker_with_the_bundle_that_ships_takes_less_than_110_megabytes(tmp_path: Path) -> None:
    requests = [
        pb.PredictRequest(
            pattern=accumulate(islice(cycle((2, -3, 0, number % 4)), 1 + number % 47)),
            horizon=HORIZON_FINAL,
            home_team="BOS",
            away_team="LAL",
            return_explanation=True,
            quantile_levels=[percent / 100 for percent in range(5, 100, 5)],
        )
        for number in range(1000)
    ]
    options = [("grpc.max_receive_message_length", -1)]
    with (
        spawned_server(
            "--workers", "2", "--ledger", f"sqlite:///{tmp_path}/ledger.sqlite3", new_interpreter=True
        ) as server,
        grpc.insecure_channel(server.address, options=options) as channel,
    ):
        for _ in range(3):
            answer = PredictionServiceStub(channel).PredictBatch(pb.PredictBatchRequest(requests=requests), timeout=60)
            assert all(result.HasField("forecast") for result in answer.results)
        worker = max(server.workers, key=lambda each: each.memory_info().rss)  # the one that answered
        taken = worker.memory_full_info().pss
    assert taken < MOST


MINUTES = [float(minute) for minute in range(18)]


class Stalled(Activity):
    """A part whose seconds without progress the test sets."""

    seconds = 0.0

    def check(self, elapsed: float) -> float:
        return self.seconds


def test_readiness_falls_at_half_the_time_and_rises_when_the_part_goes_on() -> None:
    part, other, ready = Stalled("compute"), Stalled("ledger-writer"), list[bool]()
    metrics = Metrics()
    monitor = ProgressMonitor(lambda: (part, other), 5.0, metrics, ready.append)
    with capture_logs() as log:
        for part.seconds in (0.0, 2.0, 3.0, 4.0):
            monitor.check(1.0)
        assert (ready, monitor.hung_part) == ([False], "")
        other.seconds = 3.0
        part.seconds = 0.0
        monitor.check(1.0)
        assert ready == [False]  # another part stalls now
        part.seconds, other.seconds = 6.0, 0.0
        monitor.check(1.0)
        assert monitor.hung_part == "compute"
        part.seconds = 0.0
        monitor.check(1.0)
        assert (ready, monitor.hung_part) == ([False, True], "")
    told = [(entry["event"], entry["part"]) for entry in log]
    assert told[0] == ("part_stalled", "compute")
    assert told[-1] == ("part_goes_on", "compute")
    assert ("part_stalled", "ledger-writer") in told


@pytest.mark.nightly
@pytest.mark.parametrize("part", ["compute", "ledger-writer"])
def test_a_worker_whose_thread_hangs_is_unready_killed_and_succeeded(tmp_path: Path, part: str) -> None:
    """The thread hangs in a real worker; its loop runs, so that it can say so itself."""
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    options = ("--workers", "1", "--hang-seconds", "2", "--ledger", ledger)
    with spawned_server(*options, environment=hanging(tmp_path)) as server:
        with DejavuClient(server.address, timeout=60.0) as client:
            client.predict(MINUTES, horizon=HALFTIME, game_id="9900000001")
            [victim] = server.workers
            hang(victim.pid, part)
            called = threading.Thread(target=_call, args=(server.address, part))
            called.start()
            stalled = server.wait_for("part_stalled")
            hung = server.wait_for("worker_hung")
            assert (stalled["part"], hung["part"], hung["pid"]) == (part, part, victim.pid)
            server.wait_for("serving", lambda entry: entry["worker"] != stalled["worker"])
            assert client.predict(MINUTES, horizon=HALFTIME, game_id="9900000001").sequence == 1
        called.join(90)
        assert server.stop() == 0
    assert [entry["pid"] for entry in server.events if entry["event"] == "worker_died"] == [victim.pid]


def _call(address: str, part: str) -> None:
    """Make calls that the part has to process, on connections of their own; their result does not matter."""
    with DejavuClient(address, timeout=60.0) as client:
        try:
            if part == "compute":
                client.predict_batch([predict_request([*MINUTES, float(number)]) for number in range(40)])
            else:
                client.predict(MINUTES, horizon=HALFTIME, game_id="9900000002")
        except DejavuClientError:
            pass
