"""Column calls of the synchronous client, generated from aio_columns.py by `make gen`: edit that file instead."""

from __future__ import annotations

from typing import Any, Unpack

from dejavu_client.columns import ColumnsOptions, ForecastColumns, columns_of, columns_request
from dejavu_client.transport.caller import Caller


class ColumnCalls(Caller):
    """The methods of DejavuClient for forecasts of many games as columns."""

    def predict_columns(
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
        response = self._unary("PredictColumns", lambda stubs: stubs.prediction.PredictColumns, request, timeout)
        return columns_of(response, request.quantile_levels)
