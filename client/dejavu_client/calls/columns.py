"""Column calls of the synchronous client, generated from aio_columns.py by `make gen`: edit that file instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dejavu.v1.forecast_pb2 import HORIZON_UNSPECIFIED, Horizon
from dejavu_client.columns import ForecastColumns, columns_of, columns_request
from dejavu_client.transport.caller import Caller


class ColumnCalls(Caller):
    """The methods of DejavuClient for forecasts of many games as columns."""

    def predict_columns(
        self,
        patterns: Any,
        minutes: Any = None,
        *,
        pregame_margins: Any = None,
        horizon: Horizon.ValueType = HORIZON_UNSPECIFIED,
        alpha: float | None = None,
        quantile_levels: Sequence[float] = (),
        model_version: str = "",
        timeout: float | None = None,
    ) -> ForecastColumns:
        """Forecasts 1 to 5,000 games with the same options, for who scores whole seasons. Nothing is recorded.

        Every array may be one of Arrow or numpy, or any iterable.

        Args:
            patterns: the pattern of each game, which an array of two dimensions pads with NaN; or with `minutes` the
                differentials of all games, one game after another. In points, as in `predict`.
            minutes: number of minutes of each game's pattern; None if patterns are those of each game.
            pregame_margins: expected final differential of each game, in points; NaN or null where unknown. None: all
                are unknown.
            horizon: `HALFTIME`, which is the default, or `FINAL`.
            alpha: miscoverage rate of the intervals, in (0, 1); None for the server's default, 0.05.
            quantile_levels: levels of the quantiles to return, in (0, 1); at most 99.
            model_version: model version to use; empty for the active model.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = columns_request(
            patterns,
            minutes,
            pregame_margins=pregame_margins,
            horizon=horizon,
            alpha=alpha,
            quantile_levels=quantile_levels,
            model_version=model_version,
        )
        response = self._unary("PredictColumns", lambda stubs: stubs.prediction.PredictColumns, request, timeout)
        return columns_of(response, quantile_levels)
