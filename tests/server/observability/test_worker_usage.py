from __future__ import annotations

import os
import subprocess
import sys

import psutil
from prometheus_client import CollectorRegistry

from dejavu_server.observability.worker_usage import ServingWorker, WorkerUsage


def registry_of(*workers: ServingWorker) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(WorkerUsage(lambda: workers))
    return registry


def test_a_worker_is_described_by_its_slot_as_the_kernel_describes_its_process() -> None:
    own = psutil.Process()
    registry = registry_of(ServingWorker(3, os.getpid(), beat_age=0.5, served=60.0, versions={}))

    def value(name: str) -> float:
        found = registry.get_sample_value(name, {"worker": "3"})
        assert found is not None
        return found

    before = own.cpu_times()
    # Other threads of the test run may allocate or open files in between.
    assert 0.5 < value("dejavu_worker_resident_bytes") / own.memory_info().rss < 2
    assert abs(value("dejavu_worker_open_fds") - own.num_fds()) <= 20
    assert value("dejavu_worker_max_fds") == own.rlimit(psutil.RLIMIT_NOFILE)[0]
    assert value("dejavu_worker_cpu_seconds_total") >= before.user + before.system - 0.02
    assert value("dejavu_worker_beat_age_seconds") == 0.5
    assert value("dejavu_worker_served_seconds") == 60.0


def test_a_worker_that_has_just_ended_is_left_out() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)
    registry = registry_of(ServingWorker(0, ended.pid, 0.0, 0.0, {}), ServingWorker(1, os.getpid(), 0.0, 0.0, {}))
    families = {
        family.name: [sample.labels.get("worker") for sample in family.samples] for family in registry.collect()
    }
    assert families["dejavu_worker_resident_bytes"] == ["1"]


def test_each_release_among_the_workers_is_named_once_also_after_a_rolling_restart() -> None:
    """The supervisor may be of another release than all of them."""
    names = ("dejavu-forecast", "revision", "grpcio", "python")
    old, new = (dict(zip(names, (version, "r", "1.85.1", "3.13.1"), strict=True)) for version in ("1.0.0", "1.1.0"))
    workers = (ServingWorker(slot, os.getpid(), 0.0, 0.0, each) for slot, each in enumerate((old, new, new)))
    [build] = [each for each in registry_of(*workers).collect() if each.name == "dejavu_build_info"]
    assert sorted(sample.labels["version"] for sample in build.samples) == ["1.0.0", "1.1.0"]
    assert build.samples[0].labels.keys() == {"version", "revision", "grpc", "python"}
