"""A worker pool in the test's process, and programs that replace a worker's program.

workers_run("report()", "time.sleep(300)")
async with running_pool(tmp_path) as pool: …
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes.servers import settings_in

from dejavu_server.observability.multiprocess import SupervisorMetrics, server_folder
from dejavu_server.supervisor.worker_pool import WorkerPool

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
