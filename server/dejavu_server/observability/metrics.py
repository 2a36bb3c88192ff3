"""Prometheus metrics of a worker.

The workers of a server keep their metrics in files of one folder (PROMETHEUS_MULTIPROC_DIR), which the supervisor
aggregates when it is scraped. A worker without a supervisor keeps them in memory.

The files are memory-mapped and sparse: writing to such a file on a full disk kills the process by SIGBUS. A worker
therefore allocates the disk space of its files before it creates the metrics.
"""

from __future__ import annotations

import hashlib
import os
from functools import cached_property, partial
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from dejavu_server.observability.multiprocess import FOLDER_VARIABLE

LATENCY_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0)
"""Upper bounds of the latency histogram, in seconds."""

READ_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
"""Upper bounds of the histogram of ledger reads, in seconds: from a lookup to a large scorecard."""

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)

FILE_BYTES: Final = {
    "counter": 1 << 18,
    "gauge_livemax": 1 << 16,
    "gauge_livesum": 1 << 16,
    "gauge_mostrecent": 1 << 16,
    "histogram": 1 << 20,
}
"""Size of the metrics file of each kind, in bytes. Six status codes of all methods take half of the histogram file."""

_EPOCH_DIGITS: Final = 12
"""Hexadecimal digits of the number of a ledger's epoch: Prometheus compares it exactly, as a double."""

UNKNOWN_METHOD = "unknown"
"""Common label of all calls of unknown methods: callers can invent any number of paths."""

_log = structlog.get_logger(__name__)


class Metrics:
    """Metrics of one worker, in a new registry unless one is given.

    The help text of each metric says what it counts; the attributes below need more words.

    Attributes:
        calls: finished calls, by method and status code; streams included.
        seconds: duration of unary calls that were admitted, by method and status code.
        callers: finished and refused calls of a server that requires tokens, by caller and status code.
        forecasts: forecasts answered, by model, horizon and kind (named: with a game; what_if). One that is computed
            again before it is answered counts once.
        in_flight: calls in progress, by method; for StreamPredictions, the subscribers.
        refused: calls refused before their requests were received, by method and reason; `calls` also counts them,
            except those that gRPC's core refused.
        dropped: queries whose callers had cancelled or whose deadline had passed, by the place where this was noticed:
            queue or thread (before they were computed), or computed (afterwards).
        commit_seconds: time from handing forecasts to the ledger until they were durable, or refused.
        read_seconds: time of a query of the ledger, including the wait for a thread.
        feed_data: when the feed updated the oldest data of a game in play; 0 without such a game.
        coverage: share of the settled intervals of recent games that contained the outcome, by model and horizon.
        recorded: forecasts handed to the ledger, by outcome (new, known, refused, failed) and horizon.
        ratings_age: age in seconds, without summers, of the newest final that a model's ratings include, by model.
        registry: the registry of all of these.
        cache_hits: what-ifs answered from the cache, or by a computation for an equal call; `forecasts` counts them
            too.
        cache_misses: what-ifs computed while the cache is on.
        cache_shared_failed: 1 while the shared cache is not used because it fails or is slow.
        shadows: shadows that challengers made, by outcome: recorded, refused by the ledger, failed, or unsupported by
            the model.
        gate_e_value: e-value of the evidence that a challenger is not worse than the champion, the smallest of the
            horizons, by model and score.
        champion_worse: 1 while the champion is shown to be worse than a reference, by reference (persistence or
            previous).
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = CollectorRegistry() if registry is None else registry
        method = ["method"]
        self._counter = counter = partial(Counter, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self._gauge = gauge = partial(Gauge, registry=registry, multiprocess_mode="livesum")
        self.calls = counter("dejavu_calls", "Finished calls.", ["method", "code"])
        self.seconds = histogram(
            "dejavu_call_seconds", "Duration of unary calls.", ["method", "code"], buckets=LATENCY_BUCKETS
        )
        self.callers = counter("dejavu_caller_calls", "Finished calls by caller.", ["caller", "code"])
        self.forecasts = counter("dejavu_forecasts", "Forecasts answered.", ["model", "horizon", "kind"])
        self.in_flight = gauge("dejavu_calls_in_flight", "Calls in progress.", method)
        self.messages = counter("dejavu_stream_messages", "Messages sent on streams.", method)
        self.batch_size = histogram("dejavu_batch_size", "Queries computed in one batch.", buckets=BATCH_BUCKETS)
        self.waiting = gauge("dejavu_queries_waiting", "Queries that wait for their answer or are computed.")
        self.queue_seconds = histogram(
            "dejavu_queue_seconds", "Wait of the first query of a batch.", buckets=LATENCY_BUCKETS
        )
        self.compute_seconds = histogram(
            "dejavu_compute_seconds", "Time that the models took for a batch.", buckets=LATENCY_BUCKETS
        )
        self.commit_seconds = histogram(
            "dejavu_ledger_commit_seconds", "Time until forecasts were durable.", buckets=LATENCY_BUCKETS
        )
        self.read_seconds = histogram(
            "dejavu_ledger_read_seconds", "Time of a query of the ledger.", buckets=READ_BUCKETS
        )
        self.recorded = counter("dejavu_forecasts_recorded", "Forecasts handed to the ledger.", ["outcome", "horizon"])
        self.ledger_failed = gauge("dejavu_workers_without_ledger", "Workers that cannot record named forecasts.")
        self.streams_failed = gauge("dejavu_workers_without_streams", "Workers that cannot follow the ledger.")
        self._most = most = partial(Gauge, registry=registry, multiprocess_mode="livemax")
        self.ledger_reserve = most("dejavu_ledger_disk_reserve_bytes", "Bytes below which forecasts are refused.")
        self.ledger_bytes = most("dejavu_ledger_bytes", "Size of the ledger.")
        self.stream_lag = most("dejavu_stream_lag_entries", "Entries not yet offered to streams; the worst worker.")
        self.stream_lag_seconds = most("dejavu_stream_lag_seconds", "Time since the first of them was seen.")
        self.learner_lag = most("dejavu_learner_lag_outcomes", "Outcomes not yet learned from; the worst worker.")
        self.checkpoint_age = most("dejavu_checkpoint_age_seconds", "Age of the newest checkpoint; 0: it is current.")
        self.checkpoint_interval = most("dejavu_checkpoint_interval_seconds", "Seconds between two checkpoints.")
        self._newest = newest = partial(Gauge, registry=registry, multiprocess_mode="mostrecent")
        self.ledger_clock_ahead = newest(
            "dejavu_ledger_clock_ahead_seconds", "Time by which the server's clock is ahead of the database's."
        )
        by_model = partial(newest, labelnames=["model", "horizon"])
        self.coverage = by_model("dejavu_coverage_ratio", "Share of settled intervals that held.")
        self.nominal_coverage = by_model("dejavu_coverage_nominal_ratio", "Share of them that should have held.")
        self.coverage_games = by_model("dejavu_coverage_games", "Games of these intervals.")
        self.coverage_forecasts = by_model("dejavu_coverage_forecasts", "Number of these intervals.")
        by_feed = partial(newest, labelnames=["feed", "reporter"])
        self.feed_reported = by_feed("dejavu_feed_reported_timestamp_seconds", "When a feed was last reported.")
        self.feed_read = by_feed("dejavu_feed_read_timestamp_seconds", "When it was last read with success.")
        self.feed_data = by_feed("dejavu_feed_data_timestamp_seconds", "Time of its oldest data of a game in play.")
        self.feed_games = by_feed("dejavu_feed_live_games", "Its games in play.")
        self.access_outdated = most(
            "dejavu_access_file_outdated", "1 while a replaced file cannot be used.", labelnames=["file"]
        )
        self.access_expires = Gauge(
            "dejavu_access_expires_timestamp_seconds",
            "When the next token of the file, or the first certificate of the server, expires.",
            ["file"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.max_ratings_age = most("dejavu_ratings_max_age_seconds", "Age from which ratings are not used.")
        self.ratings_age = most(
            "dejavu_ratings_age_seconds",
            "Age of the newest final that ratings know, in whole days.",
            labelnames=["model"],
        )
        self.stalled = most(
            "dejavu_part_stalled_seconds",
            "Seconds for which a part of a worker has had work and made no progress; the longest of all workers.",
            labelnames=["part"],
        )
        self.finals_since = most(
            "dejavu_finals_since", "Finals that ratings know beyond those of their bundle.", labelnames=["model"]
        )
        self._add_refusals()
        self._add_cache()
        self._add_lifecycle()
        for file in ("tokens", "jwks", "tls"):
            self.access_outdated.labels(file).set(0)

    def _add_refusals(self) -> None:
        self.refused = self._counter(
            "dejavu_calls_refused", "Calls refused before they were computed.", ["method", "reason"]
        )
        self.dropped = self._counter("dejavu_work_dropped", "Queries of callers that had gone, by where.", ["stage"])
        for stage in ("queue", "thread", "computed"):
            self.dropped.labels(stage)

    def _add_cache(self) -> None:
        counter, gauge = self._counter, self._gauge
        self.cache_hits = counter("dejavu_cache_hits", "What-ifs answered without being computed again.")
        self.cache_misses = counter("dejavu_cache_misses", "What-ifs computed while the cache is on.")
        self.cache_evictions = counter("dejavu_cache_evictions", "Answers that left the cache for others.")
        self.cache_entries = gauge("dejavu_cache_entries", "Answers in the memory of the workers.")
        self.cache_bytes = gauge("dejavu_cache_bytes", "Bytes that these answers take.")
        self.cache_shared = counter("dejavu_cache_shared_lookups", "Lookups in the shared cache.", ["result"])
        for result in ("hit", "miss", "late", "invalid", "failed"):
            self.cache_shared.labels(result)
        self.cache_shared_failed = self._most("dejavu_cache_shared_failed", "1 while the shared cache is not used.")

    def _add_lifecycle(self) -> None:
        counter = self._counter
        self.shadows = counter("dejavu_shadows", "Forecasts of challengers beside recorded ones.", ["outcome"])
        self.shadows_shed = counter("dejavu_shadows_shed", "Recorded forecasts without shadows: too many waited.")
        self.shadows_waiting = self._gauge("dejavu_shadows_waiting", "Recorded forecasts that wait for their shadows.")
        self.gate_e_value = self._most(
            "dejavu_gate_e_value", "E-value that a challenger is not worse than the champion.", ["model", "score"]
        )
        self.gate_games = self._most("dejavu_gate_games", "Games on which a challenger was compared.", ["model"])
        self.champion_worse = self._most(
            "dejavu_champion_worse", "1 while the champion is shown to be worse than another.", ["against"]
        )
        self.roster_sequence = self._most("dejavu_roster_sequence", "Change of models in force.", ["worker"])
        self.load_failures = counter("dejavu_model_load_failures", "Failed attempts to load a model.")
        for outcome in ("recorded", "refused", "failed", "unsupported"):
            self.shadows.labels(outcome)
        for against in ("persistence", "previous"):
            self.champion_worse.labels(against).set(0)

    @cached_property
    def ledger_free(self) -> Gauge:
        """Bytes that the ledger's disk has left; not exported before the first value: PostgreSQL has none."""
        return self._most("dejavu_ledger_disk_free_bytes", "Bytes that the ledger's disk has left.")

    def set_ledger_epoch(self, ledger_id: str, epoch: str) -> None:
        """Set the number of a ledger and its epoch; not exported before the first one is open."""
        digits = hashlib.sha256(f"{ledger_id} {epoch}".encode()).hexdigest()
        self._ledger_epoch.set(int(digits[:_EPOCH_DIGITS], 16))

    @cached_property
    def _ledger_epoch(self) -> Gauge:
        return self._newest(
            "dejavu_ledger_epoch", "Number of the ledger and its epoch: equal on servers of one ledger."
        )

    @cached_property
    def backup_time(self) -> Gauge:
        """When the newest backup was written, in seconds since 1970; not exported without a folder of backups."""
        return self._most(
            "dejavu_backup_timestamp_seconds",
            "When the newest file of the backups' folder was written, except empty ones; 0 without any.",
        )

    def set_access_reload(self, file: str, usable: bool) -> None:
        """Set `access_outdated` after a file was replaced."""
        self.access_outdated.labels(file).set(not usable)

    def count_dropped(self, stage: str, queries: int) -> None:
        """Count queries in `dropped`."""
        self.dropped.labels(stage).inc(queries)


def use_folder(folder: str) -> None:
    """Set the folder of the metrics of this process and its forks; call it before the first metric is created.

    Args:
        folder: the folder.
    """
    os.environ[FOLDER_VARIABLE] = folder
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # its import read the environment


def allocate_files() -> None:
    """Allocate the disk space of this process's metrics files.

    Without enough space, the metrics stay in memory, where the supervisor cannot read them. Call it before
    `Metrics`. Does nothing in a process that keeps no files.
    """
    if FOLDER_VARIABLE not in os.environ:
        return
    folder = Path(os.environ[FOLDER_VARIABLE])
    sizes = {folder / f"{kind}_{os.getpid()}.db": size for kind, size in FILE_BYTES.items()}
    try:
        for path, size in sizes.items():
            _allocate(path, size)
    except OSError as error:
        for path in sizes:
            path.unlink(missing_ok=True)
        values.ValueClass = values.MutexValue
        _log.warning("metrics_not_kept", error=str(error), effect="the metrics of this worker are not exported")


def _allocate(path: Path, size: int) -> None:
    if path.exists():  # left behind by an earlier process with the same id
        return
    temporary = path.with_suffix(".new")  # renamed when allocated: readers treat an empty file as damaged
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
