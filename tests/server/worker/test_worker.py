"""Worker lifecycle: start, drain, hung threads, errors that prevent a start, and the bundles that it loads."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from structlog.testing import capture_logs
from tests.support.builders.bundles import copy_of_default, mark_unfit, write_refreshed_manifest
from tests.support.builders.calls import GAME, PATTERN, refusal
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.processes.hangs import hang, hanging
from tests.support.processes.servers import new_worker, settings_in, spawned_server

from dejavu.v1 import forecast_pb2, model_service_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import HALFTIME, AsyncDejavuClient, DejavuClient, predict_request
from dejavu_client.errors import DejavuClientError
from dejavu_common.activity import Activity
from dejavu_ledger import Ledger, LedgerUnavailable
from dejavu_models.forecast_query import ForecastQuery
from dejavu_server.observability.metrics import Metrics
from dejavu_server.worker.grpc_options import max_connections
from dejavu_server.worker.models import PreloadedModels, load_models
from dejavu_server.worker.progress import ProgressMonitor
from dejavu_server.worker.worker import Worker
from dejavu_store.bundle import read_manifest
from dejavu_store.default_bundles import default_bundle, refreshed_bundle, served_bundle

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


async def test_a_drain_cuts_off_what_outlasts_its_grace(tmp_path: Path, model: PersistenceForecaster) -> None:
    reached, go_on, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def wait(_: Sequence[ForecastQuery]) -> None:
        loop.call_soon_threadsafe(reached.set)
        assert go_on.wait(10)

    worker = new_worker(tmp_path, model, grace_seconds=0.1)
    async with worker, grpc.aio.insecure_channel(worker.address) as channel:
        model.before = wait
        named = pb.PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)
        batch = pb.PredictBatchRequest(requests=[named, pb.PredictRequest(pattern=PATTERN)])
        call = asyncio.ensure_future(PredictionServiceStub(channel).PredictBatch(batch))
        await reached.wait()
        draining = asyncio.create_task(worker.drain())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        go_on.set()
        await draining
        await worker.drain()  # again does nothing
        assert asyncio.all_tasks() == {asyncio.current_task()}


NAMED = pb.PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)


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


@pytest.mark.parametrize(
    ("descriptors", "max_rss", "connections"),
    [
        (1024, 0, 870),  # the rest is for files
        (65_535, 384, 3276),  # idle connections must not take a worker above max_rss
        (1024, 1024, 870),
        (2**40, 0, 2**31 - 1),
    ],
)
def test_connections_leave_descriptors_and_memory_for_work(descriptors: int, max_rss: int, connections: int) -> None:
    assert max_connections(descriptors, max_rss) == connections


REASON = "CRPS of the half no better than persistence's in 2021"


@pytest.fixture
def unfit(tmp_path: Path) -> Path:
    copy_of_default(tmp_path / "bundle")
    mark_unfit(tmp_path / "bundle", REASON)
    return tmp_path / "bundle"


async def test_every_answer_of_an_unfit_bundle_is_marked_also_where_it_is_recorded(tmp_path: Path, unfit: Path) -> None:
    async with (
        new_worker(tmp_path, shipped=True, bundles=(unfit,), allow_unfit=True) as worker,
        AsyncDejavuClient(worker.address, timeout=20.0) as client,
    ):
        answers = [await client.predict(PATTERN), await client.predict(PATTERN, horizon=HALFTIME, game_id=GAME)]
        answers += [each.forecast async for each in client.list_predictions()]
        answers += [each.forecast for each in await client.predict_batch([predict_request(PATTERN)])]
        [model] = await client.list_models()
    assert (model.verdict, model.verdict_reason) == (model_service_pb2.VERDICT_UNFIT, REASON)
    reasons = [warning.reason for answer in answers for warning in answer.warnings]
    assert reasons == [forecast_pb2.WARNING_REASON_MODEL_UNFIT] * 4


def test_a_server_does_not_start_with_an_unfit_bundle(tmp_path: Path, unfit: Path) -> None:
    ledger = f"sqlite:///{tmp_path}/ledger.sqlite3"
    with spawned_server("--workers", "1", "--bundle", str(unfit), "--ledger", ledger) as server:
        refused = server.wait_for("cannot_start")
        assert server.exit_code() == 1
    assert REASON in refused["reason"]


MINUTES = [float(minute) for minute in range(18)]


class Stalled(Activity):
    """A part whose seconds without progress the test sets."""

    seconds = 0.0

    def check(self, elapsed: float) -> float:
        return self.seconds


def test_readiness_falls_at_half_the_time_and_rises_when_the_part_goes_on() -> None:
    part, other, ready = Stalled("compute"), Stalled("ledger-writer"), list[bool]()
    monitor = ProgressMonitor(lambda: (part, other), 5.0, Metrics(), ready.append)
    rows: Any = (  # seconds of both parts, what was said of readiness, and the part that hangs
        (2.0, 0.0, [], ""),
        (3.0, 0.0, [False], ""),
        (4.0, 0.0, [False], ""),
        (0.0, 3.0, [False], ""),  # another part stalls now
        (6.0, 0.0, [False], "compute"),
        (0.0, 0.0, [False, True], ""),
    )
    for part.seconds, other.seconds, said, hung in rows:
        monitor.check(1.0)
        assert (ready, monitor.hung_part) == (said, hung)


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
    with DejavuClient(address, timeout=60.0) as client, contextlib.suppress(DejavuClientError):
        if part == "compute":
            client.predict_batch([predict_request([*MINUTES, float(number)]) for number in range(40)])
        else:
            client.predict(MINUTES, horizon=HALFTIME, game_id="9900000002")
