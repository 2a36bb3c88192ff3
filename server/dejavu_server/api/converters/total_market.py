"""Converts markets of total points, and their evaluations."""

from __future__ import annotations

from typing import Final

from dejavu.v1 import forecast_pb2, market_pb2
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_models.betting import Market, MarketAnswer, MarketSide, TotalMarket
from dejavu_models.errors import FieldErrors
from dejavu_server.api.converters.fields import message_of
from dejavu_server.api.converters.forecast_warnings import total_market_warnings
from dejavu_server.api.converters.market import (
    EVEN,
    NOTICE,
    RECORDING_VALUES,
    RISK_LEVEL_VALUES,
    american_odds,
    decimal_odds,
    price_message,
    staked,
    stakes_of,
)
from dejavu_server.records import IssuedForecast

_ANY_MARKET: Final = TotalMarket(line=0.5, home_odds=EVEN, away_odds=EVEN)
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
        home_odds=over,
        away_odds=under,
        bankroll=given.bankroll if given.HasField("bankroll") else 1.0,
        confidence_threshold=given.confidence_threshold if given.HasField("confidence_threshold") else None,
        **staked(given),
        home_american=american_odds(given.over),
        away_american=american_odds(given.under),
    )
    faults.raise_first()
    return read


def total_market_message(market: Market) -> market_pb2.TotalMarket:
    """Convert odds on total points to a message, with prices as they were given."""
    return market_pb2.TotalMarket(
        line=market.line,
        over=price_message(market.home_odds, market.home_american),
        under=price_message(market.away_odds, market.away_american),
        **stakes_of(market),
    )


def total_market_message_of(issued: IssuedForecast) -> market_pb2.TotalMarketAnswer | None:
    """Return the evaluation of the requested market of total points as a message; None without a market."""
    total, recording, standing = issued.forecast.total, issued.total_market_recording, issued.standing_total_market
    answer = None if total is None else total.market
    if answer is None:
        return None
    return total_answer_message(
        answer,
        total_market_warnings(issued, answer),
        market_pb2.MARKET_RECORDING_UNSPECIFIED if recording is None else RECORDING_VALUES[recording],
        None if standing is None else total_market_message(standing),
    )


def total_answer_message(
    answer: MarketAnswer,
    warnings: list[forecast_pb2.ReliabilityWarning],
    recording: market_pb2.MarketRecording.ValueType,
    standing: market_pb2.TotalMarket | None = None,
) -> market_pb2.TotalMarketAnswer:
    """Convert the evaluation of a market of total points to a message; see `market_answer_message`."""
    return message_of(
        market_pb2.TotalMarketAnswer,
        answer,
        over=message_of(market_pb2.MarketSideAnswer, answer.home),
        under=message_of(market_pb2.MarketSideAnswer, answer.away),
        side=None if answer.side is None else _SIDES[answer.side],
        risk_level=RISK_LEVEL_VALUES[answer.risk_level],
        warnings=warnings,
        recording=recording,
        standing_market=standing,
        staking=message_of(market_pb2.Staking, answer.policy),
        notice=NOTICE,
    )
