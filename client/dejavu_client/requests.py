"""Builds forecast requests from plain Python values, for both clients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, Horizon
from dejavu.v1.market_pb2 import Market, Odds
from dejavu.v1.prediction_service_pb2 import PredictRequest

HALFTIME = HORIZON_HALFTIME
FINAL = HORIZON_FINAL

_LEAST_AMERICAN = 100
"""Minimum absolute value of American odds, which are whole numbers. Decimal odds this large need a fraction."""


class PredictOptions(TypedDict, total=False):
    """Options of a forecast request besides the pattern.

    Attributes:
        game_id: NBA game id, ten digits; empty for a what-if, which is not recorded.
        alpha: miscoverage rate of the interval, in (0, 1); None for the server's default, 0.05.
        horizon: `HALFTIME`, which is the default, or `FINAL`.
        home_team: NBA code or common alias of the home team. If both teams are given, the model uses their ratings.
        away_team: NBA code or common alias of the away team.
        pregame_margin: expected final differential before the game, in points; replaces the teams' ratings.
        model_version: model version to use; empty for the active model.
        explain: whether to return an explanation with the forecast.
        quantile_levels: levels of the quantiles to return, in (0, 1); at most 99.
    """

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
    pattern: Sequence[float], *, market: Market | None = None, **options: Unpack[PredictOptions]
) -> PredictRequest:
    """Builds a request for one forecast. The server validates the values.

    Args:
        pattern: score differentials (home − away, in points) at the end of each minute, starting with the first; 1 to
            47 values, at most 23 for halftime.
        market: odds to evaluate, created with `market`.
        options: see `PredictOptions`.

    Raises:
        TypeError: if a value does not have the type of its field, or there is no such option.
    """
    if unknown := options.keys() - PredictOptions.__annotations__.keys():
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    fields: dict[str, Any] = {"horizon": HALFTIME, **options}
    explain = fields.pop("explain", False)
    return PredictRequest(pattern=pattern, market=market, return_explanation=explain, **fields)


def market(
    line: float,
    home_odds: float,
    away_odds: float,
    *,
    bankroll: float | None = None,
    confidence_threshold: float | None = None,
) -> Market:
    """Builds a market: odds on the differential at the forecast's horizon being above or below a line.

    Args:
        line: differential (home − away, in points) at which both sides are level. A home favorite's spread of −5.5 is a
            line of 5.5.
        home_odds: odds of the home side: American if a whole number ≥ 100 or ≤ −100 (−110), otherwise decimal (1.91).
        away_odds: odds of the away side, read by the same rule.
        bankroll: amount available for stakes, in any currency; None for 1, which makes stakes shares of the bankroll.
        confidence_threshold: minimum win probability to consider a bet; None for the server's default.
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
