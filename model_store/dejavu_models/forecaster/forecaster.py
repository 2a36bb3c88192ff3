"""Combines the models of a bundle into forecasts, for one game, a batch, or many games as columns."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, Context
from functools import partial
from typing import Any, Final

import numpy as np

from dejavu_feed.live_inputs import LiveInputs
from dejavu_feed.moment import TABLES_FROM, Moment
from dejavu_feed.teams import OPENING_DEVIATION
from dejavu_models.betting import MarketKind, is_own_market
from dejavu_models.components.compiled import UNKNOWN, CompiledGame, CompiledModels
from dejavu_models.components.component import checked
from dejavu_models.components.ensemble import POOLED, Ensemble
from dejavu_models.components.features import LIVE_COLUMNS, Rows
from dejavu_models.components.linear import MARGIN_SLOPE
from dejavu_models.errors import AlphaTooSmall, QuantileTooExtreme, UnsupportedMoment, UnsupportedTotals
from dejavu_models.forecast_query import DEFAULT_ALPHA, ColumnsForecast, ColumnsQuery, ForecastQuery, ScorePattern
from dejavu_models.forecaster.active_state import ActiveState, expected_margin
from dejavu_models.forecaster.explanation import ForecastPart, explanation
from dejavu_models.live_ratings import INITIAL, OnlineState, RatedSchedule
from dejavu_models.manifest import Manifest, model_info
from dejavu_models.moments import MomentModel
from dejavu_models.native import native
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.ratings import MAX_RATINGS_DAYS, RatingFilter, are_known
from dejavu_models.totals import Totals, forecast_total
from dejavu_models.types import (
    HORIZONS,
    PLAUSIBLE_GAP,
    AdaptationMode,
    ComponentPrediction,
    ExpectedMarginTerms,
    Forecast,
    MarginSource,
    ModelInfo,
    SimilarGame,
    TotalForecast,
    WarningReason,
)
from dejavu_models.uncertainty.issued import IssuedDistribution, adapted_probability, adapted_scores
from dejavu_models.uncertainty.lattice.calibration import (
    SMALLEST_ALPHA,
    LatticeCalibration,
    LatticeGame,
    Situation,
    grid,
)
from dejavu_models.uncertainty.lattice.distribution import EDGES
from dejavu_models.uncertainty.lattice.margin_model import Base


def compiled_columns(
    models: CompiledModels, calibration: LatticeCalibration, state: ActiveState, query: ColumnsQuery, version: str
) -> ColumnsForecast:
    """Forecast games in one pass for each minute at which patterns end; the numbers equal those of each game alone.

    Args:
        models: the ensemble.
        calibration: the distributions around them.
        state: online state.
        query: the games and their options.
        version: version of the model.
    """
    offsets, margins, levels = query.offsets, query.margins, query.quantile_levels
    leads = query.patterns[offsets[1:] - 1]
    centers, opinions = models.columns(query.patterns, offsets, margins, HORIZONS.index(query.horizon), line=True)
    points, home, known = np.empty(len(query)), np.empty(len(query)), ~np.isnan(margins)
    given = np.where(known, margins, 0.0)
    values = np.empty((len(query), 2 + len(levels)))
    # In plain Python: grouping with NumPy takes longer than a forecast.
    groups: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)
    for row, group in enumerate(zip(query.minutes.tolist(), known.tolist(), strict=True)):
        groups[group].append(row)
    for (minute, is_known), of_group in groups.items():
        factor = state.factor(query.horizon, minute)
        at = grid(*adapted_scores(factor, query.alpha, levels))
        situation = Situation(query.horizon, minute, MarginSource.LINE if is_known else MarginSource.UNKNOWN)
        rows = np.array(of_group)
        _, tables = calibration.tables(situation)
        made = tables.columns(centers[rows], leads[rows], given[rows], at, opinions, rows)
        points[rows], home[rows], values[rows] = made
        if factor != 1.0:
            home[rows] = [adapted_probability(factor, each) for each in home[rows].tolist()]
    # Widen the intervals to the whole numbers around the points; see `distribution.around_point`.
    np.minimum(values[:, 0], np.floor(points), out=values[:, 0])
    np.maximum(values[:, 1], np.ceil(points), out=values[:, 1])
    values += 0.0  # rounding up may give -0
    return ColumnsForecast(version, state.sequence, points, values[:, 0], values[:, 1], home, values[:, 2:])


def columns_of(forecasts: Sequence[Forecast], sequence: int, version: str) -> ColumnsForecast:
    """Return forecasts made one by one as columns; `sequence` is their `calibration_sequence`."""
    intervals = [each.interval for each in forecasts]
    return ColumnsForecast(
        model_version=version,
        calibration_sequence=sequence,
        points=np.array([each.point for each in forecasts]),
        lower=np.array([each.lower for each in intervals]),
        upper=np.array([each.upper for each in intervals]),
        home_lead_probabilities=np.array([each.home_lead_probability for each in forecasts]),
        quantiles=np.array([[quantile.value for quantile in each.quantiles] for each in forecasts]),
    )


def predicted(
    models: Ensemble,
    situation: Situation,
    game: CompiledGame,
    margin: float | None,
    base_of: Callable[[], Base],
    *,
    every: bool,
) -> tuple[tuple[ComponentPrediction, ...], Any]:
    """Ask the components for one game. One at a time: no game's numbers can depend on another one's.

    Args:
        models: the ensemble.
        situation: horizon, minute, and source of the expected margin.
        game: the game in the compiled models.
        margin: expected final differential before tip-off, in points; None if unknown.
        base_of: returns what the linear models predict for it.
        every: whether to ask those without a weight too, for an explanation.

    Returns:
        The predictions with their weights, and their part of the pool, an `Others` of the extension; None if they have
        no weight.

    Raises:
        ValueError: if a component's answer is no prediction; the message names it.
    """
    horizon, minute, source = situation
    weights = models.weights.of(source, HORIZONS.index(horizon), minute)
    of_others = (weights / weights.sum())[len(POOLED) :].tolist()
    if not (every or any(of_others)):
        return (), None
    base, given = base_of(), np.array([math.nan if margin is None else margin])
    rows = Rows(np.array([game.pattern], dtype=np.float64), given, np.array([game.inputs]))
    predictions, point, below = list[ComponentPrediction](), 0.0, np.zeros(len(EDGES))
    for component, weight in zip(models.others, of_others, strict=True):
        if weight or every:
            made = checked(component, rows, base)
            predictions.append(ComponentPrediction(component.name, float(made.points[0]), weight))
            point += weight * predictions[-1].prediction
            below += weight * made.below[0]
    whole = sum(of_others)
    return tuple(predictions), native.Others(whole, point, below.tolist()) if whole else None


_LEAST_SPREAD: Final = 1.0
"""Lower bound of a spread, in points: in the last minutes, most of a distribution may lie on one whole number."""


class Forecaster:
    """Answers queries from one bundle and the current online state; thread-safe.

    Args:
        manifest: manifest of the bundle.
        models: the ensemble.
        calibration: the tables of its distributions; live inputs may shift the predictions.
        ratings: state of the rating filter, for the season that the bundle serves.
        totals: tables and ratings of total points; None if the bundle has none.
        players: ratings of players; None if the bundle has none.
        moments: tables of moments; None if the bundle has none.

    Attributes:
        max_ratings_days: greatest age of ratings that are used, see `ratings.are_usable`. Set it before the first
            query.
        totals: tables and ratings of total points; None if the bundle has none.
        player_ratings: ratings of players; None if the bundle has none.
    """

    max_ratings_days: int = MAX_RATINGS_DAYS
    totals: Totals | None = None
    player_ratings: PlayerRatings | None = None

    def __init__(
        self,
        manifest: Manifest,
        models: Ensemble,
        calibration: LatticeCalibration,
        ratings: RatingFilter,
        totals: Totals | None = None,
        players: PlayerRatings | None = None,
        moments: MomentModel | None = None,
    ) -> None:
        self.manifest = manifest
        self.models = models
        self._compiled = CompiledModels(models)
        self.calibration = calibration
        self.rating_filter = ratings
        self.totals = totals
        self.player_ratings = players
        self.moments = moments
        self._info = model_info(manifest, models, calibration, self._half_width())
        self._warnings = () if manifest.verdict.fit else (WarningReason.MODEL_UNFIT,)
        self._active = ActiveState(INITIAL, self.bundled_ratings)

    def _half_width(self) -> float:
        """Return half the width of the 95 % interval of the half, for a level game of even teams at minute 18."""
        query = ForecastQuery(ScorePattern((0.0,) * 18), pregame_margin=0.0)
        game = self._compiled.predict(query.differentials, query.pregame_margin)
        interval = self._at_minute(query, MarginSource.KNOWN, game, 0.0, 0.0).distribution.interval(DEFAULT_ALPHA)
        return (interval.upper - interval.lower) / 2

    @property
    def info(self) -> ModelInfo:
        """Description and capabilities of the model, with the ratings of its online state."""
        state = self._active
        return replace(
            self._info,
            ratings_date=state.ratings_date,
            finals_since=state.finals,
            unseen_teams=state.unseen,
            max_ratings_days=self.max_ratings_days,
        )

    @property
    def version(self) -> str:
        """Version of the bundle."""
        return self.manifest.version

    @property
    def bundled_ratings(self) -> RatedSchedule:
        """The ratings of the bundle, including those of totals and players, before the first result."""
        of_totals = None if self.totals is None else self.totals.ratings
        since = None if self.player_ratings is None else self.manifest.calibrate.last_date
        return RatedSchedule.start(self.rating_filter, of_totals, self.player_ratings, since)

    def update(self, state: OnlineState) -> None:
        """Replace the online state; a batch in progress finishes with the state it started with."""
        self._active = ActiveState(state, self.bundled_ratings)

    @property
    def active_state(self) -> ActiveState:
        """The current online state, for `forecast_columns`."""
        return self._active

    def check(self, query: ForecastQuery) -> None:
        """Check that this model supports a query.

        Raises:
            UnsupportedTotals, UnsupportedMoment, AlphaTooSmall, QuantileTooExtreme: if it does not.
        """
        if self.totals is None and (field := query.total_market_field) is not None:
            expected = "a model that forecasts them, see totals of ListModels"
            raise UnsupportedTotals("a market of total points", expected, field=field)
        moment, horizon = query.moment, query.horizon
        if moment is not None and self.moments is None and moment.slots + 1 >= horizon.minutes:
            expected = (
                f"one before the last minute: model {self.version} has no tables of moments, see inputs of ListModels"
            )
            raise UnsupportedMoment(f"{moment.elapsed:g} s after tip-off", expected)
        games = self.calibration.model(MarginSource.UNKNOWN).games
        limit = f"the outermost quantiles that its {games} calibration games support"
        if query.alpha < SMALLEST_ALPHA:
            raise AlphaTooSmall(f"{query.alpha}", f"at least {_rounded_up(SMALLEST_ALPHA)}, {limit}")
        for index, level in enumerate(query.quantile_levels):
            if not SMALLEST_ALPHA / 2 <= level <= 1 - SMALLEST_ALPHA / 2:
                least = _rounded_up(SMALLEST_ALPHA / 2)
                raise QuantileTooExtreme(
                    f"{level}", f"{least} to {1 - least:g}, {limit}", field=f"quantile_levels[{index}]"
                )

    def _at_minute(
        self, query: ForecastQuery, source: MarginSource, game: CompiledGame, lead: float, margin: float | None
    ) -> ForecastPart:
        """Return the distribution of a query by the tables of the minute of a game.

        Args:
            query: the query.
            source: source of the expected margin.
            game: predictions for the game.
            lead: differential, in points.
            margin: expected margin, in points; None if unknown.
        """
        situation, horizon = Situation(query.horizon, game.minute, source), HORIZONS.index(query.horizon)
        live = None
        if game.inputs is not UNKNOWN:
            live = self.calibration.live(situation, dict(zip(LIVE_COLUMNS, game.inputs, strict=True)))
        shift = self.calibration.shift(situation, live)
        center, others, shares = game.point(horizon) + shift, tuple[ComponentPrediction, ...](), None
        if self.models.others:
            base_of = partial(self.calibration.base, situation, center, lead, margin, live)
            others, shares = predicted(self.models, situation, game, margin, base_of, every=query.explain)
        distribution = self.calibration.game(situation, center, lead, margin, live, game.opinion(horizon), shares)
        return ForecastPart(distribution, game, shift, others)

    def _at_moment(
        self, query: ForecastQuery, moment: Moment, source: MarginSource, game: CompiledGame, margin: float | None
    ) -> list[ForecastPart]:
        """Return the distributions of a query at a moment, which are mixed.

        They are those that the minutes before and after give for the lead at the moment, the nearer one with the
        greater share, or that of the tables of moments; see `TABLES_FROM`.
        """
        horizon, lead, minute = query.horizon, float(moment.differential), moment.slots
        later = None
        if self.moments is not None and moment.is_late(horizon):
            ball = query.live.possession if moment.seconds_left else None  # a jump ball decides
            later = ForecastPart(
                self.moments.game(
                    horizon,
                    moment.seconds_to(horizon),
                    lead,
                    0 if ball is None else int(ball.side),
                    margin or 0.0,
                    in_air=ball is not None and ball.shot_in_air,
                    free_throws=moment.free_throws,
                ),
                game,
                tabulated=True,
            )
            if minute >= TABLES_FROM[horizon]:
                return [later]
        line = query.pregame_margin is not None
        before = self._compiled.predict((*query.pattern.differentials[:-1], lead), margin, line=line, live=query.live)
        made = self._at_minute(query, source, before, lead, margin)
        share = moment.elapsed / 60 - minute
        if not share:
            return [made]
        if later is None:
            later = self._at_minute(query, source, game, lead, margin)
        return [made._replace(share=1 - share), later._replace(share=share)]

    def forecast(self, query: ForecastQuery) -> Forecast:
        """Check and answer one query.

        Raises:
            UnsupportedTotals, UnsupportedMoment, AlphaTooSmall, QuantileTooExtreme: if the model does not support it.
        """
        self.check(query)
        return self.forecast_many([query])[0]

    def forecast_many(self, queries: Sequence[ForecastQuery]) -> list[Forecast]:
        """Answer queries accepted by `check`, in order, in one batch and with one online state.

        Queries with the same pattern and margin share one computation, for instance the two horizons of a game. Each
        answer is the same as if the query were alone.
        """
        return self._forecast_many(queries, self._active)

    def _forecast_many(self, queries: Sequence[ForecastQuery], state: ActiveState) -> list[Forecast]:
        terms = [state.margin_terms(query, self.max_ratings_days) for query in queries]
        margins = [expected_margin(query, each) for query, each in zip(queries, terms, strict=True)]
        if len(queries) == 1:
            [query], [margin] = queries, margins
            line = query.pregame_margin is not None
            game = self._compiled.predict(query.differentials, margin, line=line, live=query.live)
            return [self._forecast(query, margin, terms[0], game, state)]
        rows: dict[tuple[tuple[float, ...], float | None, bool, LiveInputs], int] = {}
        row_of = [
            rows.setdefault((query.differentials, margin, query.pregame_margin is not None, query.live), len(rows))
            for query, margin in zip(queries, margins, strict=True)
        ]
        games = self._compiled.predict_many(list(rows))
        return [
            self._forecast(query, margin, each, games[row], state)
            for query, margin, each, row in zip(queries, margins, terms, row_of, strict=True)
        ]

    def check_columns(self, query: ColumnsQuery) -> None:
        """Check that this model supports a request of columns.

        Raises:
            AlphaTooSmall, QuantileTooExtreme: if it does not.
        """
        self.check(query.query_of((0.0,)))

    def forecast_columns(self, query: ColumnsQuery, state: ActiveState | None = None) -> ColumnsForecast:
        """Answer a request accepted by `check_columns` in one pass; the answers equal those of `forecast_many`.

        Args:
            query: the request.
            state: the online state, which must be the same for all parts of a request; by default the current one.
        """
        state = state or self._active
        if self.models.others:
            return columns_of(self._forecast_many(query.queries(), state), state.sequence, self.version)
        return compiled_columns(self._compiled, self.calibration, state, query, self.version)

    def course(self, forecast: Forecast, game: SimilarGame) -> tuple[float, ...]:
        """Return the course of a similar game of a forecast; see `Dejavu.course`. Empty if these models lack it."""
        dejavu = self.models.dejavu
        return () if dejavu is None else tuple(map(float, dejavu.course(game, forecast.horizon)))

    def _forecast(
        self,
        query: ForecastQuery,
        margin: float | None,
        terms: ExpectedMarginTerms | None,
        game: CompiledGame,
        state: ActiveState,
    ) -> Forecast:
        """Return the forecast of a query around the point that the models give for its game.

        Args:
            query: the query.
            margin: its expected margin, in points; None if unknown.
            terms: terms of the margin by the ratings of its teams; None without teams or usable ratings.
            game: predictions of the models.
            state: the online state.
        """
        minute = query.pattern.minutes
        source = state.margin_source(query, self.max_ratings_days)
        if query.moment is None:
            parts = [self._at_minute(query, source, game, query.pattern.last, margin)]
        else:
            parts = self._at_moment(query, query.moment, source, game, margin)
        distribution = parts[0].distribution
        for part in parts[1:]:
            distribution = distribution.mixed(part.distribution, part.share)
        adapter = state.adapter(query.horizon, minute)
        rated = state.asks_for_ratings(query)
        widening = self._widening(distribution, query, state.excess_variance(query, source)) if rated else 1.0
        issued = IssuedDistribution(distribution, state.mode, adapter, widening)
        static = issued.static(query.alpha)
        adaptation = issued.adaptation(query.alpha, static)
        warnings = state.warnings(query, self.max_ratings_days) if rated else ()
        teams_known = state.teams_known(query)
        well_known = not teams_known or are_known(teams_known)
        if rated and margin is not None and any(each.deviation > OPENING_DEVIATION for each in teams_known):
            warnings += (WarningReason.TEAM_LITTLE_KNOWN,)
        given, rated_margin = query.pregame_margin, None
        if given is not None and terms is not None:
            # Without line-ups: the same caller gives margin and line-ups, and could make any margin plausible.
            rated_margin, terms = terms.of_teams, None
            if abs(given - rated_margin) > PLAUSIBLE_GAP:
                warnings += (WarningReason.IMPLAUSIBLE_MARGIN,)
        end = None
        if rated:
            end = state.ratings_date if WarningReason.RATINGS_AHEAD in warnings else state.end(query)
        market, answer = query.market(MarketKind.LEAD), None
        if market is not None:
            own = is_own_market(market, query.pregame_margin, query.horizon)
            # The price of a late moment knows of fouls and time-outs, which a request cannot say.
            late = query.moment is not None and query.moment.is_late(query.horizon)
            unrated = margin is None or (rated and not well_known) or own or late
            answer = issued.evaluate(market, query.horizon, unrated=unrated)
        staked = answer.chosen.stake_fraction if answer and answer.chosen else 0.0
        explained = None
        if query.explain:
            of_minute = self._at_minute(query, source, game, game.lead, margin) if parts[-1].tabulated else parts[-1]
            explained = explanation(self.models, query, terms, parts, of_minute)
        return Forecast(
            horizon=query.horizon,
            elapsed_minutes=minute,
            alpha=query.alpha,
            point=distribution.point,
            interval=adaptation.adapted if adaptation and adaptation.mode is AdaptationMode.ON else static,
            home_lead_probability=issued.home_lead_probability(),
            model_version=self.version,
            explanation=explained,
            quantiles=issued.quantiles(query.quantile_levels),
            expected_margin=margin,
            calibration_sequence=state.sequence,
            adaptation=adaptation,
            distribution=issued.recorded() if query.record else (),
            static_scores=issued.static_scores if query.record else (),
            market=answer,
            ratings_date=end,
            finals_since=state.finals if rated else 0,
            warnings=self._warnings + warnings,
            outdated_teams=state.ending(query, end) if end and WarningReason.RATINGS_OUTDATED in warnings else (),
            expected_margin_terms=terms,
            total=self._total(query, state, well_known=well_known, lead_staked=staked),
            teams_known=teams_known,
            widened_by=widening - 1.0,
            rated_margin=rated_margin,
            moment=query.moment,
        )

    def _widening(self, distribution: LatticeGame, query: ForecastQuery, variance: float) -> float:
        """Return the factor by which a distribution is wider if its expected margin has additional variance.

        The margin enters the forecast with the slope of the linear models, so its variance enters with the squared
        slope. The correction, which changes the slope by up to a quarter late in a game, is left out.
        """
        if not variance:
            return 1.0
        slope = self.models.linear.coefficients[HORIZONS.index(query.horizon), query.pattern.minutes]
        variance *= float(slope[MarginSource.KNOWN, MARGIN_SLOPE]) ** 2
        lower, upper = distribution.values_at((-1.0, 1.0))
        return math.sqrt(1.0 + variance / max((upper - lower) / 2, _LEAST_SPREAD) ** 2)

    def _total(
        self, query: ForecastQuery, state: ActiveState, *, well_known: bool, lead_staked: float
    ) -> TotalForecast | None:
        if self.totals is None or query.live.total_points is None or query.moment is not None:
            return None
        source, expected = state.expected_total(query, self.max_ratings_days)
        tables = self.totals.tables(source, query.horizon, query.pattern.minutes)
        return forecast_total(tables, query, expected, well_known=well_known, lead_staked=lead_staked)


def _rounded_up(least: float) -> float:
    """Round a lower bound up to three significant digits, so that the value shown is accepted."""
    return float(Context(prec=3, rounding=ROUND_CEILING).create_decimal(repr(least)))
