"""Reads odds from requests and writes market evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dejavu.v1 import market_pb2, record_pb2
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_ledger.records import IssuedForecast, MarketRecording, RecordedMarket
from dejavu_models.betting import (
    DEFAULT_POLICY,
    MAX_ODDS,
    MIN_AMERICAN,
    Market,
    MarketAnswer,
    MarketKind,
    MarketSideAnswer,
    StakingPolicy,
    american_to_decimal,
)
from dejavu_models.errors import FieldErrors, InvalidMarket
from dejavu_server.api.converters.fields import enum_value, message_of, requested_instant
from dejavu_server.api.converters.forecast_warnings import market_warnings

NOTICE: Final = "not shown to be better than the market"
"""Notice of every answer with a stake."""

_KINDS: Final = {market_pb2.MarketKind.Value(f"MARKET_KIND_{kind.name}"): kind for kind in MarketKind}
_KIND_NAMES: Final = " or ".join(map(market_pb2.MarketKind.Name, _KINDS))
_EVEN: Final = 2.0
"""Placeholder for invalid decimal odds, so that further fields are still checked."""
_ANY_LINE: Final = 0.5
_MAX_AMERICAN = round(100 * (MAX_ODDS - 1))
_READ_AT_MOST: Final = len(MarketKind) + 1
"""Markets of a request that are read: the last of so many is a second one of its kind."""


def markets(request: PredictRequest, faults: FieldErrors) -> tuple[Market, ...]:
    """Read the markets of a request; add the errors of invalid fields, each with a placeholder in its place.

    If a kind cannot be read, nothing is returned, since what else a market needs depends on it.
    """
    read = [_market(given, f"markets[{index}]", faults) for index, given in enumerate(request.markets[:_READ_AT_MOST])]
    return tuple(each for each in read if each is not None) if None not in read else ()


def _market(given: market_pb2.Market, name: str, faults: FieldErrors) -> Market | None:
    kind = faults.read(enum_value, None, given.kind, _KINDS, _KIND_NAMES, f"{name}.kind", InvalidMarket)
    checked_as = kind or MarketKind.LEAD
    above = faults.read(_decimal_odds, _EVEN, given.above, f"{name}.above")
    below = faults.read(_decimal_odds, _EVEN, given.below, f"{name}.below")
    traded = None
    if given.HasField("traded_time"):
        of_trade = given.traded_time, f"{name}.traded_time", InvalidMarket, "a time of the calendar"
        traded = faults.read(requested_instant, None, *of_trade)
    evening = given.evening_staked if given.HasField("evening_staked") else given.game_staked
    try:
        # −0 + 0 is 0. The line of an unknown kind is not checked.
        read = Market(
            line=_ANY_LINE if kind is None else given.line + 0.0,
            above_odds=above,
            below_odds=below,
            bankroll=given.bankroll if given.HasField("bankroll") else 1.0,
            policy=faults.read(_policy, DEFAULT_POLICY, given.staking, name),
            game_staked=given.game_staked + 0.0,
            evening_staked=evening + 0.0,
            above_american=_american_odds(given.above),
            below_american=_american_odds(given.below),
            kind=checked_as,
            traded_time=traded,
        )
    except InvalidMarket as error:
        faults.add(_of(name, error))
        read = Market(line=_ANY_LINE, kind=checked_as)
    return None if kind is None else read


def _policy(given: market_pb2.Staking, name: str) -> StakingPolicy:
    """Return the policy of a market; absent fields have their defaults.

    Raises:
        InvalidMarket: if a value is out of bounds.
    """
    try:
        return StakingPolicy(**{field.name: value for field, value in given.ListFields()})
    except InvalidMarket as error:
        raise _of(name, error) from None


def _of(name: str, error: InvalidMarket) -> InvalidMarket:
    """Return the error of a market with the names of its fields in the request."""
    for each in (error, *error.others):
        each.rename(f"{name}.{each.field}")
    return error


def market_message(market: Market) -> market_pb2.Market:
    """Convert a market to a message, with prices as they were given, and every rule of its stakes."""
    return message_of(
        market_pb2.Market,
        market,
        staking=market.policy,
        above=_price_message(market.above_odds, market.above_american),
        below=_price_message(market.below_odds, market.below_american),
        game_staked=market.game_staked or None,
        evening_staked=market.evening_staked or None,
    )


def answers_of(issued: IssuedForecast) -> Iterator[market_pb2.MarketAnswer]:
    """Yield the evaluations of the requested markets, in the order of the request."""
    for market, recording, standing in issued.markets:
        answer = issued.answer(market.kind)
        if answer is not None:
            yield _answer_message(
                issued, market, answer, recording, None if standing is None else market_message(standing)
            )


def recorded_market_message(issued: IssuedForecast, recorded: RecordedMarket) -> record_pb2.RecordedMarket:
    """Convert a recorded market of a forecast, with its evaluation."""
    after, market = recorded.sent_after, recorded.market
    recording = MarketRecording.OUTCOME_KNOWN if after else MarketRecording.RECORDED
    return record_pb2.RecordedMarket(
        market=market_message(market),
        answer=_answer_message(issued, market, recorded.answer, recording),
        sequence=recorded.sequence,
    )


def _answer_message(
    issued: IssuedForecast,
    market: Market,
    answer: MarketAnswer,
    recording: MarketRecording | None,
    standing: market_pb2.Market | None = None,
) -> market_pb2.MarketAnswer:
    return message_of(
        market_pb2.MarketAnswer,
        answer,
        kind=market.kind,
        above=_side_message(answer, answer.above),
        below=_side_message(answer, answer.below),
        warnings=market_warnings(issued, market.kind, answer),
        recording=recording,
        standing_market=standing,
        staking=market.policy,
        notice=NOTICE,
        lead_staked=answer.lead_staked if market.kind is MarketKind.TOTAL else None,
    )


def _side_message(answer: MarketAnswer, side: MarketSideAnswer) -> market_pb2.MarketSideAnswer:
    return message_of(market_pb2.MarketSideAnswer, side, minimum_odds=answer.minimum_odds(side))


def _price_message(decimal: float | None, american: int | None) -> market_pb2.Odds | None:
    """Return a price in the form in which it was given."""
    if decimal is None:
        return None
    return market_pb2.Odds(decimal=decimal) if american is None else market_pb2.Odds(american=american)


def _american_odds(price: market_pb2.Odds) -> int | None:
    """Return the American odds of a price; None if it is decimal, or if `_decimal_odds` refuses them."""
    return price.american if price.HasField("american") and not _american_fault(price.american) else None


def _decimal_odds(price: market_pb2.Odds, field: str) -> float | None:
    """Return decimal odds of a price in either form, None without one; `Market` validates the range of decimal odds.

    Raises:
        InvalidMarket: if its American odds are invalid; names the field.
    """
    form = price.WhichOneof("price")
    if form is None:
        return None
    if form == "decimal":
        return price.decimal
    if _american_fault(price.american):
        expected = f"{MIN_AMERICAN} to {_MAX_AMERICAN}, or at most −{MIN_AMERICAN}"
        raise InvalidMarket(f"{price.american}", expected, field=f"{field}.american")
    return american_to_decimal(price.american)


def _american_fault(american: int) -> bool:
    return abs(american) < MIN_AMERICAN or american > _MAX_AMERICAN
