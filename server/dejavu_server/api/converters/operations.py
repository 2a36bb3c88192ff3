"""What the workers of a server counted → messages of the contract."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1 import operations_service_pb2 as pb
from dejavu_models.errors import InvalidInput, quoted
from dejavu_models.types import Horizon
from dejavu_server.api.converters.fields import HORIZON_VALUES, timestamp
from dejavu_server.observability import counted
from dejavu_server.observability.other_servers import (
    KnownServer,
    OtherServers,
    combined_bounds,
    combined_states,
    combined_windows,
    newest_feeds,
)
from dejavu_server.observability.quantiles import QuantileEstimate, quantile
from dejavu_server.observability.totals import CountedWindow, FeedReport, RunningWorker

SHARES: Final = (0.5, 0.95, 0.99)
"""Shares of the quantiles of durations."""

MAX_AGE_SECONDS: Final = 1_000_000
"""Largest age of a feed's data that can be reported, in seconds."""

_FEED: Final = re.compile(r"[a-z0-9-]{1,32}")
_STREAM: Final = "/dejavu.v1.PredictionService/StreamPredictions"


class InvalidFeedReport(InvalidInput):
    """A report about a feed has no valid name or age."""

    reason = "INVALID_FEED_REPORT"


def stats_message(own: KnownServer, others: OtherServers, coverage_days: int) -> pb.GetServiceStatsResponse:
    """Converts what the servers of a ledger counted.

    Args:
        own: the server that answers.
        others: the other servers.
        coverage_days: days of the games whose intervals are counted.
    """
    totals = own.sample.totals
    server = _server(own)
    return pb.GetServiceStatsResponse(
        sampled_time=server.sampled_time,
        windows=server.windows,
        open_streams=server.open_streams,
        calls_in_flight=server.calls_in_flight,
        ledger_lag=server.ledger_lag,
        coverage=_coverage(totals.latest, coverage_days),
        server=server.server,
        feeds=_feeds([own]),
        servers=[server, *map(_server, others.servers)],
        all_servers=_combined([own, *others.servers]),
        others_missing=others.missing,
    )


def feed_report(request: pb.ReportFeedRequest, now: float) -> tuple[str, FeedReport]:
    """Reads a report about a feed; returns the feed's name and the report.

    Args:
        request: the report.
        now: the time, in seconds of the machine's monotonic clock.

    Raises:
        InvalidFeedReport: if a field is out of bounds.
    """
    if not _FEED.fullmatch(request.feed):
        raise InvalidFeedReport(quoted(request.feed), "1 to 32 of a to z, 0 to 9 and hyphen", field="feed")
    data_age = request.data_age_seconds if request.HasField("data_age_seconds") else None
    for name, age in (("read_age_seconds", request.read_age_seconds), ("data_age_seconds", data_age)):
        if age is not None and not 0 <= age <= MAX_AGE_SECONDS:
            raise InvalidFeedReport(f"{age:g}", f"0 to {MAX_AGE_SECONDS:,} seconds", field=name)
    return request.feed, FeedReport(
        reported=now, read_age=request.read_age_seconds, data_age=data_age, live_games=request.live_games
    )


def _server(server: KnownServer) -> pb.ServerStats:
    sample, totals = server.sample, server.sample.totals
    streams, calls = _open_calls(totals.levels)
    return pb.ServerStats(
        server=pb.ServerInfo(
            server_id=totals.server,
            name=sample.name,
            start_time=_timestamp(totals.started),
            uptime_seconds=max(0.0, totals.sampled - totals.started),
            configured_workers=sample.configured_workers,
            workers=[_worker(worker) for worker in totals.workers],
        ),
        sampled_time=_timestamp(totals.sampled),
        sampled_seconds_ago=server.age,
        windows=[_window(window, server.bounds) for window in totals.windows],
        open_streams=streams,
        calls_in_flight=calls,
        ledger_lag=_lag(totals.levels, totals.peaks),
    )


def _combined(servers: Sequence[KnownServer]) -> pb.CombinedStats:
    levels, peaks = combined_states(servers)
    streams, calls = _open_calls(levels)
    bounds = combined_bounds(servers)
    return pb.CombinedStats(
        servers=len(servers),
        oldest_sample_seconds_ago=max(server.age for server in servers),
        windows=[_window(window, bounds) for window in combined_windows(servers)],
        open_streams=streams,
        calls_in_flight=calls,
        ledger_lag=_lag(levels, peaks),
        feeds=_feeds(servers),
    )


def _open_calls(levels: Mapping[str, float]) -> tuple[int, int]:
    """Returns how many streams of forecasts are open, and how many other calls are in progress."""
    in_flight = {method: value for (method,), value in counted.by_labels(levels, counted.IN_FLIGHT).items()}
    streams = round(in_flight.pop(_STREAM, 0))
    return streams, round(sum(in_flight.values()))


def _lag(levels: Mapping[str, float], peaks: Mapping[str, float]) -> pb.LedgerLag:
    return pb.LedgerLag(
        entries=round(peaks.get(counted.STREAM_LAG, 0)),
        seconds=peaks.get(counted.STREAM_LAG_SECONDS, 0),
        outcomes=round(peaks.get(counted.LEARNER_LAG, 0)),
        workers_without=round(levels.get(counted.WITHOUT_LEDGER, 0)),
    )


def _window(window: CountedWindow, bounds: Sequence[float]) -> pb.StatsWindow:
    """Converts a window; the histograms of its durations have these bounds."""
    message = pb.StatsWindow(
        length_seconds=window.length,
        covered_seconds=window.seconds,
        predictions=_predictions(window.counts),
        methods=_methods(window.counts, bounds),
    )
    looked_up = counted.by_labels(window.counts, counted.CACHE)
    if any(looked_up.values()):
        hits, misses = (round(looked_up.get((name,), 0)) for name in ("hits", "misses"))
        message.cache.CopyFrom(pb.CacheCounts(hits=hits, misses=misses, hit_rate=hits / (hits + misses)))
    return message


def _predictions(counts: Mapping[str, float]) -> Iterator[pb.PredictionCounts]:
    for horizon in Horizon:
        yield pb.PredictionCounts(
            horizon=HORIZON_VALUES[horizon],
            what_ifs=round(counts.get(counted.key(counted.WHAT_IFS, horizon.value), 0)),
            recorded=round(counts.get(counted.key(counted.RECORDED, "new", horizon.value), 0)),
            already_recorded=round(counts.get(counted.key(counted.RECORDED, "known", horizon.value), 0)),
        )


def _methods(counts: Mapping[str, float], bounds: Sequence[float]) -> Iterator[pb.MethodStats]:
    codes: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (method, code), calls in counted.by_labels(counts, counted.CALLS).items():
        codes[method][code] = round(calls)
    buckets: defaultdict[str, dict[float, float]] = defaultdict(dict)
    for (method, bound), calls in counted.by_labels(counts, counted.SECONDS).items():
        buckets[method][float(bound)] = calls
    for method, by_code in sorted(codes.items()):
        yield pb.MethodStats(
            method=method.removeprefix("/"),
            calls=sum(by_code.values()),
            errors=[pb.ErrorCount(code=code, calls=calls) for code, calls in sorted(by_code.items()) if code != "OK"],
            latency=_latency(bounds, buckets[method], counts.get(counted.key(counted.SECONDS_SUM, method), 0)),
        )


def _latency(bounds: Sequence[float], buckets: Mapping[float, float], seconds: float) -> pb.LatencyStats | None:
    """Returns the durations of a method's calls; None without any.

    Args:
        bounds: upper bounds of the buckets to read, rising, the last one infinite.
        buckets: number of calls at or below each bound of the histogram, in seconds; none where a bound is missing.
        seconds: sum of the durations.
    """
    cumulative = [buckets.get(bound, 0.0) for bound in bounds]
    calls = cumulative[-1]
    if not calls:
        return None
    return pb.LatencyStats(
        calls=round(calls),
        mean_seconds=seconds / calls,
        quantiles=[_quantile(share, quantile(bounds, cumulative, share)) for share in SHARES],
    )


def _quantile(share: float, estimate: QuantileEstimate) -> pb.LatencyQuantile:
    return pb.LatencyQuantile(
        share=share,
        seconds=estimate.value,
        lower_seconds=estimate.lower,
        upper_seconds=None if math.isinf(estimate.upper) else estimate.upper,
    )


def _coverage(latest: Mapping[str, float], days: int) -> Iterator[pb.RollingCoverage]:
    for (model, horizon), forecasts in counted.by_labels(latest, counted.COVERAGE_FORECASTS).items():
        labels = model, horizon
        share = latest.get(counted.key(counted.COVERAGE, *labels), 0)
        yield pb.RollingCoverage(
            horizon=HORIZON_VALUES[Horizon(horizon)],
            model_version=model,
            days=days,
            games=round(latest.get(counted.key(counted.COVERAGE_GAMES, *labels), 0)),
            forecasts=round(forecasts),
            held=round(share * forecasts),
            coverage=share,
            nominal_coverage=latest.get(counted.key(counted.NOMINAL_COVERAGE, *labels), 0),
        )


def _feeds(servers: Sequence[KnownServer]) -> Iterator[pb.FeedStatus]:
    for name, (report, age) in newest_feeds(servers).items():
        yield pb.FeedStatus(
            feed=name,
            reported_seconds_ago=age,
            read_age_seconds=report.read_age + age,
            data_age_seconds=None if report.data_age is None else report.data_age + age,
            live_games=report.live_games,
        )


def _worker(worker: RunningWorker) -> pb.WorkerInfo:
    return pb.WorkerInfo(
        name=worker.name,
        version=worker.versions.get("dejavu-forecast", ""),
        start_time=_timestamp(worker.started),
        grpc_version=worker.versions.get("grpcio", ""),
        python_version=worker.versions.get("python", ""),
        calls_in_flight=round(sum(counted.by_labels(worker.levels, counted.IN_FLIGHT).values())),
    )


def _timestamp(seconds: float) -> Timestamp:
    return timestamp(datetime.fromtimestamp(seconds, UTC))
