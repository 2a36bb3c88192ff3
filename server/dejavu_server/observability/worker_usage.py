"""Versions of the workers, and the resource usage of their processes, read at each scrape. Imports no gRPC.

The label `worker` is the number of the slot: it has as many values as the server has workers, however many processes
die.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dejavu_common.processes import resident_mebibytes, state_and_cpu_seconds

_MEBIBYTE = 1024 * 1024


class ServingWorker(NamedTuple):
    """A worker that serves.

    Attributes:
        slot: number of its slot.
        pid: its process id.
        beat_age: seconds since its last heartbeat.
        served: seconds for which it has served.
        versions: of dejavu-forecast, its revision, grpcio and Python, by name.
    """

    slot: int
    pid: int
    beat_age: float
    served: float
    versions: Mapping[str, str]


_VERSIONS: Final = {"dejavu-forecast": "version", "revision": "revision", "grpcio": "grpc", "python": "python"}
"""Labels of versions, by their names."""


class WorkerUsage(Collector):
    """Collects versions and resource usage of the workers.

    Args:
        workers: returns the workers that serve; called on any thread.
    """

    def __init__(self, workers: Callable[[], Iterable[ServingWorker]]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield the metrics of all workers; a process that has just ended has none."""
        label = ["worker"]
        cpu = CounterMetricFamily("dejavu_worker_cpu_seconds", "CPU time of a worker's process.", labels=label)
        rss = GaugeMetricFamily("dejavu_worker_resident_bytes", "Resident memory of a worker.", labels=label)
        files = GaugeMetricFamily("dejavu_worker_open_fds", "Open file descriptors of a worker.", labels=label)
        limit = GaugeMetricFamily("dejavu_worker_max_fds", "Limit of open file descriptors.", labels=label)
        beat = GaugeMetricFamily("dejavu_worker_beat_age_seconds", "Time since a worker's heartbeat.", labels=label)
        served = GaugeMetricFamily("dejavu_worker_served_seconds", "Time for which a worker has served.", labels=label)
        build = GaugeMetricFamily(
            "dejavu_build_info", "Versions of the workers; always 1.", labels=[*_VERSIONS.values()]
        )
        serving = list(self._workers())
        # During a rolling restart, and after one that failed, workers may be of several releases.
        for versions in {tuple(worker.versions.get(name, "") for name in _VERSIONS) for worker in serving}:
            build.add_metric(versions, 1)
        for worker in serving:
            process, name = Path(f"/proc/{worker.pid}"), [str(worker.slot)]
            try:
                _, seconds = state_and_cpu_seconds(process / "stat")
                descriptors, most = _open_files(process), _file_limit(process)
            except (OSError, ValueError, IndexError):
                continue
            cpu.add_metric(name, seconds)
            rss.add_metric(name, resident_mebibytes(worker.pid) * _MEBIBYTE)
            files.add_metric(name, descriptors)
            limit.add_metric(name, most)
            beat.add_metric(name, worker.beat_age)
            served.add_metric(name, worker.served)
        yield from (build, cpu, rss, files, limit, beat, served)


def _open_files(process: Path) -> int:
    return sum(1 for _ in (process / "fd").iterdir())


def _file_limit(process: Path) -> float:
    lines = (process / "limits").read_text().splitlines()
    soft = next(line for line in lines if line.startswith("Max open files")).split()[3]
    return float("inf") if soft == "unlimited" else int(soft)
