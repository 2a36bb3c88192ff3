"""A worker pool in the test's process, and programs that replace a worker's program.

monkeypatch.setattr(sys, "executable", worker_that(path, "report()", "time.sleep(300)"))
async with running_pool(tmp_path) as pool: …
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.processes.servers import settings_in

from dejavu_server.observability.multiprocess import SupervisorMetrics, server_folder
from dejavu_server.supervisor.worker_pool import WorkerPool

_PYTHON = sys.executable  # tests replace sys.executable

_WORKER = (
    f"#!{_PYTHON}",
    "import json, os, signal, sys, time",
    "if sys.argv[3] == 'dejavu_server.fork_server': sys.exit('a server without one')",
    "order = json.loads(sys.stdin.readline())",
    "def report(**fields):",
    """    line = json.dumps(fields) + "\\n" """,
    """    os.write(order["report_fd"], line.encode())""",
)


def worker_that(path: Path, *lines: str) -> str:
    """Write a worker that reads its `order` and runs these lines of Python; return its path.

    `report()` reports that it serves. Started as a fork server, it fails.
    """
    path.write_text("\n".join((*_WORKER, *lines)))
    path.chmod(0o755)
    return str(path)


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
