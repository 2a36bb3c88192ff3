"""The server as a process, as an operator sees it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_server.supervisor.restart_backoff import (
    FIRST_RESTART_SECONDS,
    LONGEST_RESTART_SECONDS,
    STEADY_SECONDS,
    RestartBackoff,
)

WHAT_IF = pb.PredictRequest(pattern=PATTERN)
NAMED = pb.PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)


def ledger_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.sqlite3'}"


HARD_LIMIT = psutil.Process().rlimit(psutil.RLIMIT_NOFILE)[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpawnedServer]:
    """Server with two workers and a low soft limit of open files, which tests must leave serving."""
    options = ("--workers", "2", "--ledger", ledger_in(tmp_path_factory.mktemp("ledger")))
    within = ("prlimit", f"--nofile=256:{HARD_LIMIT}")
    with spawned_server(*options, "--metrics-listen", "127.0.0.1:0", within=within) as server:
        assert server.address
        yield server


def ask(address: str, request: pb.PredictRequest = WHAT_IF) -> tuple[pb.PredictResponse, str]:
    """Return a response over a new connection, and the name of the worker that sent it."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel:
        response, call = PredictionServiceStub(channel).Predict.with_call(request, timeout=10)
        return response, str(dict(call.trailing_metadata())["dejavu-worker"])


def pid_of(worker: str) -> int:
    return int(worker.partition("-")[2])


def serving(server: SpawnedServer) -> list[str]:
    return [entry["worker"] for entry in server.events if entry["event"] == "serving"]


def test_workers_share_the_port_and_the_ledger_and_open_as_many_files_as_they_may(server: SpawnedServer) -> None:
    answers = [ask(server.address, NAMED) for _ in range(40)]
    assert len({worker for _, worker in answers}) == 2
    assert len({response.forecast.sequence for response, _ in answers}) == 1
    assert {worker.rlimit(psutil.RLIMIT_NOFILE) for worker in server.workers} == {(HARD_LIMIT, HARD_LIMIT)}


@pytest.mark.parametrize(("option", "address"), [("--listen", "address"), ("--metrics-listen", "metrics")])
def test_a_second_server_on_the_same_port_is_refused(
    server: SpawnedServer, tmp_path: Path, option: str, address: str
) -> None:
    taken = server.wait_for("listening")[address]
    with spawned_server(option, taken, "--ledger", ledger_in(tmp_path)) as second:
        assert second.exit_code() == 1, second.log()
        assert "Address already in use" in second.wait_for("cannot_start")["reason"]
        assert not serving(second)


def test_a_server_that_is_stopped_before_it_serves_ends_quietly(tmp_path: Path) -> None:
    with spawned_server("--workers", "2", "--ledger", ledger_in(tmp_path)) as server:
        server.wait_for("starting")
        assert server.stop(signal.SIGTERM) == 0
        assert not serving(server)


def test_ctrl_c_is_the_supervisor_s_business_and_drains_too(tmp_path: Path) -> None:
    with spawned_server("--workers", "1", "--ledger", ledger_in(tmp_path)) as server:
        assert server.address
        [worker] = serving(server)
        os.kill(pid_of(worker), signal.SIGINT)  # workers ignore it
        assert ask(server.address)[1] == worker
        assert server.stop(signal.SIGINT) == 0
        assert not psutil.pid_exists(pid_of(worker))
        assert "Traceback" not in server.log()


@pytest.mark.parametrize(("grace", "signals"), [("60", 2), ("0", 1)], ids=["a second signal", "the grace is over"])
def test_a_worker_that_does_not_drain_is_killed(tmp_path: Path, grace: str, signals: int) -> None:
    with spawned_server("--workers", "1", "--ledger", ledger_in(tmp_path), "--grace", grace) as server:
        assert server.address
        [hung] = server.workers
        hung.suspend()  # it cannot drain
        for _ in range(signals - 1):
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("draining")
        assert server.stop(signal.SIGTERM, seconds=60) == 1, server.log()
        assert not hung.is_running()


def test_a_worker_that_dies_young_again_and_again_is_waited_for_longer() -> None:
    backoff = RestartBackoff()
    assert [backoff.after(1.0) for _ in range(4)] == [0.0, *(FIRST_RESTART_SECONDS * 2**n for n in range(3))]
    assert [backoff.after(1.0) for _ in range(10)][-1] == LONGEST_RESTART_SECONDS
    assert backoff.after(STEADY_SECONDS) == 0.0
