"""Statistics of a client's calls, and logging of slow calls."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from dejavu_client.config import DEFAULT_SLOW, DEFAULT_VERY_SLOW
from dejavu_client.errors import DejavuClientError, from_rpc_error
from dejavu_client.logs import get_logger

WINDOW = 1024
"""Number of the newest calls of a method from which the p95 is computed."""

SECONDS_BETWEEN_LINES = 10.0
"""Time after a line about a slow call in which further slow calls of its method are only counted."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class MethodStatistics:
    """Statistics of the calls of one method, including failed ones; durations in seconds.

    Attributes:
        count: number of completed calls, with or without an answer; retries within a call do not count.
        errors: number of calls without an answer.
        mean, min, max: durations over all calls.
        p95: nearest-rank 95th percentile of the newest 1,024 durations.
    """

    count: int
    errors: int
    mean: float
    min: float
    max: float
    p95: float

    @property
    def success_rate(self) -> float:
        """Share of calls that were answered, in [0, 1]."""
        return 1.0 - self.errors / self.count


@dataclass(frozen=True, slots=True)
class CallStatistics:
    """Snapshot of the statistics of a client's calls.

    Attributes:
        methods: statistics by RPC name (`Predict`), without RPCs that were never called. A stream counts once per
            connection; its duration is the time to the first message.
        workers: number of unary calls answered by each worker of the server, by the worker's name.
    """

    methods: Mapping[str, MethodStatistics]
    workers: Mapping[str, int]


@dataclass(slots=True)
class _Tally:
    count: int = 0
    errors: int = 0
    total: float = 0.0
    min: float = math.inf
    max: float = 0.0
    newest: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, seconds: float, failed: bool) -> None:
        self.count += 1
        self.errors += failed
        self.total += seconds
        self.min = min(self.min, seconds)
        self.max = max(self.max, seconds)
        self.newest.append(seconds)

    def statistics(self) -> MethodStatistics:
        p95 = percentile(sorted(self.newest), 0.95)
        return MethodStatistics(self.count, self.errors, self.total / self.count, self.min, self.max, p95)


@dataclass(slots=True)
class _SlowLine:
    """The last line about a slow call of a method, and the number of slow calls since."""

    time: float = -math.inf
    left_out: int = 0


class CallRecorder:
    """Times and counts calls, logs slow ones, and converts gRPC errors to client exceptions. Thread-safe.

    Args:
        target: address of the server, for messages.
        slow, very_slow: seconds above which a call is logged, as a warning or as an error. Each method logs at most one
            line in 10 seconds, with the number of slow calls since the last line.
        now: monotonic clock, in seconds.
    """

    def __init__(
        self,
        target: str,
        *,
        slow: float = DEFAULT_SLOW,
        very_slow: float = DEFAULT_VERY_SLOW,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._slow = slow
        self._very_slow = very_slow
        self._now = now
        self._lock = threading.Lock()
        self._tallies = dict[str, _Tally]()
        self._workers = Counter[str]()
        self._slow_lines = dict[str, _SlowLine]()

    @contextmanager
    def call(self, method: str, timeout: float | None = None) -> Iterator[None]:
        """Record one call, synchronous or awaited, with a deadline of `timeout` seconds.

        Other exceptions, e.g. a timeout or a cancellation, also count as a call without an answer and propagate.

        Raises:
            DejavuClientError: in place of a grpc.RpcError.
        """
        start = time.perf_counter()
        try:
            with self.errors(timeout):
                yield
        except BaseException as error:
            self.record(method, time.perf_counter() - start, error)
            raise
        self.record(method, time.perf_counter() - start)

    def record(self, method: str, seconds: float, error: BaseException | None = None) -> None:
        """Count a completed call and log it if it was slow, unless a line of its method is too recent."""
        with self._lock:
            self._tallies.setdefault(method, _Tally()).add(seconds, error is not None)
            if seconds <= self._slow:
                return
            last, now = self._slow_lines.setdefault(method, _SlowLine()), self._now()
            if now - last.time < SECONDS_BETWEEN_LINES:
                last.left_out += 1
                return
            self._slow_lines[method] = _SlowLine(now)
        log_call = log.error if seconds > self._very_slow else log.warning
        fields: dict[str, object] = {"left_out": last.left_out} if last.left_out else {}
        milliseconds, outcome = round(seconds * 1e3), _outcome(error)
        log_call("slow_call", method=method, milliseconds=milliseconds, outcome=outcome, target=self._target, **fields)

    @contextmanager
    def errors(self, timeout: float | None = None) -> Iterator[None]:
        """Convert errors without counting a call.

        Raises:
            DejavuClientError: in place of a grpc.RpcError.
        """
        try:
            yield
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._target, timeout) from error

    def answered(self, worker: str) -> None:
        """Count an answer of a worker; ignore an empty name."""
        if worker:
            with self._lock:
                self._workers[worker] += 1

    def snapshot(self) -> CallStatistics:
        """Return the statistics so far."""
        with self._lock:
            methods = {method: tally.statistics() for method, tally in self._tallies.items()}
            return CallStatistics(methods, dict(self._workers))


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "OK"
    if isinstance(error, DejavuClientError) and error.code is not None:
        return error.code.name
    return type(error).__name__


def percentile(ascending: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value that at least `share` of the values do not exceed.

    Args:
        ascending: the values in ascending order.
        share: rank of the percentile, in [0, 1].

    Raises:
        ValueError: if there are no values.
    """
    if not ascending:
        raise ValueError("no values")
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]
