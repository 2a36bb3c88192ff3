"""Converts statistics of a server to messages of the contract."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.ops.v1 import operations_service_pb2 as pb
from dejavu_models.types import Horizon
from dejavu_server.access.policy import POLICY, CallKind
from dejavu_server.api.converters.fields import HORIZON_VALUES, timestamp
from dejavu_server.observability import statistics as stats
from dejavu_server.observability.metrics import LATENCY_BUCKETS
from dejavu_server.observability.quantiles import QuantileEstimate, quantile
from dejavu_server.observability.statistics import CountedWindow, ServerStatistics, Values, WorkerStatistics, by_labels

SHARES: Final = (0.5, 0.95, 0.99)
"""Levels of the quantiles of durations."""

FEED_SECONDS: Final = 900.0
"""Age from which a report about a feed is no longer shown."""

_BOUNDS: Final = (*LATENCY_BUCKETS, math.inf)
_STREAMS: Final = tuple(method for method, rule in POLICY.items() if rule.kind is CallKind.STREAM)


def stats_message(
    found: ServerStatistics, *, server: pb.ServerInfo, coverage_days: int, ledger: pb.LedgerState, now: float
) -> pb.GetServiceStatsResponse:
    """Convert the statistics of a server.

    Args:
        found: the statistics.
        server: the server, as far as the settings determine it.
        coverage_days: number of days whose games count towards the coverage.
        ledger: state of the ledger, as far as the settings determine it.
        now: the time, in seconds since 1970.
    """
    states = found.states
    in_flight = {method: value for (method,), value in by_labels(states, stats.IN_FLIGHT).items()}
    streams = sum(in_flight.pop(method, 0) for method in _STREAMS)
    return pb.GetServiceStatsResponse(
        sampled_time=_timestamp(found.sampled),
        windows=[_window(window) for window in found.windows],
        open_streams=round(streams),
        calls_in_flight=round(sum(in_flight.values())),
        ledger_lag=pb.LedgerLag(
            entries=round(states.get(stats.STREAM_LAG, 0)),
            lag_seconds=states.get(stats.STREAM_LAG_SECONDS, 0),
            outcomes=round(states.get(stats.LEARNER_LAG, 0)),
            workers_without=round(states.get(stats.WITHOUT_LEDGER, 0)),
        ),
        coverage=_coverage(states, coverage_days),
        server=pb.ServerInfo(
            server_id=found.server,
            name=server.name,
            start_time=_timestamp(found.started),
            uptime_seconds=max(0.0, found.sampled - found.started),
            configured_workers=server.configured_workers,
            settings=server.settings,
            workers=[_worker(worker) for worker in found.workers],
            worker_deaths=round(states.get(stats.DEATHS, 0)),
            worker_hangs=round(states.get(stats.HANGS, 0)),
            last_reload_failed=states.get(stats.RELOAD_FAILED, 0) > 0,
            outdated_files=sorted(file for (file,), value in by_labels(states, stats.OUTDATED).items() if value > 0),
        ),
        feeds=_feeds(states, now),
        ledger=_ledger(states, ledger),
    )


def _window(window: CountedWindow) -> pb.StatsWindow:
    message = pb.StatsWindow(
        length_seconds=window.length or None,
        covered_seconds=window.seconds,
        predictions=_predictions(window.counts),
        methods=_methods(window.counts),
    )
    hits, misses = (round(window.counts.get(each, 0)) for each in (stats.CACHE_HITS, stats.CACHE_MISSES))
    if hits or misses:
        message.cache.CopyFrom(pb.CacheCounts(hits=hits, misses=misses, hit_rate=hits / (hits + misses)))
    return message


def _predictions(counts: Values) -> Iterator[pb.PredictionCounts]:
    for horizon in Horizon:
        yield pb.PredictionCounts(
            horizon=HORIZON_VALUES[horizon],
            what_ifs=round(counts.get(stats.key(stats.FORECASTS, "what_if", horizon.value), 0)),
            recorded=round(counts.get(stats.key(stats.RECORDED, "new", horizon.value), 0)),
            already_recorded=round(counts.get(stats.key(stats.RECORDED, "known", horizon.value), 0)),
        )


def _methods(counts: Values) -> Iterator[pb.MethodStats]:
    codes: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (method, code), calls in by_labels(counts, stats.CALLS).items():
        codes[method][code] = round(calls)
    buckets: defaultdict[str, dict[float, float]] = defaultdict(dict)
    for (method, bound), calls in by_labels(counts, stats.SECONDS).items():
        buckets[method][float(bound)] = calls
    for method, by_code in sorted(codes.items()):
        yield pb.MethodStats(
            method=method.removeprefix("/"),
            calls=sum(by_code.values()),
            errors=[pb.ErrorCount(code=code, calls=calls) for code, calls in sorted(by_code.items()) if code != "OK"],
            latency=_latency(buckets[method], counts.get(stats.key(stats.SECONDS_SUM, method), 0)),
        )


def _latency(buckets: Mapping[float, float], seconds: float) -> pb.LatencyStats | None:
    """Return the durations of a method's calls; None without any.

    Args:
        buckets: number of calls at or below each bound of the histogram, in seconds; without those that are 0.
        seconds: sum of the durations.
    """
    cumulative = [buckets.get(bound, 0.0) for bound in _BOUNDS]
    calls = cumulative[-1]
    if not calls:
        return None
    return pb.LatencyStats(
        calls=round(calls),
        mean_seconds=seconds / calls,
        quantiles=[_quantile(share, quantile(_BOUNDS, cumulative, share)) for share in SHARES],
    )


def _quantile(share: float, estimate: QuantileEstimate) -> pb.LatencyQuantile:
    return pb.LatencyQuantile(
        share=share,
        seconds=estimate.value,
        lower_seconds=estimate.lower,
        upper_seconds=None if math.isinf(estimate.upper) else estimate.upper,
    )


def _coverage(states: Values, days: int) -> Iterator[pb.RollingCoverage]:
    for (model, horizon), forecasts in by_labels(states, stats.COVERAGE_FORECASTS).items():
        labels = model, horizon
        share = states.get(stats.key(stats.COVERAGE, *labels), 0)
        yield pb.RollingCoverage(
            horizon=HORIZON_VALUES[Horizon(horizon)],
            model_version=model,
            days=days,
            games=round(states.get(stats.key(stats.COVERAGE_GAMES, *labels), 0)),
            forecasts=round(forecasts),
            held=round(share * forecasts),
            coverage=share,
            nominal_coverage=states.get(stats.key(stats.NOMINAL_COVERAGE, *labels), 0),
        )


def _feeds(states: Values, now: float) -> Iterator[pb.FeedStatus]:
    for (feed, reporter), reported in sorted(by_labels(states, stats.FEED_REPORTED).items()):
        if now - reported >= FEED_SECONDS:
            continue
        data = states.get(stats.key(stats.FEED_DATA, feed, reporter))
        yield pb.FeedStatus(
            feed=feed,
            report_age_seconds=max(0.0, now - reported),
            read_age_seconds=max(0.0, now - states.get(stats.key(stats.FEED_READ, feed, reporter), 0)),
            data_age_seconds=None if data is None else max(0.0, now - data),
            live_games=round(states.get(stats.key(stats.FEED_GAMES, feed, reporter), 0)),
            reported_by=reporter,
        )


def _ledger(states: Values, settings: pb.LedgerState) -> pb.LedgerState:
    """Return the state of the ledger; `states` has no zeros."""
    state = pb.LedgerState(
        checkpoint_age_seconds=states.get(stats.CHECKPOINT_AGE, 0),
        checkpoint_interval_seconds=states.get(stats.CHECKPOINT_INTERVAL),
        disk=_disk(states, settings.database),
    )
    state.MergeFrom(settings)
    return state


def _disk(states: Values, database: pb.DatabaseKind.ValueType) -> pb.DiskState.ValueType:
    if database != pb.DATABASE_KIND_SQLITE or stats.LEDGER_BYTES not in states:
        return pb.DISK_STATE_UNSPECIFIED
    free, reserve = states.get(stats.LEDGER_FREE, 0), states.get(stats.LEDGER_RESERVE, 0)
    if free < reserve:
        return pb.DISK_STATE_BELOW_RESERVE
    return pb.DISK_STATE_LOW if free < 2 * reserve else pb.DISK_STATE_ENOUGH


def _worker(worker: WorkerStatistics) -> pb.WorkerInfo:
    return pb.WorkerInfo(
        name=worker.name,
        version=worker.versions.get("dejavu-forecast", ""),
        revision=worker.versions.get("revision", ""),
        start_time=_timestamp(worker.started),
        grpc_version=worker.versions.get("grpcio", ""),
        python_version=worker.versions.get("python", ""),
        cpu_seconds=worker.cpu_seconds,
        resident_bytes=worker.resident_bytes,
    )


def _timestamp(seconds: float) -> Timestamp:
    return timestamp(datetime.fromtimestamp(seconds, UTC))
