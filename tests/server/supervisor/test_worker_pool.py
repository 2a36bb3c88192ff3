"""Starting and ending workers, with stand-ins for their program."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest
from tests.server.supervisor.conftest import Program
from tests.support.processes.worker_programs import running_pool

SERVES = ("report()", "time.sleep(300)")


async def test_no_more_workers_start_at_once_than_there_are_cores_for(
    tmp_path: Path, workers_run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    starting, counts = tmp_path / "starting", tmp_path / "counts"
    starting.mkdir()
    counts.mkdir()
    program = (
        f"mine = os.path.join({str(starting)!r}, str(os.getpid()))",
        "os.mkdir(mine)",
        "time.sleep(0.3)",
        f"open(os.path.join({str(counts)!r}, str(os.getpid())), 'w').write(str(len(os.listdir({str(starting)!r}))))",
        "os.rmdir(mine)",
    )
    workers_run(*program, *SERVES)
    async with running_pool(tmp_path) as pool:
        workers = await asyncio.gather(*(pool.start(slot, lambda *_: None) for slot in range(8)))
        assert set(pool.serving()) == set(workers)
        seen = [int(path.read_text()) for path in counts.iterdir()]
        assert len(seen) == 8
        assert max(seen) <= 3


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
