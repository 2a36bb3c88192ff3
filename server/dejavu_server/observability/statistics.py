"""Statistics of a server: sums of the metrics of its workers, now and over the last minutes.

The source is the merged registry of the supervisor, which /metrics serves too. The supervisor samples it and writes the
statistics to a file of the server's folder, from which every worker answers. Imports no gRPC. Decision:
docs/decisions/0039-insight.md.
"""

from __future__ import annotations

import asyncio
import math
import os
import platform
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, ValidationError

from dejavu_common import build
from dejavu_common.failure_log import FailureLog
from dejavu_common.files import atomic_replace
from dejavu_common.processes import cpu_seconds, resident_mebibytes
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask

SAMPLE_SECONDS: Final = 1.0
"""Interval at which statistics are sampled."""

WINDOW_SECONDS: Final = (60, 300, 900)
"""Lengths of the windows, in seconds."""

MARK_SECONDS: Final = 5.0
"""Interval at which counts are remembered: a window may be longer than its nominal length by up to this interval."""

_COUNTS: Final[dict[str, tuple[str, ...]]] = {}
_STATES: Final[dict[str, tuple[str, ...]]] = {}
"""Labels by which samples are summed, by the names of samples that only grow, and of the others."""


def _count(sample: str, *labels: str) -> str:
    """Declare a sample that only grows; return its name."""
    _COUNTS[sample] = labels
    return sample


def _state(sample: str, *labels: str) -> str:
    """Declare another sample; return its name."""
    _STATES[sample] = labels
    return sample


CALLS: Final = _count("dejavu_calls_total", "method", "code")
SECONDS: Final = _count("dejavu_call_seconds_bucket", "method", "le")
SECONDS_SUM: Final = _count("dejavu_call_seconds_sum", "method")
FORECASTS: Final = _count("dejavu_forecasts_total", "kind", "horizon")
RECORDED: Final = _count("dejavu_forecasts_recorded_total", "outcome", "horizon")
CACHE_HITS: Final = _count("dejavu_cache_hits_total")
CACHE_MISSES: Final = _count("dejavu_cache_misses_total")
CACHE_EVICTIONS: Final = _count("dejavu_cache_evictions_total")
CACHE_ENTRIES: Final = _state("dejavu_cache_entries")
CACHE_BYTES: Final = _state("dejavu_cache_bytes")
IN_FLIGHT: Final = _state("dejavu_calls_in_flight", "method")
WITHOUT_LEDGER: Final = _state("dejavu_workers_without_ledger")
STREAM_LAG: Final = _state("dejavu_stream_lag_entries")
STREAM_LAG_SECONDS: Final = _state("dejavu_stream_lag_seconds")
LEARNER_LAG: Final = _state("dejavu_learner_lag_outcomes")
CHECKPOINT_AGE: Final = _state("dejavu_checkpoint_age_seconds")
CHECKPOINT_INTERVAL: Final = _state("dejavu_checkpoint_interval_seconds")
LEDGER_BYTES: Final = _state("dejavu_ledger_bytes")
LEDGER_FREE: Final = _state("dejavu_ledger_disk_free_bytes")
LEDGER_RESERVE: Final = _state("dejavu_ledger_disk_reserve_bytes")
COVERAGE: Final = _state("dejavu_coverage_ratio", "model", "horizon")
NOMINAL_COVERAGE: Final = _state("dejavu_coverage_nominal_ratio", "model", "horizon")
COVERAGE_GAMES: Final = _state("dejavu_coverage_games", "model", "horizon")
COVERAGE_FORECASTS: Final = _state("dejavu_coverage_forecasts", "model", "horizon")
FEED_REPORTED: Final = _state("dejavu_feed_reported_timestamp_seconds", "feed", "reporter")
FEED_READ: Final = _state("dejavu_feed_read_timestamp_seconds", "feed", "reporter")
FEED_DATA: Final = _state("dejavu_feed_data_timestamp_seconds", "feed", "reporter")
FEED_GAMES: Final = _state("dejavu_feed_live_games", "feed", "reporter")
DEATHS: Final = _state("dejavu_worker_deaths_total")
HANGS: Final = _state("dejavu_worker_hangs_total")
RELOAD_FAILED: Final = _state("dejavu_last_reload_failed")
OUTDATED: Final = _state("dejavu_access_file_outdated", "file")

_FILE: Final = "statistics.json"
_SEPARATOR: Final = "\x1f"  # printable characters may be in the labels
_MEBIBYTE: Final = 1024 * 1024

Values = Mapping[str, float]

_log = structlog.get_logger(__name__)


def package_versions() -> dict[str, str]:
    """Return the versions of dejavu-forecast, grpcio and Python, and the revision, by name."""
    return {
        "dejavu-forecast": build.release(),
        "revision": build.revision(),
        "grpcio": version("grpcio"),
        "python": platform.python_version(),
    }


def key(sample: str, *labels: str) -> str:
    """Return the name under which the samples with these labels are summed."""
    return _SEPARATOR.join((sample, *labels))


def by_labels(values: Values, sample: str) -> dict[tuple[str, ...], float]:
    """Return the values of a sample by its labels."""
    split = ((name.split(_SEPARATOR), value) for name, value in values.items())
    return {tuple(labels): value for (name, *labels), value in split if name == sample}


class CountedWindow(BaseModel):
    """Counts of a period.

    Attributes:
        length: nominal length, in seconds; 0: since the start of the server.
        seconds: actual length, in seconds.
        counts: growth by `key`; counts that did not grow are left out.
    """

    model_config = ConfigDict(frozen=True)

    length: int
    seconds: float
    counts: dict[str, float]


class WorkerStatistics(BaseModel):
    """A worker that serves.

    Attributes:
        name: its name.
        started: when it started to serve, in seconds since 1970.
        versions: of dejavu-forecast, its revision, grpcio and Python, by name.
        cpu_seconds: CPU time of its process, in seconds.
        resident_bytes: resident memory of its process, in bytes.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    started: float
    versions: dict[str, str]
    cpu_seconds: float = 0.0
    resident_bytes: int = 0

    @classmethod
    def of(cls, name: str, pid: int, started: float, versions: Mapping[str, str]) -> WorkerStatistics:
        """Return the statistics of a worker's process; without CPU time and memory if it has just ended."""
        used = 0.0
        with suppress(OSError):
            used = cpu_seconds(pid)
        resident = round(resident_mebibytes(pid) * _MEBIBYTE)
        return cls(name=name, started=started, versions=dict(versions), cpu_seconds=used, resident_bytes=resident)


class ServerStatistics(BaseModel):
    """Statistics of all workers of a server.

    Attributes:
        server: identifies the run of the server.
        started: when the server started, in seconds since 1970.
        sampled: when the metrics were read, in seconds since 1970.
        windows: by length as in WINDOW_SECONDS, then since the start.
        states: current values of the samples in `_STATES`, by `key`.
        workers: the workers that serve.
    """

    model_config = ConfigDict(frozen=True)

    server: str
    started: float
    sampled: float
    windows: list[CountedWindow]
    states: dict[str, float]
    workers: list[WorkerStatistics]

    @property
    def since_start(self) -> Values:
        """Counts since the start of the server, by `key`."""
        return self.windows[-1].counts


class Statistics:
    """Samples metrics, and remembers enough of the counts for the windows.

    Args:
        registry: has the metrics.
        server: identifies the run of the server.
        workers: returns the workers that serve.
        clock: returns the time, in seconds of a clock that does not go back.
        wall_clock: returns the time, in seconds since 1970.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        server: str,
        workers: Callable[[], Iterable[WorkerStatistics]],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._server = server
        self._workers = workers
        self._clock = clock
        self._wall_clock = wall_clock
        self._started = wall_clock()
        self._began = clock()
        self._marks = deque[tuple[float, Values]]([(self._began, {})])

    def sample(self) -> ServerStatistics:
        """Return the statistics as of now."""
        counts, states = self._read()
        now = self._clock()
        windows = [self._window(length, now, counts) for length in WINDOW_SECONDS]
        windows.append(CountedWindow(length=0, seconds=now - self._began, counts=counts))
        self._mark(now, counts)
        return ServerStatistics(
            server=self._server,
            started=self._started,
            sampled=self._wall_clock(),
            windows=windows,
            states=states,
            workers=list(self._workers()),
        )

    def _read(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return counts and states by `key`, each summed over its samples; 0 and not finite ones are left out."""
        counts: defaultdict[str, float] = defaultdict(float)
        states: defaultdict[str, float] = defaultdict(float)
        for family in self._registry.collect():
            for sample in family.samples:
                for kept, into in ((_COUNTS, counts), (_STATES, states)):
                    labels = kept.get(sample.name)
                    if labels is not None and sample.value and math.isfinite(sample.value):
                        into[key(sample.name, *(sample.labels[label] for label in labels))] += sample.value
        return dict(counts), dict(states)

    def _window(self, length: int, now: float, counts: Values) -> CountedWindow:
        """Return the growth since the newest mark at least `length` seconds old, or else since the oldest mark."""
        since, before = next(
            ((at, marked) for at, marked in reversed(self._marks) if now - at >= length), self._marks[0]
        )
        # A count can fall: the counts of a worker that ended before it was known to serve are not kept.
        growth = ((name, value - before.get(name, 0.0)) for name, value in counts.items())
        grown = {name: calls for name, calls in growth if calls > 0}
        return CountedWindow(length=length, seconds=now - since, counts=grown)

    def _mark(self, now: float, counts: Values) -> None:
        if now - self._marks[-1][0] < MARK_SECONDS:
            return
        newest = self._marks[-1][1]
        self._marks.append((now, newest if newest == counts else counts))
        while len(self._marks) > 1 and now - self._marks[1][0] >= WINDOW_SECONDS[-1]:
            self._marks.popleft()


class StatisticsWriter:
    """Writes the statistics of a server for its workers.

    Args:
        folder: folder of the server.
        statistics: samples the merged metrics.
    """

    def __init__(self, folder: Path, statistics: Statistics) -> None:
        self._path = folder / _FILE
        self._statistics = statistics
        self._failures = FailureLog(_log, failed="statistics_not_written", recovered="statistics_written")

    async def write(self) -> None:
        """Sample and write; a failure is logged, and the next call tries again."""
        # On a thread: with many workers, reading their metrics takes as long as the interval of heartbeats.
        text = await asyncio.to_thread(lambda: self._statistics.sample().model_dump_json())
        try:
            with atomic_replace(self._path, temporary=self._path.with_suffix(".new")) as new:
                new.write_text(text)
            self._failures.succeeded()
        except OSError as error:
            self._failures.failed(error, traceback=False, effect="the statistics of the server are those of before")


class StatisticsReader:
    """Reads the output of a `StatisticsWriter` of another process.

    Args:
        folder: folder of the server.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._version: tuple[int, int] | None = None
        self._read: ServerStatistics | None = None

    def read(self) -> ServerStatistics | None:
        """Return the newest statistics, the same object until they are replaced; None if there are none.

        Old ones tell that the supervisor stands still, or cannot write.
        """
        with suppress(OSError, ValidationError):
            status = self._path.stat()
            version = status.st_ino, status.st_mtime_ns
            if version != self._version:
                self._read = ServerStatistics.model_validate_json(self._path.read_bytes())
                self._version = version
        return self._read


class StatisticsReporter(PeriodicTask):
    """Reports the statistics of the server. This costs calls no time: metrics are read at intervals.

    Args:
        metrics: metrics of the worker.
        name: name of the worker.
        folder: folder of the server; None: the worker is alone.
    """

    def __init__(self, metrics: Metrics, name: str, folder: Path | None) -> None:
        super().__init__("statistics", SAMPLE_SECONDS, self._sample)
        started, versions = time.time(), package_versions()
        self._own = Statistics(
            metrics.registry, secrets.token_hex(8), lambda: [WorkerStatistics.of(name, os.getpid(), started, versions)]
        )
        self._reader = None if folder is None else StatisticsReader(folder)

    async def _sample(self) -> None:
        self.server()

    def server(self) -> ServerStatistics:
        """Return the statistics of all workers of the server; of this worker only, if there is no supervisor."""
        return (None if self._reader is None else self._reader.read()) or self._own.sample()
