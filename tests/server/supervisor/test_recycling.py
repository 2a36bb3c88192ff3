"""Workers above --max-rss are replaced one at a time, their successors first, and not in a loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict
from tests.server.supervisor.conftest import Program, running_pool
from tests.support.harness.waiting import until
from tests.support.processes.hangs import hanging
from tests.support.processes.load import load
from tests.support.processes.scrapes import scrape_when, value_in
from tests.support.processes.servers import spawned_server

from dejavu_server.observability.multiprocess import SupervisorMetrics
from dejavu_server.supervisor import recycling
from dejavu_server.supervisor.recycling import Recycler
from dejavu_server.supervisor.worker_pool import WorkerSlot

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
