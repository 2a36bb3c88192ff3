from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dejavu_server.orders import WorkerOrder, WorkerReport
from dejavu_server.settings import Settings


def test_an_order_and_a_report_survive_the_way() -> None:
    order = WorkerOrder(Settings(bundles=(Path("/a b"),), workers=3), slot=2, supervisor_pid=17, report_fd=5)
    assert WorkerOrder.from_json(order.to_json()) == order
    assert "\n" not in order.to_json()
    for report in (WorkerReport(address="127.0.0.1:1"), WorkerReport(refusal='no "bundle"\n')):
        assert WorkerReport.from_json(report.to_json()) == report
        assert "\n" not in report.to_json()


def test_a_worker_whose_supervisor_is_gone_already_ends_itself() -> None:
    program = f"from dejavu_server.orders import die_with_parent; die_with_parent({os.getpid()} + 1); print('alive')"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, run.stdout) == (1, "")
