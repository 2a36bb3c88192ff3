"""The server as a process, as an operator sees it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_common.address import Address
from dejavu_models.registry.registry import default_bundle
from dejavu_server.supervisor.ports import reserved_port
from dejavu_server.supervisor.worker_process import (
    FIRST_SECONDS,
    LONGEST_SECONDS,
    STEADY_SECONDS,
    RestartBackoff,
    StartError,
)

WHAT_IF = pb.PredictRequest(pattern=PATTERN)
NAMED = pb.PredictRequest(pattern=PATTERN, game_id=GAME)


def ledger_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.sqlite3'}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpawnedServer]:
    """Server with two workers, which tests must leave serving."""
    ledger = ledger_in(tmp_path_factory.mktemp("ledger"))
    with spawned_server("--workers", "2", "--ledger", ledger, "--metrics-listen", "127.0.0.1:0") as server:
        assert server.address
        yield server


def ask(address: str, request: pb.PredictRequest = WHAT_IF) -> tuple[pb.PredictResponse, str]:
    """Returns a response over a new connection, and the name of the worker that sent it."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel:
        response, call = PredictionServiceStub(channel).Predict.with_call(request, timeout=10)
        return response, str(dict(call.trailing_metadata())["dejavu-worker"])


def pid_of(worker: str) -> int:
    return int(worker.partition("-")[2])


def serving(server: SpawnedServer) -> list[str]:
    return [entry["worker"] for entry in server.events if entry["event"] == "serving"]


def metrics(server: SpawnedServer) -> Callable[..., float]:
    address = server.wait_for("listening")["metrics"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        families = list(text_string_to_metric_families(response.read().decode()))

    def value(name: str, **labels: str) -> float:
        samples = (sample for family in families for sample in family.samples)
        return sum(
            sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    return value


def test_workers_share_the_port_and_the_ledger(server: SpawnedServer) -> None:
    answers = [ask(server.address, NAMED) for _ in range(40)]
    assert len({worker for _, worker in answers}) == 2
    assert len({response.forecast.sequence for response, _ in answers}) == 1


def test_a_worker_that_is_killed_is_replaced(server: SpawnedServer) -> None:
    before = serving(server)
    _, victim = ask(server.address)
    os.kill(pid_of(victim), signal.SIGKILL)
    died = server.wait_for("worker_died", lambda entry: entry["pid"] == pid_of(victim))
    assert died["ending"] == "killed by SIGKILL"
    replacement = server.wait_for("serving", lambda entry: entry["worker"] not in before)["worker"]
    assert replacement.partition("-")[0] == victim.partition("-")[0]  # in the same slot
    assert replacement in {ask(server.address)[1] for _ in range(40)}


def test_a_second_server_on_the_same_port_is_refused(server: SpawnedServer, tmp_path: Path) -> None:
    with spawned_server("--listen", server.address, "--ledger", ledger_in(tmp_path)) as second:
        assert second.exit_code() == 1, second.log()
        assert "Address already in use" in second.wait_for("cannot_start")["reason"]
        assert not serving(second)


def test_a_second_server_on_the_same_port_for_metrics_is_refused(server: SpawnedServer, tmp_path: Path) -> None:
    taken = server.wait_for("listening")["metrics"]
    with spawned_server("--metrics-listen", taken, "--ledger", ledger_in(tmp_path)) as second:
        assert second.exit_code() == 1, second.log()
        assert f"cannot serve metrics on {taken}: Address already in use" in second.wait_for("cannot_start")["reason"]
        assert not serving(second)


def calls_answered(server: SpawnedServer, at_least: float) -> float:
    """Returns the number of answered calls of Predict, once it is so many and two scrapes in a row agree."""
    deadline, last = time.monotonic() + 30, -1.0
    while time.monotonic() < deadline:
        found = metrics(server)("dejavu_calls_total", method="/dejavu.v1.PredictionService/Predict", code="OK")
        if found == last and found >= at_least:
            return found
        last = found
        time.sleep(0.1)  # a call is counted after its caller has the answer, and no event says so
    raise AssertionError(f"{last} calls; expected at least {at_least}")


def test_the_metrics_are_those_of_all_workers(server: SpawnedServer) -> None:
    method = "/dejavu.v1.PredictionService/Predict"
    before = calls_answered(server, at_least=0)
    workers = {ask(server.address)[1] for _ in range(40)}
    assert len(workers) == 2
    assert calls_answered(server, at_least=before + 40) == before + 40
    after = metrics(server)
    assert after("dejavu_calls_in_flight", method=method) == 0
    assert after("dejavu_workers") == 2


def test_a_server_that_is_stopped_before_it_serves_ends_quietly(tmp_path: Path) -> None:
    with spawned_server("--workers", "2", "--ledger", ledger_in(tmp_path)) as server:
        server.wait_for("starting")
        assert server.stop(signal.SIGTERM) == 0
        assert [entry["event"] for entry in server.events] == ["starting", "draining", "stopped"]
        assert server.other_lines == []


def test_ctrl_c_is_the_supervisor_s_business_and_drains_too(tmp_path: Path) -> None:
    with spawned_server("--workers", "1", "--ledger", ledger_in(tmp_path)) as server:
        assert server.address
        [worker] = serving(server)
        os.kill(pid_of(worker), signal.SIGINT)  # workers ignore it
        assert ask(server.address)[1] == worker
        assert server.stop(signal.SIGINT) == 0
        assert not psutil.pid_exists(pid_of(worker))
        assert "Traceback" not in server.log()


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    with spawned_server("--workers", "1", "--ledger", ledger_in(tmp_path), "--grace", "60") as server:
        assert server.address
        [worker] = server.workers
        worker.suspend()  # it cannot drain
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        assert server.stop(signal.SIGTERM, seconds=60) == 1, server.log()
        assert not worker.is_running()
    killed = server.wait_for("killing_workers")
    assert (killed["slots"], killed["pids"], killed["reason"]) == ([0], [worker.pid], "a second signal")
    assert server.wait_for("stopped")["killed"] is True


def test_a_worker_that_does_not_drain_within_the_grace_time_is_killed(tmp_path: Path) -> None:
    with spawned_server("--workers", "2", "--ledger", ledger_in(tmp_path), "--grace", "0") as server:
        assert server.address
        [name, _] = serving(server)
        server.workers[0].suspend()
        assert server.stop(signal.SIGTERM, seconds=60) == 1, server.log()
    killed = server.wait_for("killing_workers")
    assert killed["slots"] == [int(name.partition("-")[0])]
    assert killed["reason"] == "the grace time is over"


def test_workers_do_not_outlive_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with spawned_server("--workers", "1", "--ledger", ledger_in(tmp_path), standby=True) as server:
        worker = psutil.Process(pid_of(server.wait_for("serving")["worker"]))
        family = psutil.Process(server.process.pid).children()  # includes the fork server
        server.process.kill()
        try:
            psutil.wait_procs(family, timeout=20)
            outlived = [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        finally:
            for each in family:  # a process that keeps the log open would block its reader forever
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
    assert worker in family
    assert not outlived


def test_a_bundle_that_is_refused_is_named_once_and_ends_the_start(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(default_bundle(), bundle)
    (bundle / "lstm.onnx").write_bytes(b"not a model")
    with spawned_server("--workers", "2", "--bundle", str(bundle), "--ledger", ledger_in(tmp_path)) as server:
        assert server.exit_code() == 1, server.log()
        assert "lstm.onnx" in server.wait_for("cannot_start")["reason"]
        assert server.log().count("lstm.onnx") == 1
        assert "Traceback" not in server.log()


def test_a_worker_that_dies_young_again_and_again_is_waited_for_longer() -> None:
    backoff = RestartBackoff()
    assert [backoff.after(1.0) for _ in range(4)] == [0.0, *(FIRST_SECONDS * 2**n for n in range(3))]
    assert [backoff.after(1.0) for _ in range(10)][-1] == LONGEST_SECONDS
    assert backoff.after(STEADY_SECONDS) == 0.0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
async def test_a_held_port_belongs_to_those_who_share_it(host: str) -> None:
    async with reserved_port(Address(host, 0)) as address:
        with socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET) as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind((address.host, address.port))
            worker.listen()
        with pytest.raises(StartError, match=str(address.port)):
            await reserved_port(Address(host, address.port), patience=0.1).__aenter__()
    async with reserved_port(Address(host, address.port)) as again:
        assert again.port == address.port


async def test_a_host_that_is_not_there_is_refused() -> None:
    with pytest.raises(StartError, match=r"nowhere\.invalid"):
        await reserved_port(Address("nowhere.invalid", 0)).__aenter__()
