"""Forecast of the total points of one game."""

from __future__ import annotations

from dejavu_models.betting import DEFAULT_POLICY, MarketKind, StakingPolicy, evaluate_market, is_own_market
from dejavu_models.forecast_query import ForecastQuery
from dejavu_models.totals.game import TotalTables
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon, Quantile, TotalForecast
from dejavu_models.uncertainty.lattice.distribution import around_point


def forecast_total(
    tables: TotalTables,
    query: ForecastQuery,
    points: int,
    expected: float | None,
    policy: StakingPolicy = DEFAULT_POLICY,
    *,
    lead_staked: float = 0.0,
    well_known: bool = True,
) -> TotalForecast:
    """Forecast the points of both teams at the horizon of a query.

    The interval is closed and its ends are whole numbers; see `around_point`.

    Args:
        tables: tables of the query's horizon and minute, for the source of the expected total.
        query: the query; its alpha and quantile levels apply to the total too.
        points: points of both teams at the end of its pattern.
        expected: expected final total before tip-off, in points; None if unknown.
        policy: staking policy for its market of total points.
        lead_staked: share of the bankroll staked on the market of the lead in the same query.
        well_known: whether the ratings, if they are used, know the teams well enough for a stake.
    """
    game = tables.game(points, query.pattern.last, 0.0 if expected is None else expected)
    lower, upper = game.quantiles((query.alpha / 2, 1 - query.alpha / 2))
    levels = query.quantile_levels
    market, answer = query.market(MarketKind.TOTAL), None
    if market is not None:
        # The bookmaker knows the teams; the model may not.
        given = query.live.pregame_total
        own = is_own_market(market, given, final=query.horizon is Horizon.FINAL)
        unrated = expected is None or (given is None and not well_known) or own
        answer = evaluate_market(
            market,
            lambda total: 1 - game.cumulative(total - 1),
            policy,
            unrated=unrated,
            lead_staked=lead_staked,
        )
    return TotalForecast(
        point=game.point,
        interval=around_point(game.point, lower, upper),
        quantiles=tuple(Quantile(*each) for each in zip(levels, game.quantiles(levels), strict=True)) if levels else (),
        expected_total=expected,
        distribution=tuple(game.quantiles(DISTRIBUTION_LEVELS)) if query.record else (),
        market=answer,
    )
