"""A worker with a hung thread reports that it is not ready, logs which part hangs, and is killed and replaced."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.support.processes.hangs import hang, hanging
from tests.support.processes.servers import spawned_server

from dejavu_client import HALFTIME, DejavuClient, predict_request
from dejavu_client.errors import DejavuClientError
from dejavu_common.activity import Activity
from dejavu_server.observability.metrics import Metrics
from dejavu_server.worker.progress import ProgressMonitor

MINUTES = [float(minute) for minute in range(18)]


class Stalled(Activity):
    """A part whose seconds without progress the test sets."""

    seconds = 0.0

    def check(self, elapsed: float) -> float:
        return self.seconds


def test_readiness_falls_at_half_the_time_and_rises_when_the_part_goes_on() -> None:
    part, other, ready = Stalled("compute"), Stalled("ledger-writer"), list[bool]()
    metrics = Metrics()
    monitor = ProgressMonitor(lambda: (part, other), 5.0, metrics, ready.append)
    with capture_logs() as log:
        for part.seconds in (0.0, 2.0, 3.0, 4.0):
            monitor.check(1.0)
        assert (ready, monitor.hung_part) == ([False], "")
        other.seconds = 3.0
        part.seconds = 0.0
        monitor.check(1.0)
        assert ready == [False]  # another part stalls now
        part.seconds, other.seconds = 6.0, 0.0
        monitor.check(1.0)
        assert monitor.hung_part == "compute"
        part.seconds = 0.0
        monitor.check(1.0)
        assert (ready, monitor.hung_part) == ([False, True], "")
    told = [(entry["event"], entry["part"]) for entry in log]
    assert told[0] == ("part_stalled", "compute")
    assert told[-1] == ("part_goes_on", "compute")
    assert ("part_stalled", "ledger-writer") in told


@pytest.mark.nightly
@pytest.mark.parametrize("part", ["compute", "ledger-writer"])
def test_a_worker_whose_thread_hangs_is_unready_killed_and_succeeded(tmp_path: Path, part: str) -> None:
    """The thread hangs in a real worker; its loop runs, so that it can say so itself."""
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    options = ("--workers", "1", "--hang-seconds", "2", "--ledger", ledger)
    with spawned_server(*options, environment=hanging(tmp_path)) as server:
        with DejavuClient(server.address, timeout=60.0) as client:
            client.predict(MINUTES, horizon=HALFTIME, game_id="9900000001")
            [victim] = server.workers
            hang(victim.pid, part)
            called = threading.Thread(target=_call, args=(server.address, part))
            called.start()
            stalled = server.wait_for("part_stalled")
            hung = server.wait_for("worker_hung")
            assert (stalled["part"], hung["part"], hung["pid"]) == (part, part, victim.pid)
            server.wait_for("serving", lambda entry: entry["worker"] != stalled["worker"])
            assert client.predict(MINUTES, horizon=HALFTIME, game_id="9900000001").sequence == 1
        called.join(90)
        assert server.stop() == 0
    assert [entry["pid"] for entry in server.events if entry["event"] == "worker_died"] == [victim.pid]


def _call(address: str, part: str) -> None:
    """Make calls that the part has to process, on connections of their own; their result does not matter."""
    with DejavuClient(address, timeout=60.0) as client:
        try:
            if part == "compute":
                client.predict_batch([predict_request([*MINUTES, float(number)]) for number in range(40)])
            else:
                client.predict(MINUTES, horizon=HALFTIME, game_id="9900000002")
        except DejavuClientError:
            pass
