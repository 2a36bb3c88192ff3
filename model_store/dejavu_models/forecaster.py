"""Combines the models of a bundle into forecasts, one game or many in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np

from dejavu_models import betting
from dejavu_models.arrays import Floats
from dejavu_models.betting import Market, MarketAnswer, StakingPolicy
from dejavu_models.errors import AlphaTooSmall, QuantileTooExtreme, UnsupportedHorizon, UnsupportedSlots
from dejavu_models.explanation import explanation
from dejavu_models.manifest import Manifest
from dejavu_models.online_state import INITIAL, IntervalAdapter, OnlineState
from dejavu_models.point.ensemble import PointEnsemble, Predictions
from dejavu_models.ratings import RatingFilter, Ratings
from dejavu_models.types import (
    HORIZONS,
    Adaptation,
    AdaptationMode,
    Forecast,
    ForecastQuery,
    Horizon,
    HorizonSupport,
    Interval,
    MarginSource,
    Metric,
    ModelInfo,
    Quantile,
)
from dejavu_models.uncertainty.adaptive import quarter_of, score_of
from dejavu_models.uncertainty.calibration import Calibration, Situation
from dejavu_models.uncertainty.conformal import PredictiveDistribution

_NORMAL: Final = NormalDist()


class Forecaster:
    """Answers queries from one bundle, and from what outcomes have taught since; safe to call from several threads.

    Args:
        manifest: what the bundle says of itself.
        models: what makes its point forecasts.
        calibration: what makes distributions of them.
        ratings: the state of the teams' strengths, for the season that the bundle serves.

    Attributes:
        policy: how much is staked where a query names a market. To be set before the first query.
    """

    policy: StakingPolicy = betting.DEFAULT_POLICY

    def __init__(
        self, manifest: Manifest, models: PointEnsemble, calibration: Calibration, ratings: RatingFilter
    ) -> None:
        self.manifest = manifest
        self.models = models
        self.calibration = calibration
        self.rating_filter = ratings
        self.ratings: Ratings = ratings.ratings()
        self._info = _info(manifest, calibration)
        self._active = _ActiveState(INITIAL, self.ratings)

    @property
    def info(self) -> ModelInfo:
        """What the model is and can do."""
        return self._info

    @property
    def version(self) -> str:
        """Version of the bundle."""
        return self.manifest.version

    def update(self, lessons: OnlineState) -> None:
        """Answers by these lessons from now on; a pass that has begun ends by those that it began with."""
        self._active = _ActiveState(lessons, self.ratings)

    def expected_margin(self, query: ForecastQuery) -> float | None:
        """The expected final differential before the game, in points: as given, else from ratings, else unknown."""
        return self._active.expected_margin(query)

    def check(self, query: ForecastQuery) -> None:
        """Says whether this model can answer a query.

        Raises:
            UnsupportedHorizon, UnsupportedSlots, AlphaTooSmall, QuantileTooExtreme: if it can't.
        """
        # What is learned before the query is answered changes nothing: RATED and KNOWN share their games and cells.
        distribution = self._distribution(query.horizon, query.pattern.minutes, self._active.margin_source(query))
        smallest = distribution.smallest_alpha
        if query.alpha < smallest:
            raise AlphaTooSmall(f"{query.alpha}", f"at least {smallest}, {_limited_by(distribution)}")
        for index, level in enumerate(query.quantile_levels):
            if not smallest / 2 <= level <= 1 - smallest / 2:
                raise QuantileTooExtreme(
                    f"{level}",
                    f"{smallest / 2} to {1 - smallest / 2}, {_limited_by(distribution)}",
                    field=f"quantile_levels[{index}]",
                )

    def _distribution(self, horizon: Horizon, minute: int, source: MarginSource) -> PredictiveDistribution:
        distribution = self.calibration.distributions.get(Situation(horizon, minute, source))
        if distribution is not None:
            return distribution
        known = sorted({each.minute for each in self.calibration.distributions if each.horizon is horizon})
        if known:
            raise UnsupportedSlots(f"{minute} slots", _ranges(known))
        horizons = sorted({each.horizon.value for each in self.calibration.distributions})
        raise UnsupportedHorizon(horizon.value, f"one that this model forecasts: {', '.join(horizons)}")

    def forecast(self, query: ForecastQuery) -> Forecast:
        """Checks and answers one query.

        Raises:
            UnsupportedHorizon, UnsupportedSlots, AlphaTooSmall, QuantileTooExtreme: if it can't be answered.
        """
        self.check(query)
        return self.forecast_many([query])[0]

    def forecast_many(self, queries: Sequence[ForecastQuery]) -> list[Forecast]:
        """Answers queries that `check` accepted, in order, in one pass over the models, by one set of lessons.

        A game asked about twice, for both horizons, is computed once. An answer differs from the one that the query
        would get alone by less than 1e-4 points, from the order in which products are summed in the LSTM.
        """
        if not queries:
            return []
        taught = self._active
        margins = [taught.expected_margin(query) for query in queries]
        rows: dict[tuple[tuple[float, ...], float | None], int] = {}
        row_of = [
            rows.setdefault((query.pattern.differentials, margin), len(rows))
            for query, margin in zip(queries, margins, strict=True)
        ]
        games = _Games(list(rows), self.models)
        return [
            self._forecast(query, margin, games, row, taught)
            for query, margin, row in zip(queries, margins, row_of, strict=True)
        ]

    def _forecast(
        self, query: ForecastQuery, margin: float | None, games: _Games, row: int, taught: _ActiveState
    ) -> Forecast:
        horizon = HORIZONS.index(query.horizon)
        minute, lead = query.pattern.minutes, query.pattern.last
        distribution = self._distribution(query.horizon, minute, taught.margin_source(query))
        predictions, place = games.predictions(row)
        point = float(predictions.ensemble[place, horizon])
        following = taught.following.get((query.horizon, quarter_of(minute)))
        issued = _IssuedDistribution(distribution, point, lead, following if taught.mode is AdaptationMode.ON else None)
        static = distribution.interval(point, lead, query.alpha)
        adaptation = None
        if taught.mode is not None:
            adaptation = _adaptation(taught.mode, distribution, point, lead, query.alpha, static, following)
        return Forecast(
            horizon=query.horizon,
            elapsed_minutes=minute,
            alpha=query.alpha,
            point=point,
            interval=adaptation.adapted if adaptation and adaptation.mode is AdaptationMode.ON else static,
            home_lead_probability=issued.home_lead_probability(),
            model_version=self.version,
            explanation=(
                explanation(self.models, distribution, predictions, place, horizon, *games.course(row))
                if query.explain
                else None
            ),
            quantiles=issued.quantiles(query.quantile_levels),
            expected_margin=margin,
            calibration_sequence=taught.sequence,
            adaptation=adaptation,
            distribution=issued.recorded() if query.record else (),
            static_scores=issued.static_scores if query.record else (),
            market=issued.weigh(query.market, query.horizon, self.policy) if query.market else None,
        )


class _ActiveState:
    """A set of lessons, as queries are answered by it.

    Args:
        lessons: what was learned.
        ratings: those of the bundle, for want of newer ones.
    """

    def __init__(self, lessons: OnlineState, ratings: Ratings) -> None:
        self.sequence = lessons.sequence
        self.mode = lessons.mode
        self.following: dict[tuple[Horizon, int], IntervalAdapter] = (
            {}
            if lessons.mode is None
            else {place: IntervalAdapter(tracker, lessons.method) for place, tracker in lessons.trackers.items()}
        )
        self._carried = lessons.ratings
        self._ratings = ratings if lessons.ratings is None else lessons.ratings.ratings()

    def expected_margin(self, query: ForecastQuery) -> float | None:
        """See `Forecaster.expected_margin`."""
        if query.pregame_margin is not None:
            return query.pregame_margin
        if query.home_team and query.away_team:
            return self._ratings.expected_margin(query.home_team, query.away_team)
        return None

    def margin_source(self, query: ForecastQuery) -> MarginSource:
        """Where the expected margin of a query comes from."""
        if query.pregame_margin is not None:
            return MarginSource.KNOWN
        if not (query.home_team and query.away_team):
            return MarginSource.UNKNOWN
        carried = self._carried is not None and self._carried.known(query.home_team, query.away_team)
        return MarginSource.KNOWN if carried else MarginSource.RATED


class _IssuedDistribution:
    """The distribution that a forecast is issued with: the model's own, or that and what outcomes have taught of it.

    Args:
        distribution: the model's own.
        point: forecast, in points.
        lead: in points.
        following: what was learned; None if forecasts do not follow it, or nothing was.
    """

    def __init__(
        self, distribution: PredictiveDistribution, point: float, lead: float, following: IntervalAdapter | None
    ) -> None:
        self._distribution = distribution
        self._point = point
        self._lead = lead
        self._map = None if following is None else following.map
        self.static_scores: tuple[float, ...] = () if self._map is None else self._map.distribution
        """See `types.Forecast`."""

    def quantiles(self, levels: Sequence[float]) -> tuple[Quantile, ...]:
        """Its quantiles, in the order of the levels."""
        if self._map is None:
            values = self._distribution.quantiles(self._point, self._lead, levels)
        else:
            scores = [self._map(_NORMAL.inv_cdf(level)) for level in levels]
            values = self._distribution.values_at(self._point, self._lead, scores)
        return tuple(Quantile(level, value) for level, value in zip(levels, values, strict=True))

    def recorded(self) -> tuple[float, ...]:
        """Its quantiles at DISTRIBUTION_LEVELS."""
        return self._distribution.recorded(self._point, self._lead, None if self._map is None else self._map.places)

    def home_lead_probability(self) -> float:
        """P(the home team leads)."""
        return self._adapted(self._distribution.home_lead_probability_of(self._point, self._lead))

    def weigh(self, market: Market, horizon: Horizon, policy: StakingPolicy) -> MarketAnswer:
        """What it says of a market."""

        def at_least(differential: int) -> float:
            # No game ends level: to reach 0 is then to reach 1.
            least = 0.0 if horizon is Horizon.FINAL and differential in (0, 1) else differential - 0.5
            return self._adapted(self._distribution.probability_above(self._point, self._lead, least))

        return betting.evaluate_market(market, at_least, policy)

    def _adapted(self, probability: float) -> float:
        if self._map is None:
            return probability
        return _NORMAL.cdf(self._map.inverse(_NORMAL.inv_cdf(probability)))


def _adaptation(
    mode: AdaptationMode,
    distribution: PredictiveDistribution,
    point: float,
    lead: float,
    alpha: float,
    static: Interval,
    following: IntervalAdapter | None,
) -> Adaptation:
    """What stands beside a forecast of what outcomes have taught; without a settled game both intervals are one."""
    if following is None:
        return Adaptation(mode, adapted=static, static=static)
    adapted = distribution.interval_at(point, lead, following.map(score_of(alpha)))
    rolling, static_rolling = following.rolling(alpha)
    return Adaptation(mode, adapted, static, following.games, rolling, static_rolling)


class _Games:
    """The distinct games of a pass: what the LSTM says of all of them at once, and the rest by minute.

    Args:
        games: differentials and expected margin of each.
        models: what forecasts them.
    """

    def __init__(self, games: Sequence[tuple[tuple[float, ...], float | None]], models: PointEnsemble) -> None:
        minutes = [len(differentials) for differentials, _ in games]
        self._minutes = minutes
        # Shorter ones end with zeros, which the LSTM reads after it has said what counts.
        self._patterns = np.zeros((len(games), max(minutes)))
        self._margins = np.array([math.nan if margin is None else margin for _, margin in games])
        by_minute: dict[int, list[int]] = {}
        for row, (differentials, _) in enumerate(games):
            self._patterns[row, : len(differentials)] = differentials
            by_minute.setdefault(len(differentials), []).append(row)
        self._residuals = models.lstm.residuals(self._patterns, self._margins)
        self._places: dict[int, tuple[Predictions, int]] = {}
        for minute, rows in by_minute.items():
            of_minute = models.predict_from_residuals(
                self._patterns[rows, :minute], self._margins[rows], self._residuals[rows, minute - 1]
            )
            self._places.update((row, (of_minute, place)) for place, row in enumerate(rows))

    def predictions(self, row: int) -> tuple[Predictions, int]:
        """What was forecast at a game's minute, and the game's place in it."""
        return self._places[row]

    def course(self, row: int) -> tuple[Floats, float, Floats]:
        """A game's pattern, its expected margin (NaN where unknown), and the LSTM's residuals, minute by minute."""
        minutes = self._minutes[row]
        return self._patterns[row, :minutes], float(self._margins[row]), self._residuals[row, :minutes]


def _limited_by(distribution: PredictiveDistribution) -> str:
    """What its smallest alpha comes from, for people."""
    return f"from the {min(cell.games for cell in distribution.cells)} calibration games of its smallest cell"


def _ranges(minutes: Sequence[int]) -> str:
    """Minutes for people: 1 to 23; 6, 12 or 18."""
    if len(minutes) > 1 and minutes[-1] - minutes[0] == len(minutes) - 1:
        return f"{minutes[0]} to {minutes[-1]}"
    return " or ".join(filter(None, (", ".join(map(str, minutes[:-1])), str(minutes[-1]))))


def _info(manifest: Manifest, calibration: Calibration) -> ModelInfo:
    minutes: dict[Horizon, list[int]] = {}
    for situation in calibration.distributions:
        minutes.setdefault(situation.horizon, []).append(situation.minute)
    return ModelInfo(
        version=manifest.version,
        horizons=tuple(
            HorizonSupport(horizon, min(minutes[horizon]), max(minutes[horizon]))
            for horizon in HORIZONS
            if horizon in minutes
        ),
        smallest_alpha=calibration.smallest_alpha,
        train_seasons=manifest.train.seasons,
        calibration_seasons=manifest.calibrate.seasons,
        train_games=manifest.train.games,
        calibration_games=manifest.calibrate.games,
        database_entries=sum(manifest.dejavu.entries),
        created_time=manifest.created_time,
        metrics=tuple(Metric(each.name, each.value, each.lower, each.upper) for each in manifest.metrics),
        ratings_date=manifest.ratings.date,
        approved=manifest.verdict.fit,
        verdict_reason=manifest.verdict.reason,
    )
