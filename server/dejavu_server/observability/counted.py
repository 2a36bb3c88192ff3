"""Which of a worker's metrics the statistics of its server are made of, and under which names they are summed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from prometheus_client.samples import Sample

from dejavu_server.observability.metrics import Metrics

CALLS: Final = "calls"
"""Calls that ended, by method and code."""
SECONDS: Final = "seconds"
"""Durations of unary calls, by method and `le`: number of calls at or below each bound of the histogram."""
SECONDS_SUM: Final = "seconds_sum"
"""Sum of these durations, by method."""
WHAT_IFS: Final = "what_ifs"
"""Forecasts that name no game, by horizon: all that were answered but those that name one."""
RECORDED: Final = "recorded"
"""Forecasts handed to the ledger, by outcome and horizon."""
CACHE: Final = "cache"
"""What-ifs looked up in the cache, by hits and misses."""
IN_FLIGHT: Final = "in_flight"
"""Level: calls in progress, by method."""
WITHOUT_LEDGER: Final = "without_ledger"
"""Level: workers that cannot record forecasts."""
STREAM_LAG, STREAM_LAG_SECONDS, LEARNER_LAG = "stream_lag", "stream_lag_seconds", "learner_lag"
"""Peaks: how far streams are behind the ledger, in entries and seconds, and models behind outcomes."""
COVERAGE, NOMINAL_COVERAGE = "coverage", "nominal_coverage"
"""Latest: shares of the settled intervals that held, and should have held, by model and horizon."""
COVERAGE_GAMES, COVERAGE_FORECASTS = "coverage_games", "coverage_forecasts"
"""Latest: games and number of these intervals, by model and horizon."""

_SEPARATOR: Final = "|"


def key(metric: str, *labels: str) -> str:
    """Returns the name under which a metric with labels is summed."""
    return _SEPARATOR.join((metric, *labels))


def by_labels(values: Mapping[str, float], metric: str) -> dict[tuple[str, ...], float]:
    """Returns the values of a metric by its labels."""
    split = ((name.split(_SEPARATOR), value) for name, value in values.items())
    return {tuple(labels): value for (name, *labels), value in split if name == metric}


class _Source(NamedTuple):
    """Samples of a metric, and the name and labels under which they are summed."""

    sample: str
    metric: str
    labels: tuple[str, ...] = ()


_COUNTS: Final = (
    _Source("dejavu_calls_total", CALLS, ("method", "code")),
    _Source("dejavu_call_seconds_bucket", SECONDS, ("method", "le")),
    _Source("dejavu_call_seconds_sum", SECONDS_SUM, ("method",)),
    _Source("dejavu_forecasts_total", WHAT_IFS, ("horizon",)),
    _Source("dejavu_forecasts_recorded_total", RECORDED, ("outcome", "horizon")),
)
_CACHE: Final = {"dejavu_cache_hits_total": key(CACHE, "hits"), "dejavu_cache_misses_total": key(CACHE, "misses")}
"""Summed over all labels; kept while 0, which tells a server with a cache from one without."""

_LEVELS: Final = (
    _Source("dejavu_calls_in_flight", IN_FLIGHT, ("method",)),
    _Source("dejavu_workers_without_ledger", WITHOUT_LEDGER),
)
_PEAKS: Final = (
    _Source("dejavu_stream_lag_entries", STREAM_LAG),
    _Source("dejavu_stream_lag_seconds", STREAM_LAG_SECONDS),
    _Source("dejavu_learner_lag_outcomes", LEARNER_LAG),
)
_LATEST: Final = (
    _Source("dejavu_coverage_ratio", COVERAGE, ("model", "horizon")),
    _Source("dejavu_coverage_nominal_ratio", NOMINAL_COVERAGE, ("model", "horizon")),
    _Source("dejavu_coverage_games", COVERAGE_GAMES, ("model", "horizon")),
    _Source("dejavu_coverage_forecasts", COVERAGE_FORECASTS, ("model", "horizon")),
)


class CountedMetrics:
    """Reads the metrics of a worker, as what it counted since this was created.

    The files of metrics may hold the counts of an earlier process with the same id: these are left out.

    Args:
        metrics: the metrics.
    """

    def __init__(self, metrics: Metrics) -> None:
        names = [source.sample for source in (*_COUNTS, *_LEVELS, *_PEAKS, *_LATEST)]
        self._named = metrics.named
        self._deferred = metrics.deferred
        self._registry = metrics.registry.restricted_registry([*names, *_CACHE])
        self._before: dict[str, float] = {}
        self._before = self.read()[0]

    def read(self) -> tuple[dict[str, float], dict[str, float], dict[str, float], dict[str, float]]:
        """Returns counts, levels, peaks and latest states as `WorkerTotals` has them."""
        self._deferred.flush()
        samples: dict[str, list[Sample]] = {}
        for family in self._registry.collect():
            for sample in family.samples:
                samples.setdefault(sample.name, []).append(sample)
        counts = _values(_COUNTS, samples)
        for horizon, named in self._named.items():
            counts[key(WHAT_IFS, horizon)] -= named
        for name, counted_as in _CACHE.items():
            if name in samples:
                counts[counted_as] = sum(sample.value for sample in samples[name])
        counts = {name: value - self._before.get(name, 0.0) for name, value in counts.items()}
        return counts, _values(_LEVELS, samples), _values(_PEAKS, samples), _values(_LATEST, samples)


def _values(sources: Iterable[_Source], samples: Mapping[str, Iterable[Sample]]) -> dict[str, float]:
    """Returns the sums of samples by name; those that are 0, or no number, are left out."""
    sums: dict[str, float] = {}
    for source in sources:
        for sample in samples.get(source.sample, ()):
            if sample.value and not math.isnan(sample.value):
                name = key(source.metric, *(sample.labels[label] for label in source.labels))
                sums[name] = sums.get(name, 0.0) + sample.value
    return sums
