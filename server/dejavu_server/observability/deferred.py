"""Metrics of what every call does, summed in memory and written together.

Writing a metric takes one to two microseconds, four in the files that a server's workers share, and twice that in a
process that was idle: a call writes fifteen. What is added here costs a tenth. It is written before the registry is
read in this process, every FLUSH_SECONDS otherwise, and when the worker ends; a worker that is killed loses what it
counted since.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

from dejavu_server.observability.periodic import PeriodicTask

FLUSH_SECONDS: Final = 0.1
"""Longest time for which what a worker counts is not in the files that the supervisor reads."""


class DeferredSum:
    """What is to be added to a counter or a gauge.

    Args:
        metric: the counter or gauge, with its labels.
        lock: held while it is used.
    """

    __slots__ = ("_added", "_lock", "_metric")

    def __init__(self, metric: Counter | Gauge, lock: threading.Lock) -> None:
        self._metric = metric
        self._lock = lock
        self._added = 0

    def inc(self, amount: int = 1) -> None:
        """Adds a number; below 0 for gauges only."""
        with self._lock:
            self._added += amount

    def flush(self) -> None:
        """Writes what was added; the lock must be held."""
        if self._added:
            self._metric.inc(self._added)
            self._added = 0


class DeferredLevel:
    """The value that a gauge is to have.

    Args:
        metric: the gauge, with its labels.
        lock: held while it is used.
    """

    __slots__ = ("_lock", "_metric", "_value")

    def __init__(self, metric: Gauge, lock: threading.Lock) -> None:
        self._metric = metric
        self._lock = lock
        self._value: float | None = None

    def set(self, value: float) -> None:
        """Sets the value."""
        with self._lock:
            self._value = value

    def flush(self) -> None:
        """Writes the value, if one was set; the lock must be held."""
        if self._value is not None:
            self._metric.set(self._value)
            self._value = None


class DeferredObservations:
    """Values that are to be added to a histogram.

    It adds to sums and buckets of prometheus_client's histogram, which are not public: that takes values one by one.
    tests/server/observability/test_deferred.py compares the two.

    Args:
        metric: the histogram, with its labels.
        lock: held while it is used.
    """

    __slots__ = ("_bounds", "_buckets", "_lock", "_metric", "_sum")

    def __init__(self, metric: Histogram, lock: threading.Lock) -> None:
        self._metric = metric
        self._lock = lock
        self._bounds: list[float] = metric._upper_bounds  # ascending, the last is infinite
        self._buckets = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Adds a value, which must be a number."""
        with self._lock:
            self._buckets[bisect_left(self._bounds, value)] += 1
            self._sum += value

    def flush(self) -> None:
        """Writes the values that were added; the lock must be held."""
        for index, added in enumerate(self._buckets):
            if added:
                self._metric._buckets[index].inc(added)
                self._buckets[index] = 0
        if self._sum:
            self._metric._sum.inc(self._sum)
            self._sum = 0.0


_DeferredT = TypeVar("_DeferredT", DeferredSum, DeferredLevel, DeferredObservations)


class DeferredMetrics(Collector):
    """All that is to be written to the metrics of a registry. Its methods may be called on any thread.

    Args:
        registry: the registry, without metrics so far.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = threading.Lock()
        self._deferred: list[DeferredSum | DeferredLevel | DeferredObservations] = []
        registry.register(self)  # first, so that it writes before the others are read

    def sum(self, metric: Counter | Gauge) -> DeferredSum:
        """Returns what adds to a counter or a gauge; ask once, and keep it."""
        return self._kept(DeferredSum(metric, self._lock))

    def level(self, metric: Gauge) -> DeferredLevel:
        """Returns what sets a gauge; ask once, and keep it."""
        return self._kept(DeferredLevel(metric, self._lock))

    def observations(self, metric: Histogram) -> DeferredObservations:
        """Returns what adds values to a histogram; ask once, and keep it."""
        return self._kept(DeferredObservations(metric, self._lock))

    def flush(self) -> None:
        """Writes what was added or set since the last time."""
        with self._lock:
            for each in self._deferred:
                each.flush()

    def collect(self) -> Iterable[Metric]:
        """Writes everything; has no metrics of its own."""
        self.flush()
        return ()

    def describe(self) -> Iterable[Metric]:
        """Returns nothing: it has no metrics of its own."""
        return ()

    def _kept(self, deferred: _DeferredT) -> _DeferredT:
        with self._lock:
            self._deferred.append(deferred)
        return deferred


def adder(counter: Counter, deferred: DeferredMetrics | None) -> Counter | DeferredSum:
    """Returns what adds to a counter: what writes to it later, or itself if nothing is deferred."""
    return counter if deferred is None else deferred.sum(counter)


def start_writing(stack: AsyncExitStack, deferred: DeferredMetrics) -> None:
    """Starts to write what was added every FLUSH_SECONDS, and when the stack is closed."""

    async def write() -> None:
        deferred.flush()

    stack.callback(deferred.flush)
    task = PeriodicTask("metrics-writer", FLUSH_SECONDS, write)
    stack.push_async_callback(task.close)
    task.start()
