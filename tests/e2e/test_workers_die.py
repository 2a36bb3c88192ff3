"""Tests kill -9 under load: callers do not notice the death of a worker; a supervisor leaves no workers behind."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path

import grpc
import psutil
import pytest
from tests.support.builders.bundles import publish_variant
from tests.support.builders.calls import PATTERN
from tests.support.processes.hangs import at_start
from tests.support.processes.load import load
from tests.support.processes.postgres import ledger_url
from tests.support.processes.servers import SpawnedServer, spawned_server
from typer.testing import CliRunner

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_cli.main import app
from dejavu_models.manifest import LINEAR
from dejavu_store.bundle_store import ModelStore


def arguments(folder: Path, *more: str, workers: int = 2) -> tuple[str, ...]:
    return ("--workers", str(workers), "--ledger", ledger_url(folder), *more)


def with_fork_server(server: SpawnedServer) -> list[psutil.Process]:
    """Return the supervisor's children, once they include a fork server."""
    server.wait_for("listening")
    supervisor = psutil.Process(server.process.pid)
    while len(children := supervisor.children()) <= len(server.workers):
        psutil.wait_procs(children, timeout=0.02)
    return children


def names(server: SpawnedServer) -> set[str]:
    """Return the names of all workers that have served so far."""
    return {entry["worker"] for entry in server.events if entry["event"] == "serving"}


def folders(temporary: Path) -> list[Path]:
    """Return the folders of servers in one for temporary files."""
    return list(temporary.glob("dejavu-server-*"))


def wait_for_other_worker(server: SpawnedServer, known: set[str]) -> None:
    """Wait until another worker serves."""
    server.wait_for("serving", lambda entry: entry["worker"] not in known)


@pytest.mark.parametrize("deaths", [1, pytest.param(2, marks=pytest.mark.nightly)])
async def test_callers_and_subscribers_do_not_notice_the_death_of_a_worker(tmp_path: Path, deaths: int) -> None:
    with spawned_server(*arguments(tmp_path), standby=True) as server:
        address = await asyncio.to_thread(attrgetter("address"), server)
        async with load(address) as clients:
            for number in range(deaths):
                await clients.answers(100)
                known = names(server)
                server.workers[number].kill()
                await asyncio.to_thread(wait_for_other_worker, server, known)
                await clients.answers(100)
        clients.check()
        assert len([entry for entry in server.events if entry["event"] == "worker_died"]) == deaths
        assert await asyncio.to_thread(server.stop) == 0


FORKS_TELL = """
import os, random, signal, sys
random.random()
os.register_at_fork(after_in_child=lambda: print(f"random {random.random()}", file=sys.stderr))
signal.signal(signal.SIGUSR1, lambda *_: os._exit(3))
"""


def test_workers_forked_from_one_process_share_nothing_that_must_differ_and_outlive_it(tmp_path: Path) -> None:
    environment = {**at_start(tmp_path, FORKS_TELL), "TMPDIR": str(tmp_path)}
    with spawned_server(*arguments(tmp_path), environment=environment, standby=True) as server:
        assert server.address
        workers = server.workers
        [fork_server] = set(with_fork_server(server)) - set(workers)
        answers = [answer(server.address, f"99{number:08d}") for number in range(40)]
        assert {worker for _, worker, _ in answers} == names(server)
        assert len({request for _, _, request in answers}) == len(answers)
        assert sorted(sequence for sequence, _, _ in answers) == list(range(1, len(answers) + 1))
        drawn = [line for line in server.other_lines if line.startswith("random ")]
        assert len(set(drawn)) == len(drawn) >= 4
        kept = {int(path.stem.rpartition("_")[2]) for path in tmp_path.glob("dejavu-server-*/*.db")}
        assert kept == {worker.pid for worker in workers}
        fork_server.kill()
        assert server.wait_for("no_spare")["ending"] == "killed by SIGKILL"
        assert fork_server not in with_fork_server(server)
        assert server.workers == workers
        workers[0].send_signal(signal.SIGUSR1)
        assert server.wait_for("worker_died")["ending"] == "exit code 3"
        assert server.stop() == 0


DIES_OF_A_MODEL = """
import os, signal, sys
def die(event, arguments):
    if event == "open" and {file!r} in str(arguments[0]) and os.path.exists({armed!r}):
        os.kill(os.getpid(), signal.SIGSEGV)
sys.addaudithook(die)
"""


@pytest.mark.nightly
def test_a_model_that_kills_the_worker_that_loads_it_kills_each_worker_once_at_most(tmp_path: Path) -> None:
    version, store, armed = publish_variant(tmp_path / "bundle", 0.001), tmp_path / "store", tmp_path / "armed"
    only_its_own = hashlib.sha256((tmp_path / "bundle" / LINEAR).read_bytes()).hexdigest()
    environment = at_start(tmp_path, DIES_OF_A_MODEL.format(file=only_its_own, armed=str(armed)))
    ModelStore.open(store).put(tmp_path / "bundle")
    options = arguments(tmp_path, "--model-store", str(store))
    with spawned_server(*options, environment=environment) as server:

        def run(*words: str) -> int:
            return CliRunner().invoke(app, ["models", *words, "--target", server.address]).exit_code

        assert run("load", version) == 0
        assert run("unload", version) == 0
        armed.touch()
        for _ in range(3):
            assert run("load", version) != 0
        assert answer(server.address, "9900000001")[0] > 0
        assert server.stop() == 0
    assert 1 <= [entry["event"] for entry in server.events].count("worker_died") <= 2


def answer(address: str, game: str) -> tuple[int, str, str]:
    """Return the sequence of a forecast of a game, the worker that made it, and the id of the call."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        request = pb.PredictRequest(pattern=PATTERN, game_id=game, horizon=HORIZON_HALFTIME)
        response, call = PredictionServiceStub(channel).Predict.with_call(request, timeout=20)
        told = dict(call.trailing_metadata())
        return response.forecast.sequence, str(told["dejavu-worker"]), str(told["x-request-id"])


async def test_a_supervisor_killed_under_load_leaves_no_process_and_a_new_one_starts_at_once(
    tmp_path: Path,
) -> None:
    """The kernel's signal drains the workers; streams resume at the next server without loss."""
    environment = {"TMPDIR": str(tmp_path)}
    with ExitStack() as stack:
        first = stack.enter_context(spawned_server(*arguments(tmp_path), environment=environment, standby=True))
        children = await asyncio.to_thread(with_fork_server, first)
        async with load(first.address, patient=True) as clients:
            await clients.answers(100)
            first.process.kill()
            options = ("--listen", first.address, *arguments(tmp_path, workers=1))
            second = stack.enter_context(spawned_server(*options, environment=environment))
            await asyncio.to_thread(second.wait_for, "listening")
            await clients.answers(100)
        clients.check()
        _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=30)
        assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
        assert await asyncio.to_thread(second.stop) == 0
    assert not folders(tmp_path), "the next supervisor removes the folder of a killed one"


@pytest.mark.parametrize(
    "when", ["starting", *(pytest.param(when, marks=pytest.mark.nightly) for when in ("worker_died", "reloading"))]
)
def test_a_supervisor_killed_while_a_worker_starts_leaves_no_process(tmp_path: Path, when: str) -> None:
    with spawned_server(*arguments(tmp_path), standby=True) as server:
        if when != "starting":
            with_fork_server(server)
        if when == "worker_died":
            server.workers[0].kill()
        elif when == "reloading":
            server.process.send_signal(signal.SIGHUP)
        server.wait_for(when)
        children = psutil.Process(server.process.pid).children()
        server.process.kill()
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
