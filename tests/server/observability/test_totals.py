"""What a server counted lately and since its start, as its workers come and go; quantiles from merged histograms."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dejavu_server.observability.counted import SECONDS, CountedMetrics, by_labels, key
from dejavu_server.observability.metrics import LATENCY_BUCKETS, Metrics
from dejavu_server.observability.quantiles import quantile
from dejavu_server.observability.shared_totals import STALE_SECONDS, SupervisorFiles, WorkerFiles
from dejavu_server.observability.totals import (
    FEED_SECONDS,
    MARK_SECONDS,
    WINDOW_SECONDS,
    FeedReport,
    ServerTotals,
    TotalsHistory,
    WorkerTotals,
)

METHOD = "/dejavu.v1.PredictionService/Predict"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def worker(name: str = "0", started: float = 0.0, **counts: float) -> WorkerTotals:
    return WorkerTotals(name=name, started=started, versions={}, counts=counts)


def history(clock: Clock) -> TotalsHistory:
    return TotalsHistory("server", 0.0, clock, clock)


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def counted(totals: ServerTotals, name: str) -> dict[int, float]:
    """Returns what was counted under a name, by the length of the window."""
    return {window.length: window.counts.get(name, 0.0) for window in totals.windows}


def test_a_window_has_what_was_counted_in_it() -> None:
    clock = Clock()
    past = history(clock)
    totals = past.sum([])
    for second in range(1, 1001):  # one call a second
        clock.now += 1
        totals = past.sum([worker(calls=second)])
    assert counted(totals, "calls")[0] == 1000
    for window in totals.windows[:-1]:
        assert window.length <= window.seconds <= window.length + MARK_SECONDS
        assert window.counts["calls"] == window.seconds
    assert [window.length for window in totals.windows] == [*WINDOW_SECONDS, 0]


def test_a_window_of_a_young_server_says_how_short_it_is() -> None:
    clock = Clock()
    past = history(clock)
    clock.now += 7
    assert {window.seconds for window in past.sum([worker(calls=3)]).windows} == {7}


def test_what_happened_before_a_window_is_not_in_it() -> None:
    clock = Clock()
    past = history(clock)
    clock.now += 1
    totals = past.sum([worker(calls=5)])
    for _ in range(65):
        clock.now += 1
        totals = past.sum([worker(calls=5)])
    assert counted(totals, "calls") == {60: 0, 300: 5, 900: 5, 0: 5}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.booleans()), max_size=60))
def test_counts_are_those_of_all_workers_and_never_decrease(steps: list[tuple[int, int, bool]]) -> None:
    """Each step, a worker counts some calls, and perhaps ends; another one takes its place."""
    clock = Clock()
    past = history(clock)
    running = [0.0] * 4
    counted_so_far, before = 0.0, 0.0
    for slot, calls, ends in steps:
        clock.now += 1
        running[slot] += calls
        counted_so_far += calls
        if ends:
            past.keep_ended(worker(str(slot), calls=running[slot]))
            running[slot] = 0
        total = counted(past.sum([worker(str(i), calls=each) for i, each in enumerate(running)]), "calls")[0]
        assert total == counted_so_far >= before
        before = total


def test_states_are_those_of_the_workers_that_run() -> None:
    past = history(Clock())
    first = WorkerTotals(
        name="0", started=1.0, versions={}, counts={}, levels={"open": 2}, peaks={"lag": 3}, latest={"held": 0.9}
    )
    second = first.model_copy(update={"name": "1", "started": 2.0, "peaks": {"lag": 1}, "latest": {"held": 0.8}})
    third = first.model_copy(update={"name": "2", "started": 3.0, "latest": {}})
    totals = past.sum([third, second, first])
    assert (totals.levels, totals.peaks, totals.latest) == ({"open": 6}, {"lag": 3}, {"held": 0.8})
    assert [each.name for each in totals.workers] == ["0", "1", "2"]
    past.keep_ended(first)
    assert past.sum([second]).levels == {"open": 2}


def test_the_newest_report_about_a_feed_counts_whichever_worker_got_it_and_for_fifteen_minutes() -> None:
    clock = Clock()
    past = history(clock)

    def told(age: float, read: float) -> WorkerTotals:
        report = FeedReport(reported=clock.now - age, read_age=read)
        return worker().model_copy(update={"feeds": {"nba": report}})

    older, newer = told(30, 1), told(20, 2)
    assert past.sum([newer, older]).feeds["nba"].read_age == 2
    past.keep_ended(newer)
    assert past.sum([older]).feeds["nba"].read_age == 2
    clock.now += FEED_SECONDS - 25
    assert past.sum([]).feeds
    clock.now += 10
    assert not past.sum([]).feeds


async def test_a_worker_that_was_killed_leaves_its_counts_once(tmp_path: Path) -> None:
    supervisor, one, other = SupervisorFiles(tmp_path), WorkerFiles(tmp_path, 11), WorkerFiles(tmp_path, 12)
    one.write(worker("0-11", calls=3))
    other.write(worker("1-12", calls=4))
    await supervisor.update()
    one.write(worker("0-11", calls=5))
    supervisor.worker_ended(11)
    supervisor.worker_ended(11)
    await supervisor.update()
    seen = other.server()
    assert seen is not None
    assert counted(seen, "calls")[0] == 9
    assert [each.name for each in seen.workers] == ["1-12"]
    assert sorted(path.name for path in files_in(tmp_path)) == ["server.json", "worker-12.json"]


async def test_a_file_that_cannot_be_read_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    supervisor, one = SupervisorFiles(tmp_path), WorkerFiles(tmp_path, 11)
    one.write(worker("0-11", calls=3))
    (tmp_path / "worker-12.json").write_text('{"name": "1-12", "counts": ')
    await supervisor.update()
    assert (seen := one.server()) is not None
    assert counted(seen, "calls")[0] == 3
    supervisor.worker_ended(12)
    assert not (tmp_path / "worker-12.json").exists()


async def test_sums_of_a_supervisor_that_hangs_are_not_used(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = time.monotonic() - STALE_SECONDS - 1
    supervisor, one = SupervisorFiles(tmp_path, clock=clock), WorkerFiles(tmp_path, 11)
    one.write(worker("0-11", calls=3))
    await supervisor.update()
    assert one.server() is None
    clock.now = time.monotonic()
    await supervisor.update()
    assert one.server() is not None


async def test_a_folder_that_is_gone_stops_neither_worker_nor_supervisor(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    WorkerFiles(gone, 11).write(worker(calls=1))
    assert WorkerFiles(gone, 11).server() is None
    supervisor = SupervisorFiles(gone)
    await supervisor.update()
    supervisor.worker_ended(11)


SECONDS_OF_CALLS = st.lists(st.floats(1e-5, 6.0) | st.sampled_from(LATENCY_BUCKETS), max_size=40)


@example(workers=[[1.0, 1.0, 0.00390625, 0.00390625, 0.00390625]], share=0.5)  # its interpolation rounds upwards
@given(st.lists(SECONDS_OF_CALLS, min_size=1, max_size=4), st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_quantiles_of_merged_histograms_stay_within_the_bounds_that_they_name(
    workers: Sequence[Sequence[float]], share: float
) -> None:
    exact = sorted(itertools.chain.from_iterable(workers))
    past = history(Clock())
    for durations in workers:
        metrics = Metrics()
        read = CountedMetrics(metrics)
        for index, duration in enumerate(durations):
            metrics.seconds.labels(METHOD, ("OK", "UNAVAILABLE")[index % 2]).observe(duration)
        past.keep_ended(WorkerTotals(name="0", started=0.0, versions={}, counts=read.read()[0]))
    counts = past.sum([]).windows[-1].counts
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


def test_counts_that_an_earlier_process_left_in_the_files_are_not_counted_again() -> None:
    metrics = Metrics()
    metrics.calls.labels(METHOD, "OK").inc(7)  # as if read from the file of a process with the same id
    read = CountedMetrics(metrics)
    metrics.calls.labels(METHOD, "OK").inc()
    assert by_labels(read.read()[0], "calls") == {(METHOD, "OK"): 1}
