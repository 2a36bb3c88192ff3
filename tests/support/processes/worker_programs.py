"""A crew of workers in the test's process, and programs that are started in place of a worker's.

monkeypatch.setattr(sys, "executable", worker_that(path, "report()", "time.sleep(300)"))
async with crew_in(tmp_path) as crew: …
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.processes.servers import settings_in

from dejavu_server.observability.multiprocess import SupervisorMetrics
from dejavu_server.supervisor.worker_pool import WorkerPool

_PYTHON = sys.executable  # which is what a test replaces

_WORKER = (
    f"#!{_PYTHON}",
    "import json, os, signal, sys, time",
    "order = json.loads(sys.stdin.readline())",
    "def report(**fields):",
    """    line = json.dumps({"address": "127.0.0.1:1", **fields}) + "\\n" """,
    """    os.write(order["report_fd"], line.encode())""",
)


def stand_in(path: Path, *lines: str) -> str:
    """A program of these lines, as its path."""
    path.write_text("\n".join(lines))
    path.chmod(0o755)
    return str(path)


def worker_that(path: Path, *lines: str) -> str:
    """A program that has read its `order`, and does what these lines of Python say; `report()` says that it serves."""
    return stand_in(path, *_WORKER, *lines)


@asynccontextmanager
async def crew_in(folder: Path, figures: SupervisorMetrics | None = None, **changes: Any) -> AsyncIterator[WorkerPool]:
    """A crew that is ended in any case; what it leaves would hold open whatever the tests' own output goes to."""
    crew = WorkerPool(settings_in(folder, **changes), figures or SupervisorMetrics())
    try:
        yield crew
    finally:
        await crew.end()
