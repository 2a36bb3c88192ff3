"""Metrics of all workers of a server, statistics lately and since its start, and quantiles from histograms."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge

from dejavu.ops.v1.operations_service_pb2 import LedgerState, ServerInfo
from dejavu_common.address import Address
from dejavu_server.api.converters.operations import stats_message
from dejavu_server.observability.metrics import FILE_BYTES, LATENCY_BUCKETS, Metrics
from dejavu_server.observability.multiprocess import FOLDER_VARIABLE, SupervisorMetrics, server_folder
from dejavu_server.observability.quantiles import quantile
from dejavu_server.observability.statistics import (
    CALLS,
    MARK_SECONDS,
    SECONDS,
    WINDOW_SECONDS,
    ServerStatistics,
    Statistics,
    StatisticsReader,
    StatisticsWriter,
    WorkerStatistics,
    key,
)
from dejavu_server.observability.worker_usage import ServingWorker, WorkerUsage

FEED = {"feed": "nba", "reporter": "token:poller"}

# Simulates a worker: one finished call, one in progress; prints its process id.
PROGRAM = """
import glob
import os
from dejavu_server.observability.metrics import Metrics, allocate_files
allocate_files()
metrics = Metrics()
metrics.calls.labels("Predict", "OK").inc()
metrics.seconds.labels("Predict", "OK").observe(0.7)
metrics.in_flight.labels("Predict").inc()
metrics.feed_reported.labels("nba", "token:poller").set_to_current_time()
print(os.getpid())
"""


@contextmanager
def supervisor_metrics() -> Iterator[SupervisorMetrics]:
    """Metrics in a folder of their own, served on an address."""
    with server_folder() as folder:
        metrics = SupervisorMetrics(folder)
        with metrics.served(Address("127.0.0.1", 0)):
            yield metrics


def run(program: str, figures: SupervisorMetrics) -> str:
    """Run a program as a worker until it ends; return what it prints."""
    environment = {FOLDER_VARIABLE: str(figures.folder)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60).stdout


def work(figures: SupervisorMetrics) -> int:
    """Run a simulated worker until it ends; return its process id."""
    return int(run(PROGRAM, figures))


def test_workers_are_added_up_and_what_a_dead_one_was_doing_no_longer_counts() -> None:
    with supervisor_metrics() as figures:
        dead, _ = work(figures), work(figures)
        figures.worker_serves()
        figures.worker_serves()
        figures.worker_ended(dead, served=True, asked=False)
        with urllib.request.urlopen(f"http://{figures.address}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
    assert 'dejavu_calls_total{code="OK",method="Predict"} 2.0' in lines
    assert 'dejavu_calls_in_flight{method="Predict"} 1.0' in lines
    assert "dejavu_workers 1.0" in lines
    assert "dejavu_worker_deaths_total 1.0" in lines
    assert not figures.folder.exists()


def test_workers_that_have_ended_share_files_as_short_as_their_content_and_none_of_their_counts_is_lost() -> None:
    """Their metrics are read every second: files of each would make that slower with every worker that ends."""
    with supervisor_metrics() as figures:
        value = figures.registry.get_sample_value
        living = work(figures)
        for number in range(1, 4):
            figures.worker_ended(work(figures), served=True, asked=True)
            kept = {path for path in figures.folder.iterdir() if str(living) not in path.name}
            assert len(kept) == 3  # counters, histograms and newest values
            assert max(path.stat().st_size for path in kept) < FILE_BYTES["histogram"] / 8
            for name in ("dejavu_calls_total", "dejavu_call_seconds_count"):
                assert value(name, {"method": "Predict", "code": "OK"}) == 1 + number
        reported = value("dejavu_feed_reported_timestamp_seconds", FEED)
        figures.worker_ended(living, served=True, asked=True)
        assert value("dejavu_feed_reported_timestamp_seconds", FEED) == reported != 0


def test_what_a_worker_that_ended_left_damaged_stops_nothing() -> None:
    with supervisor_metrics() as figures:
        pid = work(figures)
        (figures.folder / f"counter_{pid}.db").write_bytes(b"\xff" * 100)
        (figures.folder / f"histogram_{pid}.db").write_bytes(b"")
        figures.worker_ended(pid, served=True, asked=False)
        figures.worker_ended(work(figures), served=True, asked=False)
        assert figures.registry.get_sample_value("dejavu_calls_total", {"method": "Predict", "code": "OK"}) == 1


def test_histograms_of_all_methods_with_six_codes_each_fit_the_space_that_is_allocated() -> None:
    program = f"""
import os
from pathlib import Path
from dejavu_server.access.policy import POLICY
from dejavu_server.observability.metrics import Metrics, allocate_files
allocate_files()
metrics = Metrics()
for method in POLICY:
    for code in ("OK", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "UNAVAILABLE", "PERMISSION_DENIED", "UNAUTHENTICATED"):
        metrics.seconds.labels(method, code).observe(1.0)
        metrics.calls.labels(method, code).inc()
for caller in range(33):
    for code in ("OK", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "UNAVAILABLE", "PERMISSION_DENIED", "UNAUTHENTICATED"):
        metrics.callers.labels("a" * 64, code).inc()
for path in Path(os.environ[{FOLDER_VARIABLE!r}]).iterdir():
    print(path.name.rpartition("_")[0], path.stat().st_size, int.from_bytes(path.read_bytes()[:4], "little"))
"""
    with supervisor_metrics() as figures:
        lines = [line.split() for line in run(program, figures).splitlines()]
    assert {kind: int(size) for kind, size, _ in lines} == FILE_BYTES
    assert all(int(used) < int(size) for _, size, used in lines)


def registry_of(*workers: ServingWorker) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(WorkerUsage(lambda: workers))
    return registry


def test_each_release_among_the_workers_is_named_once_also_after_a_rolling_restart() -> None:
    """The supervisor may be of another release than all of them."""
    names = ("dejavu-forecast", "revision", "grpcio", "python")
    old, new = (dict(zip(names, (version, "r", "1.85.1", "3.13.1"), strict=True)) for version in ("1.0.0", "1.1.0"))
    workers = (ServingWorker(slot, os.getpid(), 0.0, 0.0, each) for slot, each in enumerate((old, new, new)))
    [build] = [each for each in registry_of(*workers).collect() if each.name == "dejavu_build_info"]
    assert sorted(sample.labels["version"] for sample in build.samples) == ["1.0.0", "1.1.0"]
    assert build.samples[0].labels.keys() == {"version", "revision", "grpc", "python"}


def test_workers_are_described_by_their_slots_as_the_kernel_describes_their_processes() -> None:
    own = psutil.Process()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)
    workers = (ServingWorker(3, os.getpid(), 0.5, 60.0, {}), ServingWorker(4, ended.pid, 0.0, 0.0, {}))
    registry = registry_of(*workers)
    names = ("resident_bytes", "max_fds", "beat_age_seconds", "open_fds")
    of_own, of_ended = (
        [registry.get_sample_value(f"dejavu_worker_{name}", {"worker": slot}) for name in names] for slot in "34"
    )
    assert of_own[:3] == [pytest.approx(own.memory_info().rss, rel=0.5), own.rlimit(psutil.RLIMIT_NOFILE)[0], 0.5]
    assert of_own[3] == pytest.approx(own.num_fds(), abs=20)  # other threads may open files in between
    assert of_ended[0] is None


METHOD = "/dejavu.v1.PredictionService/Predict"
PREDICTS = key(CALLS, METHOD, "OK")


class Clock:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Metrics of a server, and their statistics."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.statistics = Statistics(self.metrics.registry, "server", list, clock=self.clock, wall_clock=self.clock)

    def after(self, seconds: float, calls: int = 0) -> ServerStatistics:
        """Return the statistics after a time in which calls ended."""
        self.clock.now += seconds
        self.metrics.calls.labels(METHOD, "OK").inc(calls)
        return self.statistics.sample()


def break_files(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_text("{")


def counted(statistics: ServerStatistics) -> dict[int, float]:
    """Return the calls by length of the window."""
    return {window.length: window.counts.get(PREDICTS, 0.0) for window in statistics.windows}


def test_a_window_has_what_was_counted_in_it() -> None:
    server = Server()
    statistics = [server.after(1, calls=1) for _ in range(1000)][-1]
    assert counted(statistics)[0] == 1000
    for window in statistics.windows[:-1]:
        assert window.length <= window.seconds <= window.length + MARK_SECONDS
        assert window.counts[PREDICTS] == window.seconds
    assert [window.length for window in statistics.windows] == [*WINDOW_SECONDS, 0]
    statistics = [server.after(1) for _ in range(65)][-1]
    assert counted(statistics)[60] == 0, "what happened before a window is not in it"


def test_counts_that_became_less_have_not_grown() -> None:
    """A worker that ended before it was known to serve can have answered calls, and its counts are not kept."""
    registry, clock = CollectorRegistry(), Clock()
    calls = Gauge(CALLS, "Calls.", ["method", "code"], registry=registry).labels(METHOD, "OK")
    statistics = Statistics(registry, "server", list, clock=clock, wall_clock=clock)
    for seen in (5, 3):
        calls.set(seen)
        clock.now += 2000
        statistics.sample()
    sampled = statistics.sample()
    assert counted(sampled) == {60: 0, 300: 0, 900: 0, 0: 3}
    message = stats_message(
        sampled, server=ServerInfo(configured_workers=1), coverage_days=30, ledger=LedgerState(), now=clock.now
    )
    assert [sum(each.calls for each in window.methods) for window in message.windows] == [0, 0, 0, 3]


async def test_the_file_says_what_was_sampled_although_it_is_old_or_broken(tmp_path: Path) -> None:
    server, worker = Server(), WorkerStatistics.of("0-1", 1, 5.0, {"python": "3"})
    statistics = Statistics(server.metrics.registry, "server", lambda: [worker], clock=server.clock)
    reader, writer = StatisticsReader(tmp_path), StatisticsWriter(tmp_path, statistics)
    assert reader.read() is None
    server.metrics.calls.labels(METHOD, "OK").inc(3)
    await writer.write()
    read = reader.read()
    assert read is not None
    assert (read.since_start, read.workers, read.server) == ({PREDICTS: 3}, [worker], "server")
    assert reader.read() is read
    break_files(tmp_path)
    assert reader.read() is read


SECONDS_OF_CALLS = st.lists(st.floats(1e-5, 6.0) | st.sampled_from(LATENCY_BUCKETS), max_size=40)


@example(codes=[[1.0, 1.0, 0.00390625, 0.00390625, 0.00390625]], share=0.5)  # its interpolation rounds upwards
@given(st.lists(SECONDS_OF_CALLS, min_size=1, max_size=4), st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_quantiles_of_merged_histograms_are_within_their_bounds(codes: Sequence[Sequence[float]], share: float) -> None:
    exact = sorted(itertools.chain.from_iterable(codes))
    server = Server()
    for number, durations in enumerate(codes):
        for duration in durations:
            server.metrics.seconds.labels(METHOD, f"CODE{number}").observe(duration)
    counts = server.after(1).since_start
    bounds = (*LATENCY_BUCKETS, math.inf)
    texts = [("+Inf" if math.isinf(bound) else str(bound)) for bound in bounds]
    cumulative = [counts.get(key(SECONDS, METHOD, text), 0.0) for text in texts]
    assert cumulative[-1] == len(exact)
    if not exact:
        with pytest.raises(ValueError, match="no quantiles"):
            quantile(bounds, cumulative, share)
        return
    estimate = quantile(bounds, cumulative, share)
    true = exact[max(1, math.ceil(share * len(exact) - 1e-9)) - 1]
    assert estimate.lower < true <= estimate.upper
    assert estimate.lower <= estimate.value <= estimate.upper
    if math.isinf(estimate.upper):
        assert estimate.value == LATENCY_BUCKETS[-1]
