"""kill -9 under load: a worker is missed by nobody who calls, and a supervisor leaves no worker behind."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path

import psutil
import pytest
from tests.support.processes.load import load
from tests.support.processes.servers import SpawnedServer, spawned_server


def arguments(folder: Path, *more: str, workers: int = 2) -> tuple[str, ...]:
    return ("--workers", str(workers), "--ledger", f"sqlite:///{folder / 'ledger.sqlite3'}", *more)


def with_spare(server: SpawnedServer) -> list[psutil.Process]:
    """The supervisor's children, once there is one more than it has workers."""
    server.wait_for("listening")
    supervisor = psutil.Process(server.process.pid)
    while len(children := supervisor.children()) <= len(server.workers):
        psutil.wait_procs(children, timeout=0.02)
    return children


def names(server: SpawnedServer) -> set[str]:
    """The workers that came to serve so far."""
    return {entry["worker"] for entry in server.events if entry["event"] == "serving"}


def served_beside(server: SpawnedServer, known: set[str]) -> None:
    """Waits until another worker has come to serve."""
    server.wait_for("serving", lambda entry: entry["worker"] not in known)


async def test_nobody_who_calls_or_follows_notices_the_death_of_a_worker(tmp_path: Path) -> None:
    with spawned_server(*arguments(tmp_path)) as server:
        address = await asyncio.to_thread(attrgetter("address"), server)
        async with load(address) as clients:
            for number in range(3):
                await clients.answers(100)
                known = names(server)
                server.workers[number % 2].kill()
                await asyncio.to_thread(served_beside, server, known)
                await clients.answers(100)
        clients.check()
        assert len([entry for entry in server.events if entry["event"] == "worker_died"]) == 3
        assert await asyncio.to_thread(server.stop) == 0


async def test_a_worker_and_the_spare_that_die_together_are_both_replaced(tmp_path: Path) -> None:
    with spawned_server(*arguments(tmp_path)) as server:
        children = await asyncio.to_thread(with_spare, server)
        known = names(server)
        [spare] = set(children) - set(server.workers)
        async with load(server.address) as clients:
            spare.kill()
            server.workers[0].kill()
            await asyncio.to_thread(served_beside, server, known)
            await clients.answers(50)
        clients.check()
        assert await asyncio.to_thread(with_spare, server)
        assert await asyncio.to_thread(server.stop) == 0


def test_a_spare_that_dies_is_replaced(tmp_path: Path) -> None:
    with spawned_server(*arguments(tmp_path, workers=1)) as server:
        [spare] = set(with_spare(server)) - set(server.workers)
        spare.kill()
        assert server.wait_for("no_spare")["ending"] == "killed by SIGKILL"
        assert spare not in with_spare(server)
        assert server.stop() == 0


async def test_a_supervisor_killed_under_load_leaves_nobody_behind_and_its_successor_starts_at_once(
    tmp_path: Path,
) -> None:
    """The workers are drained by the kernel's signal; streams go on at the next server and lose nothing."""
    with ExitStack() as stack:
        first = stack.enter_context(spawned_server(*arguments(tmp_path, workers=3)))
        children = await asyncio.to_thread(with_spare, first)
        async with load(first.address, patient=True) as clients:
            await clients.answers(100)
            first.process.kill()
            second = stack.enter_context(spawned_server("--listen", first.address, *arguments(tmp_path)))
            await asyncio.to_thread(second.wait_for, "listening")
            await clients.answers(100)
        clients.check()
        _, alive = await asyncio.to_thread(psutil.wait_procs, children, timeout=30)
        assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
        assert await asyncio.to_thread(second.stop) == 0


@pytest.mark.parametrize("when", ["starting", "worker_died", "reloading"])
def test_a_supervisor_killed_while_a_worker_starts_leaves_nobody_behind(tmp_path: Path, when: str) -> None:
    with spawned_server(*arguments(tmp_path)) as server:
        if when != "starting":
            with_spare(server)
        if when == "worker_died":
            server.workers[0].kill()
        elif when == "reloading":
            server.process.send_signal(signal.SIGHUP)
        server.wait_for(when)
        children = psutil.Process(server.process.pid).children()
        server.process.kill()
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]


def test_what_a_killed_supervisor_kept_its_metrics_in_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    environment = {"TMPDIR": str(tmp_path)}
    metrics = ("--metrics-listen", "127.0.0.1:0")

    def folders() -> set[Path]:
        return set(tmp_path.glob("dejavu-metrics-*"))

    with ExitStack() as stack:

        def server() -> SpawnedServer:
            started = stack.enter_context(
                spawned_server(*arguments(tmp_path, *metrics, workers=1), environment=environment)
            )
            assert started.address
            return started

        first = server()
        [left] = folders()
        second = server()
        first.process.kill()
        first.process.wait()
        assert len(folders()) == 2
        third = server()
        assert left not in folders()
        assert len(folders()) == 2
        assert [each.stop() for each in (second, third)] == [0, 0]
        assert not folders()
