"""Markets of both kinds: read from requests, and answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import TEAMS_KNOWN, TOTAL, issued
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
from dejavu_feed.moment import Moment
from dejavu_ledger.entries import codec
from dejavu_ledger.records import IssuedForecast, MarketRecording, SentMarket
from dejavu_models.betting import Market, MarketKind, StakingPolicy, evaluate_market
from dejavu_models.betting import MarketAnswer as Evaluation
from dejavu_models.types import WarningReason
from dejavu_server.api.converters import prediction
from dejavu_server.api.converters.market import answers_of, market_message

LEAD, OVER = {"kind": MARKET_KIND_LEAD, "line": 5.5}, {"kind": MARKET_KIND_TOTAL, "line": 221.5}


def message(**fields: Any) -> MarketMessage:
    return MarketMessage(**{**LEAD, "above": Odds(decimal=1.9), "below": Odds(decimal=2.1), **fields})


def read(*markets: MarketMessage) -> tuple[Market, ...]:
    usual: dict[str, Any] = {"pattern": [1, 3, 2], "total_points": 14, "horizon": forecast_pb2.HORIZON_FINAL}
    return prediction.forecast_request(PredictRequest(**usual, markets=markets)).query.markets


def weighed(market: Market, answer: Evaluation, made: IssuedForecast | None = None) -> IssuedForecast:
    """Return a forecast with the evaluation of a market that was sent with it."""
    made = issued() if made is None else made
    total = market.kind is MarketKind.TOTAL
    changed: Any = {"total": replace(made.forecast.total or TOTAL, market=answer)} if total else {"market": answer}
    return replace(made, forecast=replace(made.forecast, **changed), markets=made.markets or (SentMarket(market),))


def answered(market: Market, answer: Evaluation, made: IssuedForecast | None = None) -> MarketAnswer:
    [written] = answers_of(weighed(market, answer, made))
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


@given(markets(), st.sampled_from(MarketKind), st.none() | st.datetimes(timezones=st.just(UTC)))
def test_a_market_that_is_written_reads_as_it_was(market: Market, kind: MarketKind, traded: datetime | None) -> None:
    market = replace(market, line=abs(market.line), kind=kind, traded_time=traded)
    assert read(market_message(market)) == (market,)


@pytest.mark.parametrize("kind", MarketKind)
def test_an_answer_s_message_says_what_was_weighed_and_is_part_of_no_recorded_forecast(kind: MarketKind) -> None:
    market = Market(3.0, 2.5, 1.5, bankroll=1000.0, policy=StakingPolicy(max_difference=1.0), kind=kind)
    answer = evaluate_market(market, lambda k: {3: 0.6, 4: 0.5}[k])
    made = weighed(market, answer, replace(issued(), markets=(SentMarket(market, MarketRecording.RECORDED),)))
    [written] = answers_of(made)
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
    for recording in MarketRecording:
        sent = replace(issued(), markets=(SentMarket(market, recording),))
        value = market_pb2.MarketRecording.Value(f"MARKET_RECORDING_{recording.name}")
        assert answered(market, answer, sent).recording == value
    none = answered(market, replace(answer, side=None))
    assert (none.side, none.recording) == (MARKET_SIDE_UNSPECIFIED, MARKET_RECORDING_UNSPECIFIED)
    recorded = codec.recorded_part(made)
    assert not list(answers_of(recorded))
    assert codec.prepare(made).payload == codec.prepare(recorded).payload


BOS: dict[str, Any] = {"home_team": "BOS"}
OF_LEAD, OF_TOTAL = Market(3.0, 1.9, 1.9), Market(3.0, 1.9, 1.9, kind=MarketKind.TOTAL)
OF_JUNE: dict[str, Any] = {"ratings_date": date(2024, 6, 17)}
AHEAD, UNKNOWN = (WarningReason.RATINGS_AHEAD,), {"total": replace(TOTAL, expected_total=None)}
END_TOO_EARLY = "the ratings of total points end too long before this game"


@pytest.mark.parametrize(
    ("market", "shares", "made", "forecast", "reason", "told"),
    [
        # Which side and which bets the share is of
        (OF_LEAD, (0.85, 0.8), BOS, {}, "IMPLAUSIBLE_DIFFERENCE",
         "by the model BOS wins 84 % of the bets that are not returned, by the odds 50 %"),
        (OF_LEAD, (0.8, 0.8), BOS, {}, "IMPLAUSIBLE_DIFFERENCE", "by the model BOS wins 80 %, by the odds 50 %"),
        (OF_LEAD, (0.8, 0.8), {"home_team": ""}, {}, "IMPLAUSIBLE_DIFFERENCE", "by the model the home side wins 80 %"),
        (OF_TOTAL, (0.8, 0.8), BOS, {}, "IMPLAUSIBLE_DIFFERENCE", "by the model over wins 80 %, by the odds 50 %"),
        (Market(3.0, 1.5, 1.5), (0.6, 0.6), {}, {}, "ODDS_MISMATCHED", "a margin of 33.3 %, expected −"),
        # What is not known that a bet needs
        (OF_LEAD, None, {"pregame_margin": 4.0}, {"moment": Moment(4, 30.0, 3)}, "LATE_MOMENT", "fouls to give"),
        (OF_LEAD, None, {"pregame_margin": 4.0}, {}, "MARKETS_OWN_LINE", "one that the given margin implies"),
        (OF_LEAD, None, {}, {"expected_margin": 2.0, "teams_known": TEAMS_KNOWN}, "TEAM_LITTLE_KNOWN", "no stake"),
        (OF_LEAD, None, {"away_team": ""}, {}, "TEAMS_UNKNOWN", "the odds include their strength"),
        (OF_LEAD, None, {}, OF_JUNE, "RATINGS_OUTDATED", "or refresh them (dejavu-trainer refresh); no stake"),
        (OF_LEAD, None, {}, {**OF_JUNE, "warnings": AHEAD}, "RATINGS_AHEAD", "2024-06-17, after the game of "),
        (OF_TOTAL, None, {"live": LiveInputs(pregame_total=221.5)}, {}, "MARKETS_OWN_LINE", "one that the given total"),
        (OF_TOTAL, None, {}, {"teams_known": TEAMS_KNOWN}, "TEAM_LITTLE_KNOWN", "no stake until both teams are known"),
        (OF_TOTAL, None, {"away_team": ""}, UNKNOWN, "TEAMS_UNKNOWN", "the odds include how much they score"),
        (OF_TOTAL, None, {"pregame_margin": 4.0}, UNKNOWN, "RATINGS_OUTDATED", END_TOO_EARLY),
    ],
)  # fmt: skip
def test_a_market_without_a_stake_says_why(
    market: Market,
    shares: Sequence[float] | None,
    made: dict[str, Any],
    forecast: dict[str, Any],
    reason: str,
    told: str,
) -> None:
    """`shares`: of home or over at the line and above; None: what a bet needs is not known."""
    at_line, above = shares or (0.55, 0.55)
    answer = evaluate_market(market, lambda k: {3: at_line, 4: above}[k], unrated=shares is None)
    plain = issued()
    written = answered(market, answer, replace(plain, forecast=replace(plain.forecast, **forecast), **made))
    assert (written.side, written.stake, written.above.kelly_fraction) == (MARKET_SIDE_UNSPECIFIED, 0.0, 0.0)
    [warning] = written.warnings
    assert warning.reason == forecast_pb2.WarningReason.Value(f"WARNING_REASON_{reason}")
    assert told in warning.text


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
