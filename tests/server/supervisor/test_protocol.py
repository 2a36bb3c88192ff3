from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from dejavu_server.settings import Settings
from dejavu_server.supervisor.protocol import WorkerStart, WorkerStatus

ORDER = WorkerStart(
    settings=Settings(bundles=(Path("/a b"),), workers=3, grace_seconds=2.0),
    slot=2,
    report_fd=5,
    make_ledger=False,
    folder="/f",
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
