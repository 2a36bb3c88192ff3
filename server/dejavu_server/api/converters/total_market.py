"""Converts markets of total points, and their evaluations."""

from __future__ import annotations

from typing import Final

from dejavu.v1 import forecast_pb2, market_pb2
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_models.betting import MarketAnswer, MarketSide, TotalMarket
from dejavu_models.errors import FieldErrors
from dejavu_server.api.converters.fields import message_of
from dejavu_server.api.converters.forecast_warnings import total_market_warnings
from dejavu_server.api.converters.market import EVEN, NOTICE, RISK_LEVEL_VALUES, decimal_odds, staked
from dejavu_server.records import IssuedForecast

_ANY_MARKET: Final = TotalMarket(line=0.5, over_odds=EVEN, under_odds=EVEN)
_SIDES: Final = {MarketSide.HOME: market_pb2.TOTAL_SIDE_OVER, MarketSide.AWAY: market_pb2.TOTAL_SIDE_UNDER}


def total_market(request: PredictRequest) -> TotalMarket:
    """Read the odds on total points of a request that has some.

    Raises:
        InvalidMarket: if a field is invalid; `others` has the errors of further fields.
    """
    given, faults = request.total_market, FieldErrors()
    over = faults.read(decimal_odds, EVEN, given.over, "total_market.over")
    under = faults.read(decimal_odds, EVEN, given.under, "total_market.under")
    read = faults.read(
        TotalMarket,
        _ANY_MARKET,
        line=given.line,
        over_odds=over,
        under_odds=under,
        bankroll=given.bankroll if given.HasField("bankroll") else 1.0,
        confidence_threshold=given.confidence_threshold if given.HasField("confidence_threshold") else None,
        **staked(given),
    )
    faults.raise_first()
    return read


def total_market_message_of(issued: IssuedForecast) -> market_pb2.TotalMarketAnswer | None:
    """Return the evaluation of the requested market of total points as a message; None without a market."""
    total = issued.forecast.total
    answer = None if total is None else total.market
    return None if answer is None else _message(answer, total_market_warnings(issued, answer))


def _message(answer: MarketAnswer, warnings: list[forecast_pb2.Warning]) -> market_pb2.TotalMarketAnswer:
    return message_of(
        market_pb2.TotalMarketAnswer,
        answer,
        over=message_of(market_pb2.MarketSideAnswer, answer.home),
        under=message_of(market_pb2.MarketSideAnswer, answer.away),
        side=None if answer.side is None else _SIDES[answer.side],
        risk_level=RISK_LEVEL_VALUES[answer.risk_level],
        warnings=warnings,
        staking=message_of(market_pb2.Staking, answer.policy),
        notice=NOTICE,
    )
