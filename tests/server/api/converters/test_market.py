"""Markets of both kinds: read from requests, and answered."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calibrations import steady_totals
from tests.support.builders.issued_forecasts import TOTAL, issued
from tests.support.builders.markets import markets

from dejavu.v1 import forecast_pb2, market_pb2
from dejavu.v1.market_pb2 import (
    MARKET_KIND_LEAD,
    MARKET_KIND_TOTAL,
    MARKET_RECORDING_UNSPECIFIED,
    MARKET_SIDE_UNSPECIFIED,
    MarketAnswer,
    Odds,
    Staking,
)
from dejavu.v1.market_pb2 import Market as MarketMessage
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_feed.live_inputs import LiveInputs
from dejavu_ledger.entries import codec
from dejavu_ledger.records import IssuedForecast, MarketRecording, SentMarket
from dejavu_models.betting import Market, MarketKind, StakingPolicy, evaluate_market
from dejavu_models.betting import MarketAnswer as Evaluation
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.totals.totals import forecast_total
from dejavu_models.types import Horizon, MarginSource
from dejavu_server.api.converters import prediction
from dejavu_server.api.converters.market import answers_of, market_message

TOTALS = steady_totals()
KNOWN = TOTALS.tables(MarginSource.KNOWN, Horizon.FINAL, 3)
LEAD, OVER = {"kind": MARKET_KIND_LEAD, "line": 5.5}, {"kind": MARKET_KIND_TOTAL, "line": 221.5}


def request(*markets: MarketMessage, **fields: Any) -> PredictRequest:
    usual = {"pattern": [1, 3, 2], "total_points": 14, "horizon": forecast_pb2.HORIZON_FINAL}
    return PredictRequest(**{**usual, "markets": markets, **fields})


def message(**fields: Any) -> MarketMessage:
    return MarketMessage(**{**LEAD, "above": Odds(decimal=1.9), "below": Odds(decimal=2.1), **fields})


def read(*markets: MarketMessage) -> tuple[Market, ...]:
    return prediction.forecast_request(request(*markets)).query.markets


def answered(market: Market, answer: Evaluation, made: IssuedForecast | None = None) -> MarketAnswer:
    """Return the answer to a market that was sent with a forecast."""
    made = issued() if made is None else made
    if market.kind is MarketKind.LEAD:
        forecast = replace(made.forecast, market=answer)
    else:
        forecast = replace(made.forecast, total=replace(TOTAL, market=answer))
    sent = made.markets or (SentMarket(market),)
    [written] = answers_of(replace(made, forecast=forecast, markets=sent))
    return written


@pytest.mark.parametrize(
    ("given", "staked"),
    [
        ({}, (0.0, 0.0)),
        ({"game_staked": 20.0}, (20.0, 20.0)),  # the evening has at least what its game has
        ({"game_staked": 20.0, "evening_staked": 30.0}, (20.0, 30.0)),
    ],
)
def test_markets_are_read_in_their_order_and_what_they_do_not_say_is_the_default(
    given: dict[str, float], staked: tuple[float, float]
) -> None:
    told = read(message(**OVER, bankroll=50.0, staking=Staking(game_cap=0.0), **given), message())
    over = Market(221.5, 1.9, 2.1, 50.0, policy=StakingPolicy(game_cap=0.0), kind=MarketKind.TOTAL)
    assert told == (
        replace(over, game_staked=staked[0], evening_staked=staked[1]),
        Market(5.5, 1.9, 2.1, 1.0, kind=MarketKind.LEAD),
    )
    assert read(message(above=None, below=None)) == (Market(5.5),)


@given(markets(), st.sampled_from(MarketKind))
def test_a_market_that_is_written_reads_as_it_was(market: Market, kind: MarketKind) -> None:
    market = replace(market, line=abs(market.line), kind=kind)
    assert read(market_message(market)) == (market,)


@pytest.mark.parametrize("kind", MarketKind)
def test_an_answer_s_message_says_what_was_weighed(kind: MarketKind) -> None:
    market = Market(3.0, 2.5, 1.5, bankroll=1000.0, policy=StakingPolicy(max_difference=1.0), kind=kind)
    answer = evaluate_market(market, lambda k: {3: 0.6, 4: 0.5}[k])
    made = replace(issued(), markets=(SentMarket(market, MarketRecording.RECORDED),))
    written = answered(market, answer, made)
    unset = {"confidence_met", "warnings", "standing_market"} | ({"lead_staked"} if kind is MarketKind.LEAD else set())
    assert {field.name for field, _ in written.ListFields()} == set(written.DESCRIPTOR.fields_by_name) - unset
    assert market_pb2.MarketKind.Name(written.kind) == f"MARKET_KIND_{kind.name}"
    assert (written.stake, written.notice) == (answer.stake, "not shown to be better than the market")
    assert written.push_probability == pytest.approx(0.1)
    for side, of in ((written.above, answer.above), (written.below, answer.below)):
        expected = asdict(of) | {"minimum_odds": answer.minimum_odds(of)}
        assert {name: getattr(side, name) for name in side.DESCRIPTOR.fields_by_name} == expected
    for chosen in kind.sides:
        side_value = market_pb2.MarketSide.Value(f"MARKET_SIDE_{chosen.name}")
        assert answered(market, replace(answer, side=chosen)).side == side_value
    none = answered(market, replace(answer, side=None))
    assert (none.side, none.recording) == (MARKET_SIDE_UNSPECIFIED, MARKET_RECORDING_UNSPECIFIED)


@pytest.mark.parametrize(
    ("kind", "home_team", "push", "told"),
    [
        (
            MarketKind.LEAD,
            "BOS",
            0.05,
            "by the model BOS wins 84 % of the bets that are not returned, by the odds 50 %",
        ),
        (MarketKind.LEAD, "BOS", 0.0, "by the model BOS wins 80 %, by the odds 50 %"),
        (MarketKind.LEAD, "", 0.0, "by the model the home side wins 80 %, by the odds 50 %"),
        (MarketKind.TOTAL, "BOS", 0.0, "by the model over wins 80 %, by the odds 50 %"),
    ],
)
def test_an_implausible_difference_names_the_side_and_which_bets_its_share_is_of(
    kind: MarketKind, home_team: str, push: float, told: str
) -> None:
    market = Market(3.0, 1.9, 1.9, kind=kind)
    answer = evaluate_market(market, lambda k: {3: 0.8 + push, 4: 0.8}[k])
    written = answered(market, answer, issued(home_team=home_team))
    assert (written.side, written.stake, written.above.kelly_fraction) == (MARKET_SIDE_UNSPECIFIED, 0.0, 0.0)
    assert written.warnings[-1].reason == forecast_pb2.WARNING_REASON_IMPLAUSIBLE_DIFFERENCE
    assert told in written.warnings[-1].text


FEWER_OUTCOMES = "this worker has learned from fewer outcomes so far, or has other settings"


@pytest.mark.parametrize(
    ("sequence", "recording", "told"),
    [
        (7, MarketRecording.RECORDED, "in between, the model has learned from outcomes"),
        (0, MarketRecording.EARLIER_STANDS, FEWER_OUTCOMES),
        (0, None, f"{FEWER_OUTCOMES}; the market is not recorded"),
    ],
)
def test_a_market_weighed_by_another_forecast_says_why(
    sequence: int, recording: MarketRecording | None, told: str
) -> None:
    market = Market(0.0, 1.5, 2.9)
    recorded = replace(issued(home_team="BOS"), markets=(SentMarket(market, recording),))
    now = replace(recorded.forecast, home_lead_probability=0.7, calibration_sequence=sequence)
    [warning] = answered(market, evaluate_market(market, lambda _: 0.7), replace(recorded, recomputed=now)).warnings
    assert warning.reason == forecast_pb2.WARNING_REASON_RECOMPUTED
    given = "the recorded forecast gives 60.0 % that BOS leads at the half, the one compared with this market 70.0 %"
    assert warning.text == f"{given}: {told}"


def test_the_evaluation_of_a_total_is_part_of_no_recorded_forecast() -> None:
    live, market = LiveInputs(total_points=14), Market(180.5, 1.9, 1.95, kind=MarketKind.TOTAL)
    query = ForecastQuery(ScorePattern((1.0, 3.0, 2.0)), Horizon.FINAL, live=live, markets=(market,))
    answer = forecast_total(KNOWN, query, 231.0).market
    assert answer is not None
    assert answer.implausible
    made = replace(issued(), live=live, markets=(SentMarket(market),))
    made = replace(made, forecast=replace(made.forecast, total=replace(TOTAL, market=answer)))
    assert [each.kind for each in answers_of(made)] == [MARKET_KIND_TOTAL]
    recorded = codec.recorded_part(made)
    assert recorded.forecast.total == TOTAL
    assert codec.prepare(made).payload == codec.prepare(recorded).payload
    assert not list(answers_of(recorded))
