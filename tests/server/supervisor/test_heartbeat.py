"""Hung workers are detected by missing heartbeats, killed and replaced; other workers are left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.server.supervisor.conftest import Program, running_pool
from tests.support.harness.waiting import until
from tests.support.processes.servers import settings_in

from dejavu_common.activity import ThreadUsage
from dejavu_server.observability.multiprocess import SupervisorMetrics
from dejavu_server.supervisor import worker_pool, worker_process
from dejavu_server.supervisor.heartbeat import LOOP, HeartbeatReader
from dejavu_server.supervisor.worker_process import WorkerProcess

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
async def test_a_worker_that_drains_has_its_grace_time_however_silent_it_is(
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
async def test_time_that_the_supervisor_slept_through_is_no_silence_of_its_workers(
    tmp_path: Path, workers_run: Program
) -> None:
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
async def test_a_worker_that_names_a_hung_part_is_killed_whatever_the_part(
    tmp_path: Path, workers_run: Program
) -> None:
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
async def test_time_in_which_a_worker_got_no_core_is_no_silence(
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
