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
from tests.support.processes.scrapes import scrape, scrape_when, value_in
from tests.support.processes.servers import SpawnedServer, settings_in, spawned_server

from dejavu_client import DejavuClient
from dejavu_common.activity import ThreadUsage
from dejavu_server.observability.multiprocess import SupervisorMetrics, server_folder
from dejavu_server.settings import Settings
from dejavu_server.supervisor import recycling, worker_pool, worker_process
from dejavu_server.supervisor.heartbeat import LOOP, HeartbeatReader
from dejavu_server.supervisor.protocol import WorkerStart, WorkerStatus
from dejavu_server.supervisor.recycling import Recycler
from dejavu_server.supervisor.supervisor import MAX_FAILED_STARTS
from dejavu_server.supervisor.worker_pool import LONGEST_OUTAGE_SECONDS, WorkerPool, WorkerSlot
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


def arguments(folder: Path, workers: int) -> tuple[str, ...]:
    ledger = f"sqlite:///{folder / 'ledger.sqlite3'}"
    return ("--workers", str(workers), "--bundle", str(folder / "bundle"), "--ledger", ledger)


def logged(server: SpawnedServer, event: str) -> list[dict[str, object]]:
    return [entry for entry in server.events if entry["event"] == event]


@pytest.mark.nightly
def test_a_server_without_a_worker_ends_with_the_reason_once_it_has_tried_often_enough(tmp_path: Path) -> None:
    copy_of_default(tmp_path / "bundle")
    with spawned_server(*arguments(tmp_path, 1)) as server:
        assert server.address
        shutil.rmtree(tmp_path / "bundle")
        server.workers[0].kill()
        end = server.wait_for("cannot_go_on", seconds=90)
        assert server.exit_code() == 1
    assert str(tmp_path / "bundle") in end["reason"]
    failures = logged(server, "worker_not_started")
    assert end["starts_failed"] == MAX_FAILED_STARTS == len(failures)
    assert all(float(str(entry["retry_seconds"])) <= LONGEST_OUTAGE_SECONDS for entry in failures)
    assert "Traceback" not in server.log()
    assert server.other_lines == []


@pytest.mark.nightly
def test_a_server_that_is_a_worker_short_serves_on_says_so_and_tries_until_it_has_it_back(tmp_path: Path) -> None:
    bundle, away = tmp_path / "bundle", tmp_path / "away"
    copy_of_default(bundle)
    with spawned_server(*arguments(tmp_path, 2), "--metrics-listen", "127.0.0.1:0") as server:
        assert server.address
        bundle.rename(away)
        server.workers[0].kill()
        first = server.wait_for("worker_not_started")
        second = server.wait_for("worker_not_started", lambda entry: entry is not first)
        assert second["retry_seconds"] > first["retry_seconds"] > 0
        scraped = scrape(server)
        assert value_in(scraped, "dejavu_workers") == 1
        assert value_in(scraped, "dejavu_worker_starts_failed_total") == 2
        with DejavuClient(server.address, timeout=20.0) as client:
            assert client.predict(PATTERN).model_version
        away.rename(bundle)
        known = {entry["worker"] for entry in logged(server, "serving")}
        server.wait_for("serving", lambda entry: entry["worker"] not in known, seconds=60)
        assert len(server.workers) == 2
        assert server.stop() == 0
    assert not logged(server, "cannot_go_on")


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("time.sleep(300)", r"did not serve within 1 s"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended before it served: killed by SIGKILL"),
    ],
    ids=["hangs", "dies"],
)
async def test_a_worker_that_hangs_or_dies_as_it_starts_is_gone_and_counts_as_one_that_failed(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch, program: str, told: str
) -> None:
    workers_run(program)
    monkeypatch.setattr(worker_process, "START_SECONDS", 1)
    before = psutil.Process().children()
    figures, ended = SupervisorMetrics(tmp_path), list[object]()
    async with running_pool(tmp_path, figures) as pool:
        await pool.pause(86_400.0)  # longer than a test could wait: without a worker it tries again soon
        for number in (1, 2):
            with pytest.raises(StartError, match=told):
                await pool.start(0, lambda worker, _: ended.append(worker))
            assert pool.failed_starts == number
    assert not ended, "what never served can't end to do so"
    assert not pool.killed
    assert psutil.Process().children() == before
    assert figures.registry.get_sample_value("dejavu_worker_starts_failed_total") == 2
    assert figures.registry.get_sample_value("dejavu_workers") == 0


async def test_a_worker_that_ends_at_once_leaves_its_slot_vacant(tmp_path: Path, workers_run: Program) -> None:
    workers_run("report()")
    figures = SupervisorMetrics(tmp_path)
    async with running_pool(tmp_path, figures) as pool:
        slot = WorkerSlot(0, pool)
        for _ in range(5):
            with contextlib.suppress(StartError):  # not raised if its end was not known yet
                await slot.fill()
                async with asyncio.timeout(60):
                    await slot.wait_vacated()
            assert pool.serving() == []
    assert figures.registry.get_sample_value("dejavu_workers") == 0


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


ORDER = WorkerStart(
    settings=Settings(workers=3, grace_seconds=2.0), slot=2, report_fd=5, make_ledger=False, folder="/f"
)
REPORT = WorkerStatus(models=("v1", "v2"), ledger=True)


def changed(text: str, **fields: Any) -> str:
    return json.dumps({**json.loads(text), **fields})


def test_what_a_later_release_says_beyond_this_one_is_passed_over() -> None:
    settings = {**json.loads(ORDER.settings.to_json()), "shadow_bundle": "/c"}
    assert WorkerStart.from_json(changed(ORDER.to_json(), settings=settings, priority=7)) == ORDER
    assert WorkerStatus.from_json(changed(REPORT.to_json(), warmed_seconds=0.1)) == REPORT


def test_what_another_build_does_not_say_takes_its_default() -> None:
    """A rolling restart has workers of two builds."""
    order, report = json.loads(ORDER.to_json()), json.loads(REPORT.to_json())
    del order["settings"]["workers"], report["ledger"]
    told = WorkerStart.from_json(json.dumps(order))
    assert (told.settings.workers, told.slot) == (Settings().workers, ORDER.slot)
    assert WorkerStatus.from_json(json.dumps(report)).ledger == WorkerStatus().ledger


def test_a_worker_whose_supervisor_is_gone_already_ends_itself() -> None:
    imports = "import signal; from dejavu_common.processes import die_with_parent"
    program = f"{imports}; die_with_parent({os.getpid()} + 1, signal.SIGTERM); print('alive')"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, run.stdout) == (1, "")


SILENT = ("report()", "while True: time.sleep(300)")


HUNG = 2.0
"""Seconds without a heartbeat that count as a hang, the least that settings allow."""


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty intervals without a heartbeat count as a hang. Intervals are short; their duration does not matter."""
    monkeypatch.setattr(worker_process, "HEARTBEAT_SECONDS", HUNG / 20)


async def test_a_worker_that_was_stopped_is_killed_and_its_slot_is_vacant(tmp_path: Path) -> None:
    figures = SupervisorMetrics(tmp_path)
    async with running_pool(tmp_path, figures, hang_seconds=HUNG) as workers:
        ended = asyncio.Event()
        with capture_logs() as log:
            worker = await workers.start(3, lambda *_: ended.set())
            os.kill(worker.pid, signal.SIGSTOP)
            async with asyncio.timeout(60):
                await ended.wait()
            await workers.end()
        [hung] = [entry for entry in log if entry["event"] == "worker_hung"]
        assert (hung["slot"], hung["pid"], hung["seconds"]) == (3, worker.pid, HUNG)
        assert (hung["part"], hung["state"]) == ("loop", "T")
        [died] = [entry for entry in log if entry["event"] == "worker_died"]
        assert died["ending"] == "killed by SIGKILL"
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


async def test_a_report_and_a_hung_part_are_told_from_the_beats_however_the_pipe_cuts_them() -> None:
    data = b'{"L": 1}\n..!ledger-writer\n'
    for cut in range(len(data)):
        hearing = HeartbeatReader()
        for part in (data[:cut], data[cut:]):
            assert hearing.hung_part == ""
            hearing.data_received(part)
        assert (await hearing.report(), hearing.hung_part) == ('{"L": 1}', "ledger-writer")
        assert not hearing.has_ledger
    hearing = HeartbeatReader()
    hearing.data_received(b"{}\n..L")
    assert hearing.has_ledger


@pytest.mark.usefixtures("short_turns")
async def test_a_worker_that_names_a_hung_part_is_killed(tmp_path: Path, workers_run: Program) -> None:
    workers_run(
        "report()",
        "os.write(order['report_fd'], b'.')",
        "time.sleep(0.1)",
        "os.write(order['report_fd'], b'!part-of-a-later-release\\n')",
        "while True: time.sleep(0.01); os.write(order['report_fd'], b'.')",
    )
    figures = SupervisorMetrics(tmp_path)
    async with running_pool(tmp_path, figures) as workers:
        ended = asyncio.Event()
        with capture_logs() as log:
            await workers.start(0, lambda *_: ended.set())
            async with asyncio.timeout(60):
                await ended.wait()
        assert [entry["part"] for entry in log if entry["event"] == "worker_hung"] == ["part-of-a-later-release"]
        counted = figures.registry.get_sample_value("dejavu_worker_hangs_total", {"part": "part-of-a-later-release"})
        assert counted == 1


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


LIMIT = 80
"""MiB, far from the 10 of a stand-in and the 110 of one that takes MUCH, which is below KILL_FACTOR times this."""

MUCH = "taken = bytearray(100 * 1024 * 1024)"
FAR_MORE = "taken = bytearray(200 * 1024 * 1024)"
ENDS = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
GROWS_IN_SLOT_1 = (ENDS, "report()", "time.sleep(0.3)", f"if order['slot'] == 1: {MUCH}", "time.sleep(300)")


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


def told(log: list[EventDict], event: str) -> list[EventDict]:
    return [entry for entry in log if entry["event"] == event]


def count(figures: SupervisorMetrics) -> float | None:
    return figures.registry.get_sample_value("dejavu_workers_recycled_total")


async def test_a_worker_that_grows_above_the_limit_is_drained_after_its_successor_serves(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers_run(*GROWS_IN_SLOT_1)
    async with recycled(tmp_path, monkeypatch) as (slots, figures, log):
        small, large = (slot.worker for slot in slots)
        assert small is not None
        assert large is not None
        await until(lambda: count(figures) == 1)
        successor = slots[1].worker
        assert (slots[0].worker, large.ended, large.end_requested) == (small, True, True)
        assert successor is not None
        assert successor is not large
        [first, *_] = told(log, "worker_recycled")
        assert (first["slot"], first["pid"], first["max_rss_mib"]) == (1, large.pid, LIMIT)
        assert first["rss_mib"] >= LIMIT  # it may still grow
        await until(lambda: len(told(log, "worker_recycled")) >= 2)  # its successor grows as well
    assert {entry["slot"] for entry in told(log, "worker_recycled")} == {1}
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
    assert sorted(entry["slot"] for entry in told(log, "max_rss_too_low")) == [0, 1]


async def test_where_no_successor_starts_the_worker_stays_and_it_is_tried_again(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers_run(*GROWS_IN_SLOT_1)
    async with recycled(tmp_path, monkeypatch) as (slots, figures, log):
        worker = slots[1].worker
        workers_run("sys.exit(3)")
        await until(lambda: len(told(log, "worker_not_recycled")) >= 2)
        assert slots[1].worker is worker
        assert count(figures) == 0
        workers_run(ENDS, "report()", "time.sleep(300)")
        await until(lambda: count(figures) == 1)


async def test_a_worker_far_above_the_limit_is_killed_at_once_even_if_it_has_just_begun_to_serve(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers_run(ENDS, "report()", "time.sleep(0.2)", f"if order['slot'] == 1: {FAR_MORE}", "time.sleep(300)")
    async with recycled(tmp_path, monkeypatch, served_seconds=60.0) as (slots, figures, log):
        small, large = (slot.worker for slot in slots)
        assert large is not None
        await slots[1].wait_vacated()
        assert (slots[0].worker, large.ended, large.end_requested, count(figures)) == (small, True, False, 0)
    killed, *_ = told(log, "worker_far_above_max_rss")  # its successor may be too
    assert (killed["slot"], killed["pid"]) == (1, large.pid)
    assert killed["rss_mib"] >= recycling.KILL_FACTOR * LIMIT  # rounded
    assert {entry["ending"] for entry in told(log, "worker_died")} == {"killed by SIGKILL"}


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
    options = ("--workers", "2", "--max-rss", "300", "--ledger", ledger, "--metrics-listen", "127.0.0.1:0")
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
        recycled_total = "dejavu_workers_recycled_total"
        await asyncio.to_thread(scrape_when, server, lambda text: value_in(text, recycled_total) == 1)
        assert server.stop() == 0
    assert not [entry for entry in server.events if entry["event"] in {"worker_died", "call_failed"}]
