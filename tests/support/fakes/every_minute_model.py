"""A hand-written model that supports every minute, both horizons, teams, margins and quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.support.fakes.forecasters import PersistenceForecaster, explanation
from typing_extensions import override

from dejavu_models.errors import AlphaTooSmall, QuantileTooExtreme
from dejavu_models.forecast_query import ForecastQuery
from dejavu_models.types import Forecast, Horizon, HorizonSupport, ModelInfo, Quantile

HOME_EDGE = 2.5
"""Expected margin of any two teams, in points."""


class EveryMinuteForecaster(PersistenceForecaster):
    """Repeats the last differential, plus a tenth of the expected margin; quantiles spread evenly over ± 10 points."""

    @property
    @override
    def info(self) -> ModelInfo:
        horizons = tuple(HorizonSupport(horizon, 1, horizon.last_slot) for horizon in Horizon)
        return replace(super().info, horizons=horizons)

    @override
    def check(self, query: ForecastQuery) -> None:
        smallest = self.info.smallest_alpha
        if query.alpha < smallest:
            raise AlphaTooSmall(f"{query.alpha}", f"at least {smallest}")
        for index, level in enumerate(query.quantile_levels):
            if min(level, 1 - level) < smallest / 2:
                raise QuantileTooExtreme(f"{level}", f"at least {smallest / 2}", field=f"quantile_levels[{index}]")

    @override
    def forecast_many(self, queries: Sequence[ForecastQuery]) -> list[Forecast]:
        return [completed(*each) for each in zip(queries, super().forecast_many(queries), strict=True)]


def completed(query: ForecastQuery, forecast: Forecast) -> Forecast:
    """Add everything that a query can request to a plain forecast."""
    margin = HOME_EDGE if query.home_team and query.away_team else None
    margin = margin if query.pregame_margin is None else query.pregame_margin
    point = forecast.point + (margin or 0.0) / 10
    return replace(
        forecast,
        point=point,
        explanation=explanation(point, query.pattern.last, (0.5,) * query.pattern.minutes) if query.explain else None,
        quantiles=tuple(Quantile(level, point + 20 * level - 10) for level in query.quantile_levels),
        expected_margin=margin,
    )
