"""Figures of the calls that a client made, and a word in the log about slow ones."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from dejavu_client.config import DEFAULT_SLOW, DEFAULT_VERY_SLOW
from dejavu_client.errors import DejavuClientError, from_rpc_error
from dejavu_client.logs import get_logger

WINDOW = 1024
"""How many of the newest calls of a method the p95 is taken from."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class MethodStatistics:
    """Figures of the calls of one method, failed ones included; durations in seconds.

    Attributes:
        count: calls that ended, with or without an answer; retries within a call do not count.
        errors: those that ended without one.
        mean, min, max: durations over all calls.
        p95: the nearest-rank 95th percentile of the newest 1,024 durations.
    """

    count: int
    errors: int
    mean: float
    min: float
    max: float
    p95: float

    @property
    def success_rate(self) -> float:
        """Share of the calls that were answered, in [0, 1]."""
        return 1.0 - self.errors / self.count


@dataclass(frozen=True, slots=True)
class CallStatistics:
    """A snapshot of the calls that a client made.

    Attributes:
        methods: by name of the RPC (`Predict`); one that was never called is missing. A stream counts once for each of
            its connections, its duration being the time to the first message.
        workers: how many unary calls each worker of the server answered, by the name that it gives itself.
    """

    methods: Mapping[str, MethodStatistics]
    workers: Mapping[str, int]


@dataclass(slots=True)
class _Tally:
    """The running figures of one method."""

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


class CallRecorder:
    """Times calls, counts them, and turns what gRPC raises into the client's exceptions. Safe among threads."""

    def __init__(self, target: str, *, slow: float = DEFAULT_SLOW, very_slow: float = DEFAULT_VERY_SLOW) -> None:
        self._target = target
        self._slow = slow
        self._very_slow = very_slow
        self._lock = threading.Lock()
        self._tallies = dict[str, _Tally]()
        self._workers = Counter[str]()

    @contextmanager
    def call(self, method: str, timeout: float | None = None) -> Iterator[None]:
        """Runs one call, synchronous or awaited, that is given `timeout` seconds.

        Whatever else ends it, silence or the caller's leaving, is a call without an answer too, and goes its way.

        Raises:
            DejavuClientError: in the place of a grpc.RpcError.
        """
        start = time.perf_counter()
        try:
            yield
        except grpc.RpcError as error:
            ours = from_rpc_error(error, self._target, timeout)
            self.record(method, time.perf_counter() - start, ours)
            raise ours from error
        except BaseException as error:
            self.record(method, time.perf_counter() - start, error)
            raise
        self.record(method, time.perf_counter() - start)

    def record(self, method: str, seconds: float, error: BaseException | None = None) -> None:
        """Counts one call that ended, and logs it if it was slow."""
        with self._lock:
            self._tallies.setdefault(method, _Tally()).add(seconds, error is not None)
        if seconds > self._slow:
            report = log.error if seconds > self._very_slow else log.warning
            outcome = _outcome(error)
            report("slow_call", method=method, milliseconds=round(seconds * 1e3), outcome=outcome, target=self._target)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Runs what belongs to a call that has been counted.

        Raises:
            DejavuClientError: in the place of a grpc.RpcError.
        """
        try:
            yield
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._target) from error

    def answered(self, worker: str) -> None:
        """Counts an answer of a worker; an empty name is nobody's."""
        if worker:
            with self._lock:
                self._workers[worker] += 1

    def snapshot(self) -> CallStatistics:
        """The figures so far."""
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
    """The smallest of the values that at least `share` of them do not exceed (nearest rank).

    Raises:
        ValueError: if there are no values.
    """
    if not ascending:
        raise ValueError("no values")
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]
