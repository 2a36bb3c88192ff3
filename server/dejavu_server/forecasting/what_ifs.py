"""Forecasts of requests that name no game: of columns, and many that differ in their numbers only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from dejavu_common.tracing import span
from dejavu_models.arrays import Floats
from dejavu_models.columns import ColumnsForecast, ColumnsQuery
from dejavu_models.errors import DejavuError
from dejavu_models.forecast_query import ForecastQuery
from dejavu_models.forecaster import Forecaster
from dejavu_models.forecaster.alike import AlikeGame, AlikeGames, AlikeNumbers, AlikeRows
from dejavu_server.forecasting.answered import AnsweredForecasts
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.lifecycle.models import Models


class WhatIfForecasts:
    """Computes forecasts that are not recorded.

    Args:
        models: the models.
        batcher: computes forecasts.
        answered: counts them.
        lifetime: how long a forecast stays current.
        clock: returns the current time, aware and in UTC.
    """

    def __init__(
        self,
        models: Models,
        batcher: Batcher,
        answered: AnsweredForecasts,
        lifetime: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._models = models
        self._batcher = batcher
        self._answered = answered
        self._lifetime = lifetime
        self._clock = clock

    async def forecast_columns(self, query: ColumnsQuery, model_version: str) -> list[ColumnsForecast]:
        """Answers a request of columns, which records nothing, with one model; in parts, in order.

        Args:
            query: the request.
            model_version: the requested model; empty for the active one.

        Raises:
            UnknownModel, NotLoaded, Unsupported: if no model can answer it.
            Overloaded: if too many queries wait already.
        """
        forecaster = await self._model(model_version)
        forecaster.check_columns(query)
        with span("forecast", queries=len(query)):
            answers = await self._batcher.forecast_columns(forecaster, query)
        self._answered.count(forecaster.version, query.horizon, len(query))
        return answers

    async def alike(self, query: ForecastQuery, model_version: str) -> AlikeGames | None:
        """Returns what forecasts games with the options of a what-if, by the model and the online state of now.

        Args:
            query: the query of a what-if.
            model_version: the requested model; empty for the active one.

        Returns:
            None if it takes more than a pattern and a margin.

        Raises:
            UnknownModel, NotLoaded, Unsupported: if no model can answer it.
            LedgerUnavailable: if the models are not known yet.
        """
        forecaster = await self._model(model_version)
        forecaster.check(query)
        return forecaster.alike(query)

    def is_current(self, games: AlikeGames, model_version: str) -> bool:
        """Returns whether what-ifs would be forecast by the same model and online state now; see `alike`."""
        try:
            return self._models.get(model_version).is_current(games)
        except DejavuError:
            return False

    async def forecast_alike(self, games: AlikeGames, asked: AlikeGame) -> tuple[AlikeNumbers, datetime, datetime]:
        """Forecasts a game, together with others of the same options that wait.

        Args:
            games: see `alike`.
            asked: its numbers, which a query may have.

        Returns:
            The numbers of its forecast, when it was made, and when it expires.

        Raises:
            Overloaded: if too many queries wait already.
        """
        with span("forecast"):
            numbers = await self._batcher.forecast(games, asked)
        self._answered.count(games.version, games.horizon)
        return numbers, *self._times()

    async def forecast_rows(self, games: AlikeGames, rows: AlikeRows) -> tuple[Floats, datetime, datetime]:
        """Forecasts many games in order.

        Args:
            games: see `alike`.
            rows: their numbers.

        Returns:
            The numbers of their forecasts, see `AlikeGames.forecast_rows`, when they were made, and when they expire.

        Raises:
            Overloaded: if too many queries wait already.
        """
        with span("forecast", queries=len(rows)):
            numbers = await self._batcher.forecast_rows(games, rows)
        self._answered.count(games.version, games.horizon, len(rows))
        return numbers, *self._times()

    def _times(self) -> tuple[datetime, datetime]:
        """Returns when a forecast of now was made, and when it expires."""
        now = self._clock()
        return now, now + self._lifetime

    async def _model(self, model_version: str) -> Forecaster:
        """Returns a requested model, or the active one if none is requested."""
        return await self._models.obtain(model_version) if model_version else self._models.get()
