"""Statistics of a server, lately and since its start; quantiles from histograms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge

from dejavu.ops.v1.operations_service_pb2 import LedgerState, ServerInfo
from dejavu_server.api.converters.operations import stats_message
from dejavu_server.observability.metrics import LATENCY_BUCKETS, Metrics
from dejavu_server.observability.quantiles import quantile
from dejavu_server.observability.statistics import (
    CALLS,
    MARK_SECONDS,
    SECONDS,
    STREAM_LAG,
    WINDOW_SECONDS,
    ServerStatistics,
    Statistics,
    StatisticsReader,
    StatisticsWriter,
    WorkerStatistics,
    by_labels,
    key,
)

METHOD = "/dejavu.v1.PredictionService/Predict"
PREDICTS = key(CALLS, METHOD, "OK")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

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


def test_what_happened_before_a_window_is_not_in_it() -> None:
    server = Server()
    statistics = server.after(1, calls=5)
    for _ in range(65):
        statistics = server.after(1)
    assert counted(statistics) == {60: 0, 300: 5, 900: 5, 0: 5}


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


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_samples_are_summed_over_the_labels_that_are_not_kept_and_what_is_no_number_is_left_out(number: float) -> None:
    registry = CollectorRegistry()
    calls = Counter("dejavu_calls", "Calls.", ["method", "code", "worker"], registry=registry)
    for worker in "012":
        calls.labels(METHOD, "OK", worker).inc(2)
    Gauge("dejavu_stream_lag_entries", "Lag.", registry=registry).set(number)
    statistics = Statistics(registry, "server", list).sample()
    assert by_labels(statistics.since_start, CALLS) == {(METHOD, "OK"): 6}
    assert STREAM_LAG not in statistics.states


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
def test_quantiles_of_merged_histograms_stay_within_the_bounds_that_they_name(
    codes: Sequence[Sequence[float]], share: float
) -> None:
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
