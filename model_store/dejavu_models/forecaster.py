"""Combines the models of a bundle into forecasts, one game or many in one pass."""

from __future__ import annotations

from collections.abc import Sequence

from dejavu_models.types import Forecast, ForecastQuery, ModelInfo


class Forecaster:
    """Answers queries from one bundle."""

    @property
    def info(self) -> ModelInfo:
        """What the model is and can do."""
        raise NotImplementedError

    @property
    def version(self) -> str:
        """Version of the bundle."""
        raise NotImplementedError

    def check(self, query: ForecastQuery) -> None:
        """Says whether this model can answer a query.

        Raises:
            UnsupportedHorizon, UnsupportedSlots, UnsupportedMargin, AlphaTooSmall: if it can't.
        """
        raise NotImplementedError

    def forecast(self, query: ForecastQuery) -> Forecast:
        """Checks and answers one query."""
        raise NotImplementedError

    def forecast_many(self, queries: Sequence[ForecastQuery]) -> list[Forecast]:
        """Answers queries that `check` accepted, in order, in one pass over the models."""
        raise NotImplementedError
