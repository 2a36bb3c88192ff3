"""Requests made of plain Python values: the same for both clients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, Horizon
from dejavu.v1.market_pb2 import Market, Odds
from dejavu.v1.prediction_service_pb2 import PredictRequest

HALFTIME = HORIZON_HALFTIME
FINAL = HORIZON_FINAL

_LEAST_AMERICAN = 100
"""American odds are whole numbers of at least this size; decimal ones that large are written with a fraction."""


class PredictOptions(TypedDict, total=False):
    """What can be said beside a pattern; `predict_request` tells what each is."""

    game_id: str
    alpha: float | None
    horizon: Horizon.ValueType
    home_team: str
    away_team: str
    pregame_margin: float | None
    model_version: str
    explain: bool
    quantile_levels: Sequence[float]


def predict_request(
    pattern: Sequence[float],
    *,
    game_id: str = "",
    alpha: float | None = None,
    horizon: Horizon.ValueType = HALFTIME,
    home_team: str = "",
    away_team: str = "",
    pregame_margin: float | None = None,
    model_version: str = "",
    explain: bool = False,
    quantile_levels: Sequence[float] = (),
    market: Market | None = None,
) -> PredictRequest:
    """A request for one forecast; what is wrong with its values, the server says.

    Args:
        pattern: score differentials (home − away, in points) at the end of each minute, from the first on; 1 to 47, for
            the half at most 23.
        game_id: the NBA's id, ten digits; empty for a what-if, which is not recorded.
        alpha: miscoverage rate of the interval, in (0, 1); None for the server's default, 0.05.
        horizon: `HALFTIME` or `FINAL`.
        home_team: NBA code of the home team, or a common alias; with both teams their strength counts.
        away_team: the same of the away team.
        pregame_margin: expected final differential before the game, in points; in place of the teams' ratings.
        model_version: the model to ask; empty for the active one.
        explain: whether the forecast shall say what it rests on.
        quantile_levels: levels in (0, 1), at most 99, of quantiles that the forecast shall have.
        market: odds that the answer shall weigh, as `market` makes them.

    Raises:
        TypeError: if a value has not the type of its field.
    """
    return PredictRequest(
        game_id=game_id,
        pattern=pattern,
        alpha=alpha,
        return_explanation=explain,
        horizon=horizon,
        home_team=home_team,
        away_team=away_team,
        pregame_margin=pregame_margin,
        model_version=model_version,
        quantile_levels=quantile_levels,
        market=market,
    )


def market(
    line: float,
    home_odds: float,
    away_odds: float,
    *,
    bankroll: float | None = None,
    confidence_threshold: float | None = None,
) -> Market:
    """Odds on who is ahead by more than a line at the horizon of the forecast.

    Args:
        line: the differential (home − away, in points) at which both sides are level: a home favourite's spread of
            −5.5 is 5.5.
        home_odds: the price of the home side: American if it is a whole number ≥ 100 or ≤ −100 (−110), else decimal
            (1.91).
        away_odds: the price of the away side, likewise.
        bankroll: what can be staked, in a currency of yours; None: 1, so that stakes are shares of it.
        confidence_threshold: the least win probability at which a bet is worth considering; None for the server's.
    """
    return Market(
        line=line,
        home=_odds(home_odds),
        away=_odds(away_odds),
        bankroll=bankroll,
        confidence_threshold=confidence_threshold,
    )


def _odds(price: float) -> Odds:
    if math.isfinite(price) and abs(price) >= _LEAST_AMERICAN and price == int(price):
        return Odds(american=int(price))
    return Odds(decimal=price)
