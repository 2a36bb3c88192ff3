"""Column calls of the asynchronous client; columns.py is generated from this file by `make gen`."""
# ruff: noqa: ASYNC109 - timeout is a deadline sent to the server, not a local one

from __future__ import annotations

from typing import Any, Unpack

from dejavu_client.columns import ColumnsOptions, ForecastColumns, columns_of, columns_request
from dejavu_client.transport.aio_caller import AsyncCaller


class AsyncColumnCalls(AsyncCaller):
    """The methods of AsyncDejavuClient for forecasts of many games as columns."""

    async def predict_columns(
        self, patterns: Any, minutes: Any = None, *, timeout: float | None = None, **options: Unpack[ColumnsOptions]
    ) -> ForecastColumns:
        """Forecast 1 to 5,000 games with the same options, for example to score whole seasons. Nothing is recorded.

        Every array may be an Arrow or numpy array, or any iterable.

        Args:
            patterns: the pattern of each game, as rows (padded with NaN in a two-dimensional array); or, if `minutes`
                is given, the differentials of all games in one flat array, one game after another. In points, as in
                `predict`.
            minutes: number of minutes of each game's pattern; None if `patterns` has one row per game.
            timeout: deadline of this call, in seconds; None for the client's.
            options: `pregame_margins`, `horizon`, `alpha`, `quantile_levels`, `model_version`; see `ColumnsOptions`.
        """
        request = columns_request(patterns, minutes, **options)
        response = await self._unary("PredictColumns", lambda stubs: stubs.prediction.PredictColumns, request, timeout)
        return columns_of(response, request.quantile_levels)
