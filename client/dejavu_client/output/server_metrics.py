"""Reads a server's metrics, and what happened between two scrapes of them.

Needs the package prometheus-client (extra `live`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]

FAILURES: Final = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE"})
"""Codes of calls that failed by the server's fault."""


class NoServerMetrics(ValueError):
    """A text is not the metrics of a dejavu-server of this release or a later one."""


class Scrape:
    """Samples of a server's metrics.

    Args:
        text: what /metrics answered.
        time: when, in seconds of a clock that does not go back.

    Attributes:
        time: see above.

    Raises:
        NoServerMetrics: if the text is something else.
    """

    def __init__(self, text: str, time: float) -> None:
        self.time = time
        self._samples: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    self._samples[sample.name][frozenset(sample.labels.items())] = sample.value
        except ValueError:
            raise NoServerMetrics("the answer is not Prometheus metrics") from None
        if "dejavu_build_info" not in self._samples:
            raise NoServerMetrics("the answer has no metrics of a dejavu-server: expected dejavu_build_info in them")

    def value(self, name: str, **labels: str) -> float | None:
        """Returns the sum of the samples that have the labels; None without any that is a number."""
        found = [
            value
            for own, value in self._samples.get(name, {}).items()
            if labels.items() <= set(own) and not math.isnan(value)
        ]
        return sum(found) if found else None

    def label_values(self, name: str, label: str) -> list[str]:
        """Returns the sorted values of a label of a metric."""
        return sorted({value for own in self._samples.get(name, {}) for key, value in own if key == label})

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Returns the sums of a metric's samples that have the labels, by the value of another label."""
        values = self.label_values(name, label)
        return {each: self.value(name, **{**labels, label: each}) or 0.0 for each in values}


@dataclass(frozen=True, slots=True)
class ScrapeInterval:
    """What happened between two scrapes.

    Attributes:
        before: the first scrape.
        now: the second one.
    """

    before: Scrape
    now: Scrape

    @property
    def seconds(self) -> float:
        """Time between the scrapes."""
        return max(self.now.time - self.before.time, 1e-9)

    def rate(self, name: str, **labels: str) -> float:
        """Returns the growth of a counter a second; one that was reset counts from 0."""
        before, now = self.before.value(name, **labels) or 0.0, self.now.value(name, **labels) or 0.0
        return (now - before if now >= before else now) / self.seconds

    def rates(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Returns the growth of a counter a second, by the value of a label."""
        return {value: self.rate(name, **{**labels, label: value}) for value in self.now.label_values(name, label)}

    def quantile(self, name: str, share: float, **labels: str) -> float | None:
        """Returns a quantile of a histogram's observations in the interval, as Prometheus computes it.

        None without any. An observation above the last finite bound counts as that bound.

        Args:
            name: name of the histogram.
            share: of the observations, 0 to 1.
            labels: labels of the observations.
        """
        growth = self.rates(f"{name}_bucket", "le", **labels)
        buckets = sorted((float(bound), number) for bound, number in growth.items())
        if not buckets or buckets[-1][1] <= 0:
            return None
        rank, lower, below = share * buckets[-1][1], 0.0, 0.0
        for bound, number in buckets:
            if number >= rank and number > below:
                if math.isinf(bound):
                    return lower
                return lower + (bound - lower) * (rank - below) / (number - below)
            lower, below = bound, number
        return lower


def summary(interval: ScrapeInterval) -> dict[str, object]:
    """Returns what `dejavu top` shows, for programs: rates a second, durations in seconds, sizes in bytes.

    What is not known, or did not happen, is None.
    """
    now = interval.now
    streams = now.by("dejavu_calls_in_flight", "method")
    return {
        "version": next(iter(now.label_values("dejavu_build_info", "version")), None),
        "seconds": round(interval.seconds, 3),
        "calls": interval.rate("dejavu_calls_total"),
        "failed": sum(interval.rate("dejavu_calls_total", code=code) for code in FAILURES),
        "refused": interval.rate("dejavu_calls_refused_total"),
        "in_flight": sum(value for method, value in streams.items() if not is_stream(method)),
        "streams": sum(value for method, value in streams.items() if is_stream(method)),
        "waiting": now.value("dejavu_queries_waiting"),
        "recorded": interval.rate("dejavu_forecasts_recorded_total", outcome="new"),
        "methods": {method: _method(interval, method) for method in now.label_values("dejavu_calls_total", "method")},
        "workers": {slot: _worker(interval, slot) for slot in _slots(now)},
        "worker_deaths": now.value("dejavu_worker_deaths_total"),
        "worker_hangs": now.value("dejavu_worker_hangs_total"),
        "ledger": {
            "bytes": now.value("dejavu_ledger_bytes"),
            "free_bytes": now.value("dejavu_ledger_disk_free_bytes"),
            "reserve_bytes": now.value("dejavu_ledger_disk_reserve_bytes"),
            "commit_p99": interval.quantile("dejavu_ledger_commit_seconds", 0.99),
            "workers_without": now.value("dejavu_workers_without_ledger"),
            "workers_without_streams": now.value("dejavu_workers_without_streams"),
            "stream_lag": now.value("dejavu_stream_lag_entries"),
            "learner_lag": now.value("dejavu_learner_lag_outcomes"),
            "checkpoint_age": now.value("dejavu_checkpoint_age_seconds"),
        },
        "outdated_files": [
            file for file, is_outdated in now.by("dejavu_access_file_outdated", "file").items() if is_outdated
        ],
    }


def is_stream(method: str) -> bool:
    """Returns whether a call of a method lasts: its number in progress is that of subscribers."""
    return method.rpartition("/")[2] in {"StreamPredictions", "Watch", "ServerReflectionInfo"}


def _slots(now: Scrape) -> list[str]:
    return sorted(now.label_values("dejavu_worker_resident_bytes", "worker"), key=int)


def _method(interval: ScrapeInterval, method: str) -> Mapping[str, float | None]:
    codes = interval.rates("dejavu_calls_total", "code", method=method)
    return {
        "calls": sum(codes.values()),
        "failed": sum(rate for code, rate in codes.items() if code in FAILURES),
        "refused": interval.rate("dejavu_calls_refused_total", method=method),
        "p50": interval.quantile("dejavu_call_seconds", 0.5, method=method),
        "p99": interval.quantile("dejavu_call_seconds", 0.99, method=method),
        "in_flight": interval.now.value("dejavu_calls_in_flight", method=method),
    }


def _worker(interval: ScrapeInterval, slot: str) -> Mapping[str, float | None]:
    now = interval.now
    return {
        "cpu": interval.rate("dejavu_worker_cpu_seconds_total", worker=slot),
        "resident_bytes": now.value("dejavu_worker_resident_bytes", worker=slot),
        "open_fds": now.value("dejavu_worker_open_fds", worker=slot),
        "max_fds": now.value("dejavu_worker_max_fds", worker=slot),
        "beat_age": now.value("dejavu_worker_beat_age_seconds", worker=slot),
        "served": now.value("dejavu_worker_served_seconds", worker=slot),
    }
