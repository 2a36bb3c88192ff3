"""Starts of workers: no more at once than there are cores; a server gives up if none succeeds, else it retries."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.server.supervisor.conftest import Program, running_pool
from tests.support.builders.bundles import copy_of_default
from tests.support.builders.calls import PATTERN
from tests.support.processes.scrapes import scrape, value_in
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_client import DejavuClient
from dejavu_server.observability.multiprocess import SupervisorMetrics
from dejavu_server.settings import Settings
from dejavu_server.supervisor import worker_process
from dejavu_server.supervisor.protocol import WorkerStart, WorkerStatus
from dejavu_server.supervisor.supervisor import MAX_FAILED_STARTS
from dejavu_server.supervisor.worker_pool import LONGEST_OUTAGE_SECONDS, WorkerSlot
from dejavu_server.supervisor.worker_process import StartError

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


async def test_a_worker_that_ends_as_it_begins_to_serve_leaves_its_slot_vacant_and_is_not_counted(
    tmp_path: Path, workers_run: Program
) -> None:
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


async def test_a_start_that_fails_is_not_in_vain_while_another_worker_serves(
    tmp_path: Path, workers_run: Program
) -> None:
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


async def test_no_more_workers_start_at_once_than_there_are_cores_for(
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


async def test_a_server_that_keeps_no_fork_server_replaces_a_dead_worker_by_a_process_started_then(
    tmp_path: Path, workers_run: Program
) -> None:
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
