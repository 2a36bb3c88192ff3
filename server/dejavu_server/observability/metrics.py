"""What a worker counts, for Prometheus.

A server of several workers keeps its figures in files of one folder (PROMETHEUS_MULTIPROC_DIR), which the supervisor
reads and adds up when it is asked; a lone worker keeps them in memory.

The files are mapped into memory, and have holes: a process that writes to one where the disk has no room left is killed
by SIGBUS. So a worker takes the room that its figures need before it makes them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from dejavu_server.observability.multiprocess import FOLDER_VARIABLE

LATENCY_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0)
"""Upper bounds of the latency histogram, in seconds."""

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)

FILE_BYTES = 1 << 16
"""Room for a file of figures: what prometheus_client makes it; all methods and codes take less than half."""

_KINDS = ("counter", "gauge_livesum", "histogram")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The figures of one worker.

    Attributes:
        calls: finished calls, by method and status code; streams included.
        seconds: how long unary calls took, by method.
        in_flight: calls that run now, by method; for StreamPredictions, the subscribers.
        messages: messages sent on streams, by method.
        batch_size: queries computed in one pass over the models.
        recorded: forecasts handed to the ledger, by outcome (new, known, refused, failed) and horizon.
        ledger_failed: 1 while the worker can't record named forecasts.
        streams_failed: 1 while the worker can't follow the ledger, and has no streams.
    """

    calls: Counter
    seconds: Histogram
    in_flight: Gauge
    messages: Counter
    batch_size: Histogram
    recorded: Counter
    ledger_failed: Gauge
    streams_failed: Gauge


def new_metrics(registry: CollectorRegistry | None = None) -> Metrics:
    """Fresh figures, in a registry of their own unless one is given."""
    registry = CollectorRegistry() if registry is None else registry
    method = ["method"]
    return Metrics(
        calls=Counter("dejavu_calls", "Finished calls.", ["method", "code"], registry=registry),
        seconds=Histogram(
            "dejavu_call_seconds", "Duration of unary calls.", method, registry=registry, buckets=LATENCY_BUCKETS
        ),
        in_flight=Gauge(
            "dejavu_calls_in_flight", "Calls that run now.", method, registry=registry, multiprocess_mode="livesum"
        ),
        messages=Counter("dejavu_stream_messages", "Messages sent on streams.", method, registry=registry),
        batch_size=Histogram(
            "dejavu_batch_size", "Queries computed in one pass.", registry=registry, buckets=BATCH_BUCKETS
        ),
        recorded=Counter(
            "dejavu_forecasts_recorded", "Forecasts handed to the ledger.", ["outcome", "horizon"], registry=registry
        ),
        ledger_failed=Gauge(
            "dejavu_workers_without_ledger",
            "Workers that can't record named forecasts at present.",
            registry=registry,
            multiprocess_mode="livesum",
        ),
        streams_failed=Gauge(
            "dejavu_workers_without_streams",
            "Workers that can't follow the ledger at present.",
            registry=registry,
            multiprocess_mode="livesum",
        ),
    )


def reserve() -> None:
    """Takes the room for this process's files; where there is none, its figures stay in memory, where nobody sees them.

    To be called before `new_metrics`. Does nothing in a process that keeps no files.
    """
    if FOLDER_VARIABLE not in os.environ:
        return
    paths = [Path(os.environ[FOLDER_VARIABLE], f"{kind}_{os.getpid()}.db") for kind in _KINDS]
    try:
        for path in paths:
            _take_room(path)
    except OSError as error:
        for path in paths:
            path.unlink(missing_ok=True)
        values.ValueClass = values.MutexValue
        _log.warning("metrics_not_kept", error=str(error), effect="what this worker does is not counted")


def _take_room(path: Path) -> None:
    if path.exists():  # of a process that had this process's id
        return
    unready = path.with_suffix(".new")  # none that is empty: a reader takes that for a damaged one
    try:
        descriptor = os.open(unready, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, FILE_BYTES)
        finally:
            os.close(descriptor)
        unready.rename(path)
    finally:
        unready.unlink(missing_ok=True)
