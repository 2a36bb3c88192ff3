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
        """Forecast 1 to 5,000 games with the same options, for who scores whole seasons. Nothing is recorded.

        Every array may be one of Arrow or numpy, or any iterable.

        Args:
            patterns: the pattern of each game, which an array of two dimensions pads with NaN; or with `minutes` the
                differentials of all games, one game after another. In points, as in `predict`.
            minutes: number of minutes of each game's pattern; None if patterns are those of each game.
            timeout: deadline of this call, in seconds; None for the client's.
            options: `pregame_margins`, `horizon`, `alpha`, `quantile_levels`, `model_version`; see `ColumnsOptions`.
        """
        request = columns_request(patterns, minutes, **options)
        response = self._unary("PredictColumns", lambda stubs: stubs.prediction.PredictColumns, request, timeout)
        return columns_of(response, request.quantile_levels)
