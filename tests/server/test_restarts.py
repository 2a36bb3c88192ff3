"""SIGTERM and SIGHUP under load: a drain, and new workers one by one; no caller notices."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.support.builders.bundles import light_bundle, publish_variant
from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.load import load
from tests.support.processes.postgres import ledger_url
from tests.support.processes.scrapes import scrape
from tests.support.processes.servers import SpawnedServer, spawned_server

import dejavu_server
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import AsyncDejavuClient
from dejavu_models.manifest import LINEAR
from dejavu_store.bundle import read_manifest


def drained(folder: Path) -> tuple[str, ...]:
    """Return options of a server with a longer grace than any test may take: no drain that ends waited for it."""
    return ("--workers", "1", "--ledger", ledger_url(folder), "--grace", "300")


@asynccontextmanager
async def watcher(address: str) -> AsyncIterator[Any]:
    """A health watch, on a connection of its own, that has been told SERVING."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        health: Any = HealthStub(channel)  # its types know no Watch
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        yield watch


async def test_a_client_that_can_go_elsewhere_sees_no_drain(tmp_path: Path) -> None:
    """Two servers on one ledger; one of them is drained, and then, when it is back, the other."""
    with ExitStack() as stack:
        one, two = (stack.enter_context(spawned_server(*drained(tmp_path))) for _ in range(2))
        addresses = [await asyncio.to_thread(attrgetter("address"), each) for each in (one, two)]
        async with load(f"ipv4:{','.join(addresses)}") as clients, watcher(addresses[0]) as watch:
            await clients.answers(100)
            assert await asyncio.to_thread(one.stop) == 0
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert await watch.code() is grpc.StatusCode.UNAVAILABLE
            await clients.answers(100)
            again = stack.enter_context(spawned_server("--listen", addresses[0], *drained(tmp_path)))
            assert await asyncio.to_thread(lambda: again.address) == addresses[0]
            assert await asyncio.to_thread(two.stop) == 0
            await clients.answers(100)
        clients.check()
        assert await asyncio.to_thread(again.stop) == 0
    assert_quiet(one, two, again)


async def test_a_batch_that_runs_when_the_drain_begins_is_answered_and_nothing_else_is_waited_for(
    tmp_path: Path,
) -> None:
    named = pb.PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)
    what_if = pb.PredictRequest(pattern=PATTERN)
    with spawned_server(*drained(tmp_path)) as server:
        address = await asyncio.to_thread(lambda: server.address)
        async with grpc.aio.insecure_channel(address) as channel, watcher(address) as watch:
            service = PredictionServiceStub(channel)
            await service.Predict(what_if, timeout=60)  # the lock is not waited for long
            with sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None) as lock:
                lock.execute("BEGIN IMMEDIATE")  # nothing can be recorded until it ends
                running = service.PredictBatch(pb.PredictBatchRequest(requests=[named, what_if]), timeout=60)
                # Over the same connection: when this is answered, the server has the batch too.
                await service.Predict(what_if, timeout=60)
                server.process.send_signal(signal.SIGTERM)
                assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
                assert await watch.code() is grpc.StatusCode.UNAVAILABLE
                assert not running.done()
                lock.execute("ROLLBACK")
            lock.close()
            assert [result.forecast.sequence for result in (await running).results] == [1, 0]
            assert await asyncio.to_thread(server.exit_code, seconds=60) == 0
    assert_quiet(server)


def assert_quiet(*servers: SpawnedServer) -> None:
    for server in servers:
        assert not server.troubles, server.log()
        assert server.other_lines == []


@contextmanager
def server_in(folder: Path, *args: str, workers: int = 2, release: Path | None = None) -> Iterator[SpawnedServer]:
    """A server of the bundle in folder/bundle, with its ledger beside it; of the release in a folder, if given."""
    bundle, ledger = str(folder / "bundle"), ledger_url(folder)
    own = ("--workers", str(workers), "--bundle", bundle, "--ledger", ledger, *args)
    path = os.pathsep.join(filter(None, (str(release), os.environ.get("PYTHONPATH"))))
    options: Any = {}
    if release is not None:
        options = {"environment": {"PYTHONPATH": path}, "standby": True, "new_interpreter": True}
    with spawned_server(*own, **options) as server:
        yield server


@pytest.fixture
def old(tmp_path: Path) -> str:
    """The version of the bundle that a server begins with."""
    return read_manifest(shutil.copytree(light_bundle(), tmp_path / "bundle")).version


def reload(server: SpawnedServer) -> None:
    server.process.send_signal(signal.SIGHUP)


def workers_of(server: SpawnedServer, event: str) -> list[tuple[str, str, str]]:
    """Return the workers that logged an event, in that order: slot, "-" and process id of each."""
    return [entry["worker"].partition("-") for entry in server.events if entry["event"] == event and "worker" in entry]


def reloaded(server: SpawnedServer, *, but: object = None) -> dict[str, Any]:
    """Wait for the end of a round in which every worker was replaced; return its event, which is not the one given."""
    return server.wait_for("reloaded", lambda entry: entry is not but, seconds=90)


async def versions(address: str, calls: int = 12) -> set[str]:
    """Return the models that answer now, over new connections."""
    async with AsyncDejavuClient(address, timeout=20.0) as client:
        return {(await client.predict(PATTERN)).model_version for _ in range(calls)}


@pytest.mark.parametrize(
    "killed",
    [
        "",
        pytest.param("0-", id="a worker dies while its successor starts", marks=pytest.mark.nightly),
        pytest.param("1-", id="a worker dies before its turn", marks=pytest.mark.nightly),
    ],
)
async def test_a_new_bundle_comes_in_under_load_and_no_call_fails_and_no_stream_loses_anything(
    tmp_path: Path, old: str, killed: str
) -> None:
    with server_in(tmp_path) as server:
        address = await asyncio.to_thread(lambda: server.address)
        async with load(address) as clients:
            await clients.answers(100)
            assert set(clients.versions) == {old}
            new = publish_variant(tmp_path / "bundle", 0.007, light=True)
            victims = [int(pid) for slot, _, pid in workers_of(server, "serving") if killed == f"{slot}-"]
            reload(server)
            await asyncio.to_thread(server.wait_for, "reloading")
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(reloaded, server)
            await clients.answered_by(new)
            await clients.answers(100)
        clients.check()
        assert set(clients.versions) == {old, new}
        assert await versions(address) == {new}
        told = [entry["event"] for entry in server.events if entry["event"] == "listening" or "worker" in entry]
        serving = list(accumulate({"serving": 1, "draining": -1}.get(event, 0) for event in told))
        assert victims or min(serving[told.index("listening") :]) == 2, "never fewer serve than before"
        assert len(server.workers) == 2
        assert [entry["pid"] for entry in server.events if entry["event"] == "worker_died"] == victims
        assert await asyncio.to_thread(server.stop) == 0
    assert victims or not server.troubles


@pytest.mark.nightly
async def test_a_bundle_that_is_refused_changes_nothing_and_a_good_one_comes_in_later(tmp_path: Path, old: str) -> None:
    with server_in(tmp_path, "--metrics-listen", "127.0.0.1:0", workers=1) as server:
        address = await asyncio.to_thread(lambda: server.address)
        workers = server.workers
        (tmp_path / "bundle" / LINEAR).write_bytes(b"no model")
        reload(server)
        failed = await asyncio.to_thread(server.wait_for, "reload_failed")
        assert LINEAR in failed["reason"]
        assert (await versions(address), server.workers) == ({old}, workers)
        assert "dejavu_last_reload_failed 1.0" in scrape(server)

        new = publish_variant(tmp_path / "bundle", 0.007, light=True)
        reload(server)
        await asyncio.to_thread(reloaded, server)
        assert await versions(address) == {new}
        assert "dejavu_last_reload_failed 0.0" in scrape(server)


@pytest.mark.nightly
def test_a_new_release_comes_in_and_one_that_is_broken_does_not(tmp_path: Path, old: str) -> None:
    """The server runs from a copy of its package, which is changed as an installation would change it."""
    release = shutil.copytree(Path(dejavu_server.__file__).parent, tmp_path / "release" / "dejavu_server")
    program = release / "worker" / "worker.py"
    code = program.read_text()
    with server_in(tmp_path, workers=1, release=release.parent) as server:
        assert server.address
        program.write_text(code.replace('_log.info("serving", ', '_log.info("serving", release="the next one", '))
        reload(server)
        server.wait_for("serving", lambda entry: entry.get("release") == "the next one")
        reloaded(server)
        serving = server.workers
        program.write_text(code + "\nan installation that was cut sho")
        reload(server)
        assert "exit code 1" in server.wait_for("reload_failed")["reason"]
        assert server.workers == serving
        assert server.stop() == 0


@pytest.mark.nightly
def test_a_reload_asked_for_at_any_time_never_ends_a_server(tmp_path: Path, old: str) -> None:
    with server_in(tmp_path, workers=1) as server:
        server.wait_for("starting")
        reload(server)
        server.wait_for("reloading")
        reload(server)
        reloaded(server, but=reloaded(server))
        assert server.stop() == 0


def test_a_server_stopped_in_the_middle_of_a_round_drains_everything(tmp_path: Path, old: str) -> None:
    with server_in(tmp_path) as server:
        assert server.address
        reload(server)
        server.wait_for("reloading")
        children = psutil.Process(server.process.pid).children()
        assert server.stop() == 0
        assert not [child for child in children if child.is_running()]
    assert server.events[-1]["event"] == "stopped"
    assert not server.troubles
    assert server.other_lines == []


@pytest.mark.nightly
async def test_a_worker_that_comes_back_with_another_bundle_than_the_others_is_told_of(
    tmp_path: Path, old: str
) -> None:
    with server_in(tmp_path) as server:
        assert await asyncio.to_thread(lambda: server.address)
        new = publish_variant(tmp_path / "bundle", 0.007, light=True)
        server.workers[0].kill()
        told = await asyncio.to_thread(server.wait_for, "models_differ")
        assert sorted(told["models"]) == sorted([[old], [new]])
        reload(server)
        await asyncio.to_thread(reloaded, server)
        assert await asyncio.to_thread(server.stop) == 0
    assert [entry["event"] for entry in server.events].count("models_differ") == 1


ON_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "dejavu_server", *sys.argv[1:]])
"""


@pytest.mark.nightly
def test_a_server_that_was_started_from_a_terminal_reloads_when_asked_and_ends_with_its_terminal(
    tmp_path: Path,
) -> None:
    ledger = ledger_url(tmp_path)
    arguments = ("--listen", "127.0.0.1:0", "--workers", "1", "--ledger", ledger, "--log-format", "json")
    terminal, its_end = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, *arguments],
        stdin=its_end,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DEJAVU_STANDBY": "off"},
    )
    os.close(its_end)
    server = SpawnedServer(process)
    try:
        assert server.address
        reload(server)
        reloaded(server)
        os.close(terminal)
        assert server.exit_code(seconds=60) == 0, server.log()
        assert server.wait_for("draining", lambda entry: "worker" not in entry)["signal"] == "SIGHUP"
    finally:
        server.close()
