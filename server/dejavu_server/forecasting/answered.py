"""Counts of answered forecasts by model and horizon."""

from __future__ import annotations

from functools import cache, partial

from prometheus_client import Counter

from dejavu_models.types import Horizon
from dejavu_server.observability.deferred import DeferredMetrics, DeferredSum, adder


class AnsweredForecasts:
    """Counts answered forecasts.

    Args:
        counter: has the labels model and horizon; None: they are not counted.
        deferred: writes the counts; None: they are written at once.
    """

    def __init__(self, counter: Counter | None, deferred: DeferredMetrics | None) -> None:
        # Cached: looking up the labels costs more than counting.
        self._count = None if counter is None else cache(partial(_labelled, counter, deferred))

    def count(self, version: str, horizon: Horizon, forecasts: int = 1) -> None:
        """Counts forecasts of a model."""
        if self._count is not None:
            self._count(version, horizon).inc(forecasts)


def _labelled(
    counter: Counter, deferred: DeferredMetrics | None, version: str, horizon: Horizon
) -> Counter | DeferredSum:
    return adder(counter.labels(version, horizon.value), deferred)
