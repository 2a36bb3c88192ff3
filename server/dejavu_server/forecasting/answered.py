"""Counts of answered forecasts by model and horizon."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter

from dejavu_models.types import Horizon


class AnsweredForecasts:
    """Counts answered forecasts.

    Args:
        counter: has the labels model, horizon and kind; None: they are not counted.
    """

    def __init__(self, counter: Counter | None) -> None:
        # Cached: looking up the labels costs more than counting.
        self._count = None if counter is None else cache(counter.labels)

    def count(self, version: str, horizon: Horizon, forecasts: int = 1, *, named: bool = False) -> None:
        """Count forecasts of a model: of a named game, or what-ifs."""
        if self._count is not None:
            self._count(version, horizon.value, "named" if named else "what_if").inc(forecasts)
