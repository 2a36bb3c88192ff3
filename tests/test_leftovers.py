"""Nothing that a test started runs on after the tests, even if their process crashed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.support.harness.waiting import until

STARTS_A_PROCESS = """
import subprocess, sys, time
from tests.support.processes import leftovers
leftovers.end_with_this_process()
started = subprocess.Popen(["sleep", "300"], start_new_session=True)
print(started.pid, flush=True)
time.sleep(300)
"""


def test_a_process_that_a_killed_test_process_started_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS_A_PROCESS], stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout
        started = int(tests.stdout.readline())
        assert Path(f"/proc/{started}").exists()
        tests.kill()
    asyncio.run(until(lambda: not Path(f"/proc/{started}/exe").exists()))
