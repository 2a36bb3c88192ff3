"""Workers of a pool: their starts, hangs, memory and replacement."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict
from tests.support.builders.bundles import copy_of_default
from tests.support.builders.calls import PATTERN
from tests.support.harness.waiting import until
from tests.support.processes.hangs import hanging
from tests.support.processes.load import load
from tests.support.processes.servers import settings_in, spawned_server

from dejavu_client import DejavuClient
from dejavu_common.activity import ThreadUsage
from dejavu_server.observability.multiprocess import SupervisorMetrics, server_folder
from dejavu_server.settings import Settings
from dejavu_server.supervisor import recycling, worker_pool, worker_process
from dejavu_server.supervisor.heartbeat import LOOP
from dejavu_server.supervisor.protocol import WorkerStart, WorkerStatus
from dejavu_server.supervisor.recycling import Recycler
from dejavu_server.supervisor.supervisor import MAX_FAILED_STARTS
from dejavu_server.supervisor.worker_pool import WorkerPool, WorkerSlot
from dejavu_server.supervisor.worker_process import StartError, WorkerProcess

Program = Callable[..., None]

WORKER = (
    f"#!{sys.executable}",
    "import json, os, signal, sys, time",
    "if sys.argv[3] == 'dejavu_server.fork_server': sys.exit('a server without one')",
    "order = json.loads(sys.stdin.readline())",
    "def report(**fields):",
    """    line = json.dumps(fields) + "\\n" """,
    """    os.write(order["report_fd"], line.encode())""",
)


@pytest.fixture
def workers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return a function that sets what workers run after they have read their `order`: lines of Python.

    `report()` reports that the worker serves. Started as a fork server, the program fails.
    """
    numbers = itertools.count()

    def run(*lines: str) -> None:
        program = tmp_path / f"python{next(numbers)}"
        program.write_text("\n".join((*WORKER, *lines)))
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return run


@asynccontextmanager
async def running_pool(
    folder: Path, figures: SupervisorMetrics | None = None, **changes: Any
) -> AsyncIterator[WorkerPool]:
    """Yield a worker pool and always end it: remaining workers would keep the tests' output open."""
    with server_folder() as shared:
        pool = WorkerPool(settings_in(folder, **changes), figures or SupervisorMetrics(shared))
        try:
            yield pool
        finally:
            await pool.end()


SERVES = ("report()", "time.sleep(300)")


async def test_a_start_may_fail_while_another_worker_serves(tmp_path: Path, workers_run: Program) -> None:
    workers_run(*SERVES)
    async with running_pool(tmp_path) as pool:
        worker = await pool.start(0, lambda *_: None)
        workers_run("os.kill(os.getpid(), signal.SIGKILL)")
        for serving, failed in (([worker], 0), ([], 1)):
            with pytest.raises(StartError):
                await pool.start(1, lambda *_: None)
            assert (pool.serving(), pool.failed_starts) == (serving, failed)
            worker.kill()
            await worker.wait()


async def test_each_core_starts_one_worker(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    log = tmp_path / "log"
    note = f"open({str(log)!r}, 'a').write('+' if {{}} else '-')"  # starts and ends, in their order
    workers_run(note.format(1), "time.sleep(0.3)", note.format(0), *SERVES)
    async with running_pool(tmp_path) as pool:
        workers = await asyncio.gather(*(pool.start(slot, lambda *_: None) for slot in range(8)))
        assert set(pool.serving()) == set(workers)
    at_once = [*itertools.accumulate({"+": 1, "-": -1}[each] for each in log.read_text())]
    assert (len(at_once), max(at_once)) == (16, 3)


async def test_without_a_fork_server_a_successor_is_started_then(tmp_path: Path, workers_run: Program) -> None:
    workers_run(*SERVES)
    supervisor = psutil.Process()
    before = set(supervisor.children())
    async with running_pool(tmp_path, standby="off") as pool:
        pool.enable_fork_server()
        first = await pool.start(0, lambda *_: None)
        await pool.release_fork_server()
        first.kill()
        await first.wait()
        second = await pool.start(0, lambda *_: None)
        assert {child.pid for child in set(supervisor.children()) - before} == {second.pid}


def test_a_worker_whose_supervisor_is_gone_already_ends_itself() -> None:
    imports = "import signal; from dejavu_common.processes import die_with_parent"
    program = f"{imports}; die_with_parent({os.getpid()} + 1, signal.SIGTERM); print('alive')"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, run.stdout) == (1, "")


HUNG = 2.0
"""Seconds without a heartbeat that count as a hang, the least that settings allow."""


LIMIT = 80
"""MiB, far from the 10 of a stand-in and the 110 of one that takes MUCH, which is below KILL_FACTOR times this."""

MUCH = "taken = bytearray(100 * 1024 * 1024)"
FAR_MORE = "taken = bytearray(200 * 1024 * 1024)"
ENDS = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"


@pytest.mark.nightly
def test_a_server_without_a_worker_ends_with_the_reason_once_it_has_tried_often_enough(tmp_path: Path) -> None:
    """Before that, it serves with one of two workers until it has the other back."""
    bundle, away = tmp_path / "bundle", tmp_path / "away"
    copy_of_default(bundle)
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with spawned_server("--workers", "2", "--bundle", str(bundle), "--ledger", ledger) as server:
        assert server.address
        bundle.rename(away)
        server.workers[0].kill()
        first = server.wait_for("worker_not_started")
        second = server.wait_for("worker_not_started", lambda entry: entry is not first)
        assert second["retry_seconds"] > first["retry_seconds"] > 0
        with DejavuClient(server.address, timeout=20.0) as client:
            assert client.predict(PATTERN).model_version
        away.rename(bundle)
        known = {entry["worker"] for entry in server.events if entry["event"] == "serving"}
        server.wait_for("serving", lambda entry: entry["worker"] not in known, seconds=60)

        shutil.rmtree(bundle)
        for worker in server.workers:
            worker.kill()
        end = server.wait_for("cannot_go_on", seconds=240)
        assert server.exit_code() == 1
    assert str(bundle) in end["reason"]
    assert end["starts_failed"] == 2 * MAX_FAILED_STARTS, "so many of each worker"


@pytest.mark.parametrize(
    ("program", "told"),
    [("time.sleep(300)", "did not serve within 1 s"), ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL")],
    ids=["hangs", "dies"],
)
async def test_a_worker_that_hangs_or_dies_as_it_starts_is_gone_and_counts_as_one_that_failed(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch, program: str, told: str
) -> None:
    workers_run(program)
    monkeypatch.setattr(worker_process, "START_SECONDS", 1)
    before = psutil.Process().children()
    figures = SupervisorMetrics(tmp_path)
    async with running_pool(tmp_path, figures) as pool:
        await pool.pause(86_400.0)  # longer than a test could wait: without a worker it tries again soon
        for number in (1, 2):
            with pytest.raises(StartError, match=told):
                await pool.start(0, lambda *_: None)
            assert pool.failed_starts == number
    assert psutil.Process().children() == before
    assert figures.registry.get_sample_value("dejavu_worker_starts_failed_total") == 2
    assert figures.registry.get_sample_value("dejavu_workers") == 0


async def test_a_worker_that_ends_at_once_leaves_its_slot_vacant(tmp_path: Path, workers_run: Program) -> None:
    workers_run("report()")
    async with running_pool(tmp_path) as pool:
        slot = WorkerSlot(0, pool)
        for _ in range(5):
            with contextlib.suppress(StartError):  # not raised if its end was not known yet
                await slot.fill()
                async with asyncio.timeout(60):
                    await slot.wait_vacated()
            assert pool.serving() == []


def test_workers_and_supervisors_of_two_builds_understand_each_other() -> None:
    """As in a rolling restart: what is unknown is passed over, and what is missing takes its default."""
    order = WorkerStart(settings=Settings(workers=3), slot=2, report_fd=5, make_ledger=False, folder="/f")
    later = json.loads(order.to_json())
    later["settings"]["shadow_bundle"] = later["priority"] = "of a later build"
    assert WorkerStart.from_json(json.dumps(later)) == order
    del later["settings"]["workers"]
    assert WorkerStart.from_json(json.dumps(later)).settings.workers == Settings().workers
    assert WorkerStatus.from_json('{"models": ["v1"], "warmed_seconds": 0.1}') == WorkerStatus(models=("v1",))


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty intervals without a heartbeat count as a hang. Intervals are short; their duration does not matter."""
    monkeypatch.setattr(worker_process, "HEARTBEAT_SECONDS", HUNG / 20)


async def test_a_worker_that_was_stopped_is_killed_and_its_slot_is_vacant(tmp_path: Path) -> None:
    figures, ended = SupervisorMetrics(tmp_path), asyncio.Event()
    async with running_pool(tmp_path, figures, hang_seconds=HUNG) as workers:
        worker = await workers.start(3, lambda *_: ended.set())
        os.kill(worker.pid, signal.SIGSTOP)
        async with asyncio.timeout(60):
            await ended.wait()
    assert figures.registry.get_sample_value("dejavu_worker_deaths_total") == 1
    assert figures.registry.get_sample_value("dejavu_worker_hangs_total", {"part": "loop"}) == 1


async def test_a_worker_tells_of_a_ledger_that_it_came_to_have_later(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    folder.write_text("no folder")
    async with running_pool(folder) as workers:
        worker = await workers.start(0, lambda *_: None)
        before = worker.has_ledger
        folder.unlink()
        folder.mkdir()
        await until(lambda: worker.has_ledger)
        assert not before


SILENT = ("report()", "while True: time.sleep(300)")


@pytest.mark.usefixtures("short_turns")
async def test_a_silent_drain_has_its_grace(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "KILL_AFTER_SECONDS", 0.5)
    workers_run("signal.signal(signal.SIGTERM, signal.SIG_IGN)", *SILENT)
    async with running_pool(tmp_path, grace_seconds=0.0, hang_seconds=HUNG) as workers:
        with capture_logs() as log:
            await workers.start(0, lambda *_: None)
            await workers.end()
        assert [entry["event"] for entry in log] == ["killing_workers"]


@pytest.mark.nightly
@pytest.mark.usefixtures("short_turns")
async def test_a_supervisor_s_sleep_is_no_silence_of_its_workers(tmp_path: Path, workers_run: Program) -> None:
    workers_run(*SILENT)
    worker = await WorkerProcess.spawn(os.environ)
    try:
        await worker.serve(0, settings_in(tmp_path), tmp_path, make_ledger=True)
        hung = asyncio.create_task(worker.until_hung(HUNG))
        await asyncio.sleep(0)
        time.sleep(1.5 * HUNG)  # noqa: ASYNC251 - blocks the event loop on purpose
        for _ in range(4):  # an interval or two: one pass for the expired timer, one to continue
            await asyncio.sleep(0)
        assert not hung.done()
        async with asyncio.timeout(60):
            assert (await hung).part == LOOP
    finally:
        worker.kill()
        await worker.wait()


@pytest.mark.nightly
@pytest.mark.usefixtures("short_turns")
async def test_time_without_a_core_is_no_silence(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says that it runs and used no CPU time, as on a machine with far more work than cores."""
    workers_run("report()", "while True: pass")
    asked = asyncio.Event()
    looks = 0

    def starved(*_: int) -> ThreadUsage:
        nonlocal looks
        looks += 1
        if looks > 100:  # five times as long as it takes to count as hung
            asked.set()
        return ThreadUsage("R", 1.0)

    monkeypatch.setattr(ThreadUsage, "of", starved)
    async with running_pool(tmp_path, hang_seconds=HUNG) as workers:
        worker = await workers.start(0, lambda *_: None)
        async with asyncio.timeout(60):
            await asked.wait()
        assert workers.serving() == [worker]
        monkeypatch.undo()  # from here on it has the cores that it has
        async with asyncio.timeout(60):
            await worker.wait()


@asynccontextmanager
async def recycled(
    folder: Path, monkeypatch: pytest.MonkeyPatch, served_seconds: float = 0.5
) -> AsyncIterator[tuple[list[WorkerSlot], SupervisorMetrics, list[EventDict]]]:
    """Two slots with workers, under a recycler that never waits long."""
    monkeypatch.setattr(recycling, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(recycling, "FIRST_SERVED_SECONDS", served_seconds)
    monkeypatch.setattr(recycling, "LONGEST_SERVED_SECONDS", served_seconds)
    figures = SupervisorMetrics(folder)
    with capture_logs() as log:
        async with running_pool(folder, figures, standby="off") as pool:
            slots = [WorkerSlot(number, pool) for number in range(2)]
            for slot in slots:
                await slot.fill()
            recycler = asyncio.create_task(Recycler(slots, LIMIT, figures, asyncio.Lock()).run())
            yield slots, figures, log
            recycler.cancel()
            await asyncio.wait([recycler])


def told(log: list[EventDict], event: str) -> list[int]:
    """Return the slots of which an event was logged."""
    return [entry["slot"] for entry in log if entry["event"] == event]


def count(figures: SupervisorMetrics) -> float | None:
    return figures.registry.get_sample_value("dejavu_workers_recycled_total")


async def test_a_worker_that_grows_above_the_limit_is_drained_once_a_successor_serves(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers_run(ENDS, "report()", "time.sleep(0.3)", f"if order['slot'] == 1: {MUCH}", "time.sleep(300)")
    async with recycled(tmp_path, monkeypatch) as (slots, figures, log):
        small, large = (slot.worker for slot in slots)
        assert large is not None
        workers_run("sys.exit(3)")  # no successor starts
        await until(lambda: len(told(log, "worker_not_recycled")) >= 2)
        assert slots[1].worker is large
        assert count(figures) == 0
        workers_run(ENDS, "report()", "time.sleep(300)")
        await until(lambda: count(figures) == 1)
        assert (slots[0].worker, large.ended, large.end_requested) == (small, True, True)
        assert slots[1].worker not in {large, None}
    assert not told(log, "worker_died")


async def test_a_worker_that_is_above_the_limit_as_it_starts_is_left_alone_and_that_is_said_once(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers_run(ENDS, MUCH, "report()", "time.sleep(300)")
    async with recycled(tmp_path, monkeypatch) as (slots, figures, log):
        before = [slot.worker for slot in slots]
        await until(lambda: len(told(log, "max_rss_too_low")) == 2)
        await asyncio.sleep(0.6)  # longer than a worker has to have served
        assert [slot.worker for slot in slots] == before
        assert count(figures) == 0
    assert sorted(told(log, "max_rss_too_low")) == [0, 1]


async def test_a_worker_far_above_the_limit_is_killed_at_once_even_if_it_has_just_begun_to_serve(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers_run(ENDS, "report()", "time.sleep(0.2)", f"if order['slot'] == 1: {FAR_MORE}", "time.sleep(300)")
    async with recycled(tmp_path, monkeypatch, served_seconds=60.0) as (slots, figures, _):
        small, large = (slot.worker for slot in slots)
        assert large is not None
        await slots[1].wait_vacated()
        assert (slots[0].worker, large.ended, large.end_requested, count(figures)) == (small, True, False, 0)


@pytest.mark.nightly
async def test_a_server_recycles_a_worker_under_load_and_fails_no_call(tmp_path: Path) -> None:
    """The worker of a real server takes memory on a signal; its supervisor waits for a second instead of thirty."""
    site = hanging(tmp_path)
    with (tmp_path / "site" / "sitecustomize.py").open("a") as program:
        program.write(
            "\nimport dejavu_server.supervisor.recycling as recycling\n"
            "recycling.FIRST_SERVED_SECONDS = recycling.LONGEST_SERVED_SECONDS = 1.0\n"
            "taken = []\n"
            "signal.signal(signal.SIGPROF, lambda *_: taken.append(bytearray(250 * 1024 * 1024)))\n"
        )
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    options = ("--workers", "2", "--max-rss", "300", "--ledger", ledger)
    with spawned_server(*options, environment=site) as server:
        async with load(server.address) as clients:
            await clients.answers(20)
            [victim, other] = server.workers
            victim.send_signal(signal.SIGPROF)
            replaced = await asyncio.to_thread(server.wait_for, "worker_recycled")
            await asyncio.to_thread(server.wait_for, "drained")
            await clients.answers(20)
        clients.check()
        assert replaced["pid"] == victim.pid
        assert other in server.workers
        assert server.stop() == 0
    assert not [entry for entry in server.events if entry["event"] in {"worker_died", "call_failed"}]
