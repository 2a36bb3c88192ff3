"""Hand-written models with predictable forecasts, without a bundle, and explanations whose terms sum to the point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from statistics import NormalDist
from typing import cast

from typing_extensions import override

from dejavu_models import betting
from dejavu_models.errors import AlphaTooSmall, Unsupported
from dejavu_models.forecast_query import ColumnsForecast, ColumnsQuery, ForecastQuery
from dejavu_models.forecaster.active_state import ActiveState
from dejavu_models.forecaster.forecaster import Forecaster, columns_of
from dejavu_models.live_ratings import INITIAL, OnlineState
from dejavu_models.ratings import RatingFilter, RatingSettings
from dejavu_models.types import (
    DISTRIBUTION_LEVELS,
    Attribution,
    ComponentPrediction,
    Contribution,
    Explanation,
    Forecast,
    Horizon,
    HorizonSupport,
    Interval,
    Metric,
    ModelInfo,
    SimilarGame,
    SimilarSummary,
)

_SPREAD = 10.0 / 1.96


class PersistenceForecaster(Forecaster):
    """Forecasts the last differential, ± 10 points, for 18 slots and the half.

    Attributes:
        groups: sizes of the groups of queries so far.
        before: called with each group before it is forecast; may block or raise.
        state: the latest online state; only calibration_sequence of its forecasts depends on it.
    """

    def __init__(self, version: str = "persistence") -> None:
        self._version = version
        self.groups: list[int] = []
        self.before: Callable[[Sequence[ForecastQuery]], None] = lambda _: None
        self.state = INITIAL
        day = date(2024, 4, 30)
        self.rating_filter = RatingFilter.start(RatingSettings()).predict(2024, day)

    @override
    def update(self, state: OnlineState) -> None:
        self.state = state

    @property
    @override
    def info(self) -> ModelInfo:
        return ModelInfo(
            version=self._version,
            horizons=(HorizonSupport(Horizon.HALFTIME, 18, 18),),
            smallest_alpha=0.01,
            train_seasons=(2015, 2016),
            calibration_seasons=(2017,),
            train_games=200,
            calibration_games=100,
            past_games=200,
            created_time=datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
            metrics=(Metric("ensemble.mae", 4.97, 4.8, 5.1), Metric("ensemble.crps", 3.5)),
            ratings_date=date(2024, 4, 30),
            approved=True,
            verdict_reason="the baseline of all comparisons",
        )

    @property
    @override
    def version(self) -> str:
        return self._version

    @override
    def check(self, query: ForecastQuery) -> None:
        if query.horizon is not Horizon.HALFTIME:
            raise Unsupported(query.horizon.value, "halftime", "horizon")
        if query.pattern.minutes != 18:
            raise Unsupported(f"{query.pattern.minutes} slots", "18", "pattern")
        if query.alpha < self.info.smallest_alpha:
            raise AlphaTooSmall(f"{query.alpha}", f"at least {self.info.smallest_alpha}")

    @override
    def forecast_many(self, queries: Sequence[ForecastQuery]) -> list[Forecast]:
        self.groups.append(len(queries))
        self.before(queries)
        return [self._repeat(query) for query in queries]

    @property
    @override
    def active_state(self) -> ActiveState:
        return cast("ActiveState", self.state)

    @override
    def forecast_columns(self, query: ColumnsQuery, state: ActiveState | None = None) -> ColumnsForecast:
        forecasts = self.forecast_many(query.queries())
        return columns_of(forecasts, (state or self.state).sequence, self.version)

    @override
    def course(self, forecast: Forecast, game: SimilarGame) -> tuple[float, ...]:
        """The game was level at first, and had its differential from the forecast's minute on."""
        before = forecast.elapsed_minutes - 1
        return (0.0,) * before + (float(game.differential),) * (forecast.horizon.last_slot - before)

    def _repeat(self, query: ForecastQuery) -> Forecast:
        last, market = query.pattern.last, query.market(betting.MarketKind.LEAD)
        explained = explanation(last, last, (*(0.0,) * (query.pattern.minutes - 1), last - 0.5), calibration_games=1000)
        return Forecast(
            horizon=query.horizon,
            elapsed_minutes=query.pattern.minutes,
            alpha=query.alpha,
            point=last,
            interval=Interval(last - 10.0, last + 10.0),
            home_lead_probability=0.75 if last > 0 else 0.25,
            model_version=self._version,
            explanation=explained if query.explain else None,
            expected_margin=0.0 if query.pregame_margin is None else query.pregame_margin,
            calibration_sequence=self.state.sequence,
            distribution=_distribution(last) if query.record else (),
            market=None if market is None else betting.evaluate_market(market, _at_least(last)),
        )


def _distribution(centre: float) -> tuple[float, ...]:
    """Return quantiles of the normal distribution whose central 95 % is the interval."""
    normal = NormalDist(centre, _SPREAD)
    return tuple(round(normal.inv_cdf(level), 3) for level in DISTRIBUTION_LEVELS)


def _at_least(centre: float) -> Callable[[int], float]:
    return lambda differential: 1 - NormalDist(centre, _SPREAD).cdf(differential - 0.5)


def explanation(point: float, last: float, minutes: Sequence[float], *, calibration_games: int = 1234) -> Explanation:
    """Return an explanation with all components, and two similar games, of which the second is mirrored.

    Args:
        point: the point forecast.
        last: the last known differential.
        minutes: effect of each minute; what they leave of the linear prediction is that before tip-off.
        calibration_games: number of calibration games.
    """
    linear, dejavu, lstm = point - 0.5, point + 2.0, point - 1.0
    before, lead = linear - sum(minutes), round(last)
    moved = (
        Contribution("ratings", before),
        Contribution("minutes", sum(minutes)),
        Contribution("dejavu", (dejavu - linear) / 4),
        Contribution("lstm", (lstm - linear) / 4),
    )
    return Explanation(
        components=(
            ComponentPrediction("linear", linear, 0.5),
            ComponentPrediction("dejavu", dejavu, 0.25),
            ComponentPrediction("lstm", lstm, 0.25),
        ),
        baseline_prediction=last,
        similar_games=(
            SimilarGame("BKN", "BOS", date(2021, 3, 14), False, 1.5, lead, lead + 2, (50, 50 - lead), (104, 101)),
            SimilarGame("NYK", "MIA", date(2019, 11, 3), True, 2.5, lead, lead - 3),
        ),
        calibration_games=calibration_games,
        attribution=Attribution(before, tuple(minutes), 0.5),
        similar_summary=SimilarSummary(18, 3214, 1204, 855, 349, 0.75),
        contributions=tuple(sorted(moved, key=lambda each: -abs(each.points))),
    )
