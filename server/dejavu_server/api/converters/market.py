"""Reads odds from requests and writes market evaluations.

Readers return only valid values; an invalid field raises an InvalidMarket that names it, with the errors of further
fields in `others`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dejavu.v1 import forecast_pb2, market_pb2
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_models.betting import (
    MAX_ODDS,
    MIN_AMERICAN,
    Market,
    MarketAnswer,
    MarketSide,
    RiskLevel,
    american_to_decimal,
)
from dejavu_models.errors import FieldErrors, InvalidMarket
from dejavu_models.types import Horizon
from dejavu_server.api.converters.fields import HORIZON_VALUES, horizon_of, message_of, requested_horizon
from dejavu_server.records import MarketRecording

RISK_LEVEL_VALUES: Final = {level: market_pb2.RiskLevel.Value(f"RISK_LEVEL_{level.name}") for level in RiskLevel}

RECORDING_VALUES: Final = {
    recording: market_pb2.MarketRecording.Value(f"MARKET_RECORDING_{recording.name}") for recording in MarketRecording
}

NOTICE: Final = "not shown to be better than the market"
"""Notice of every answer with a stake."""

_SIDE_VALUES = {side: market_pb2.MarketSide.Value(f"MARKET_SIDE_{side.name}") for side in MarketSide}
EVEN: Final = 2.0
"""Placeholder for invalid decimal odds, so that further fields are still checked."""
_ANY_MARKET = Market(line=0.0, home_odds=EVEN, away_odds=EVEN)
_MAX_AMERICAN = round(100 * (MAX_ODDS - 1))


def market(request: PredictRequest) -> Market:
    """Read the odds of a request that has some.

    Raises:
        InvalidMarket: if a field is invalid; `others` has the errors of further fields.
    """
    given = request.market
    faults = FieldErrors()
    faults.read(_check_horizon, None, request)
    home = faults.read(decimal_odds, EVEN, given.home, "market.home")
    away = faults.read(decimal_odds, EVEN, given.away, "market.away")
    read = faults.read(
        Market,
        _ANY_MARKET,
        line=given.line + 0.0,  # −0 + 0 is 0
        home_odds=home,
        away_odds=away,
        bankroll=given.bankroll if given.HasField("bankroll") else 1.0,
        confidence_threshold=given.confidence_threshold if given.HasField("confidence_threshold") else None,
        **staked(given),
        home_american=american_odds(given.home),
        away_american=american_odds(given.away),
    )
    faults.raise_first()
    return read


def market_message(market: Market, horizon: Horizon) -> market_pb2.Market:
    """Convert odds at a horizon to a message, with prices as they were given."""
    return market_pb2.Market(
        line=market.line,
        horizon=HORIZON_VALUES[horizon],
        home=price_message(market.home_odds, market.home_american),
        away=price_message(market.away_odds, market.away_american),
        **stakes_of(market),
    )


def stakes_of(market: Market) -> dict[str, float | None]:
    """Return the fields of a market that do not depend on its kind: bankroll, earlier stakes and threshold."""
    return {
        "bankroll": market.bankroll,
        "confidence_threshold": market.confidence_threshold,
        "game_staked": market.game_staked or None,
        "evening_staked": market.evening_staked or None,
    }


def market_answer_message(
    answer: MarketAnswer,
    warnings: Iterable[forecast_pb2.ReliabilityWarning],
    recording: market_pb2.MarketRecording.ValueType = market_pb2.MARKET_RECORDING_RECORDED,
    standing: market_pb2.Market | None = None,
) -> market_pb2.MarketAnswer:
    """Convert the evaluation of a market to a message.

    Args:
        answer: the evaluation.
        warnings: see `forecast_warnings.market_warnings`.
        recording: whether the market is recorded.
        standing: the recorded market, if it is not this one.
    """
    return message_of(
        market_pb2.MarketAnswer,
        answer,
        home=message_of(market_pb2.MarketSideAnswer, answer.home),
        away=message_of(market_pb2.MarketSideAnswer, answer.away),
        side=None if answer.side is None else _SIDE_VALUES[answer.side],
        risk_level=RISK_LEVEL_VALUES[answer.risk_level],
        warnings=list(warnings),
        recording=recording,
        standing_market=standing,
        staking=message_of(market_pb2.Staking, answer.policy),
        notice=NOTICE,
    )


def staked(given: market_pb2.Market | market_pb2.TotalMarket) -> dict[str, float]:
    """Read the previous stakes on the game and on the evening; the latter defaults to the former."""
    evening = given.evening_staked if given.HasField("evening_staked") else given.game_staked
    return {"game_staked": given.game_staked + 0.0, "evening_staked": evening + 0.0}  # −0 + 0 is 0


def _check_horizon(request: PredictRequest) -> None:
    number = request.market.horizon
    if number == forecast_pb2.HORIZON_UNSPECIFIED:
        return
    horizon = horizon_of(number, "market.horizon", InvalidMarket)
    # An invalid horizon of the request itself is reported separately.
    requested = requested_horizon(request)
    if requested is not None and horizon is not requested:
        raise InvalidMarket(horizon.value, f"the request's, {requested.value}, or none", field="market.horizon")


def price_message(decimal: float, american: int | None) -> market_pb2.Odds:
    """Return a price in the form in which it was given."""
    return market_pb2.Odds(decimal=decimal) if american is None else market_pb2.Odds(american=american)


def american_odds(price: market_pb2.Odds) -> int | None:
    """Return the American odds of a price; None if it is decimal, or if `decimal_odds` refuses them."""
    return price.american if price.HasField("american") and not _american_fault(price.american) else None


def decimal_odds(price: market_pb2.Odds, field: str) -> float:
    """Return decimal odds of a price in either form; `Market` validates the range of decimal odds.

    Raises:
        InvalidMarket: if there is no price, or its American odds are invalid; names the field.
    """
    form = price.WhichOneof("price")
    if form is None:
        raise InvalidMarket("no price", "decimal or american odds", field=field)
    if form == "decimal":
        return price.decimal
    if _american_fault(price.american):
        expected = f"{MIN_AMERICAN} to {_MAX_AMERICAN}, or at most −{MIN_AMERICAN}"
        raise InvalidMarket(f"{price.american}", expected, field=f"{field}.american")
    return american_to_decimal(price.american)


def _american_fault(american: int) -> bool:
    return abs(american) < MIN_AMERICAN or american > _MAX_AMERICAN
