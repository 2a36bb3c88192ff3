"""Statistics of a client's calls, and logging of slow calls."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import grpc

from dejavu_client.config import DEFAULT_SLOW
from dejavu_client.errors import DejavuClientError, from_rpc_error
from dejavu_client.logs import get_logger

WINDOW = 1024
"""Number of the newest calls of a method from which the p95 is computed."""

SECONDS_BETWEEN_LINES = 10.0
"""Time after a line about a slow call in which further slow calls of its method are only counted."""

VERY_SLOW = 5.0
"""Factor of the duration of a slow call above which it is logged as an error."""

log = get_logger()


@dataclass(slots=True)
class MethodStatistics:
    """Statistics of the calls of one method, including failed ones; durations in seconds.

    Attributes:
        count: number of completed calls, with or without an answer; retries within a call do not count.
        errors: number of calls without an answer.
        total, min, max: sum, minimum and maximum of all durations.
        newest: the newest 1,024 durations.
    """

    count: int = 0
    errors: int = 0
    total: float = 0.0
    min: float = math.inf
    max: float = 0.0
    newest: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    @property
    def mean(self) -> float:
        """Mean of all durations."""
        return self.total / self.count

    @property
    def p95(self) -> float:
        """Nearest-rank 95th percentile of the newest durations."""
        return percentile(sorted(self.newest), 0.95)


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


class CallRecorder:
    """Times and counts calls, logs slow ones, and converts gRPC errors to client exceptions.

    Args:
        target: address of the server, for messages.
        slow: seconds above which a call is logged, as a warning, or as an error if it took VERY_SLOW times as long.
            Each method logs at most one line in 10 seconds, with the number of slow calls since the last line.
        now: monotonic clock, in seconds.
    """

    def __init__(self, target: str, *, slow: float = DEFAULT_SLOW, now: Callable[[], float] = time.monotonic) -> None:
        self._target, self._slow, self._now = target, slow, now
        self._methods = dict[str, MethodStatistics]()
        self._workers = Counter[str]()
        self._last_lines = dict[str, tuple[float, int]]()

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
        calls = self._methods.setdefault(method, MethodStatistics())
        calls.count += 1
        calls.errors += error is not None
        calls.total += seconds
        calls.min, calls.max = min(calls.min, seconds), max(calls.max, seconds)
        calls.newest.append(seconds)
        if seconds <= self._slow:
            return
        (last, left_out), now = self._last_lines.get(method, (-math.inf, 0)), self._now()
        if now - last < SECONDS_BETWEEN_LINES:
            self._last_lines[method] = last, left_out + 1
            return
        self._last_lines[method] = now, 0
        code = error.code if isinstance(error, DejavuClientError) else None
        fields: dict[str, object] = {"outcome": code.name if code else type(error).__name__ if error else "OK"}
        fields |= {"target": self._target} | ({"left_out": left_out} if left_out else {})
        level = logging.ERROR if seconds > VERY_SLOW * self._slow else logging.WARNING
        log.log(level, "slow_call", method=method, milliseconds=round(seconds * 1e3), **fields)

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
            self._workers[worker] += 1

    def snapshot(self) -> CallStatistics:
        """Return the statistics so far; a synchronous client does so in another thread than that of the calls."""
        methods = {name: replace(calls, newest=calls.newest.copy()) for name, calls in tuple(self._methods.items())}
        return CallStatistics(methods, dict(self._workers))


def percentile(ascending: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value that at least `share` of the values do not exceed.

    Args:
        ascending: the values in ascending order; at least one.
        share: rank of the percentile, in [0, 1].
    """
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]
