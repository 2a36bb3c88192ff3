from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calls import GAME, PATTERN
from tests.support.builders.issued_forecasts import issued

from dejavu.v1 import forecast_pb2
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.market_pb2 import MARKET_SIDE_AWAY, MARKET_SIDE_HOME, MARKET_SIDE_UNSPECIFIED, Odds, RiskLevel
from dejavu.v1.market_pb2 import Market as MarketMessage
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_models.betting import Market, StakingPolicy, evaluate_market
from dejavu_models.betting import RiskLevel as Level
from dejavu_models.errors import InvalidHorizon
from dejavu_models.types import Horizon
from dejavu_server.api.converters import prediction
from dejavu_server.api.converters.forecast_warnings import market_warnings
from dejavu_server.api.converters.market import RISK_LEVEL_VALUES, market_answer_message, market_message
from dejavu_server.records import MarketRecording


def request(market: MarketMessage | None = None, **fields: Any) -> PredictRequest:
    return PredictRequest(pattern=PATTERN, market=market, **fields)


def message(**fields: Any) -> MarketMessage:
    return MarketMessage(**{"home": Odds(decimal=1.9), "away": Odds(decimal=2.1), **fields})


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({}, (0.0, 0.0)),
        ({"game_staked": 20.0}, (20.0, 20.0)),  # the evening has at least what its game has
        ({"evening_staked": 30.0}, (0.0, 30.0)),
        ({"game_staked": 20.0, "evening_staked": 30.0}, (20.0, 30.0)),
    ],
)
def test_what_is_staked_already_is_read(given: dict[str, float], read: tuple[float, float]) -> None:
    market = prediction.forecast_request(request(message(bankroll=250.0, **given))).query.market
    assert market is not None
    assert (market.game_staked, market.evening_staked) == read


def test_what_a_market_does_not_say_is_left_to_the_server() -> None:
    assert prediction.forecast_request(
        request(message(), game_id=GAME, horizon=HORIZON_HALFTIME)
    ).query.market == Market(0.0, 1.9, 2.1, 1.0, None)


@pytest.mark.parametrize(
    ("american", "decimal"), [(100, 2.0), (-100, 2.0), (250, 3.5), (-110, 1 + 10 / 11), (99_900, 1000.0)]
)
def test_american_odds_are_read(american: int, decimal: float) -> None:
    market = prediction.forecast_request(request(message(away=Odds(american=american)))).query.market
    assert market is not None
    assert market.home_odds == 1.9
    assert market.away_odds == pytest.approx(decimal)


def test_a_horizon_that_is_none_is_said_of_the_request_alone() -> None:
    with pytest.raises(InvalidHorizon) as refused:
        prediction.forecast_request(request(message(horizon=HORIZON_FINAL), horizon=9))
    assert not refused.value.others


@given(
    st.builds(
        Market,
        st.integers(-200, 200).map(lambda halves: halves / 2),
        st.floats(1, 1000, exclude_min=True),
        st.floats(1, 1000, exclude_min=True),
        st.floats(1e-3, 1e12),
        st.none() | st.floats(0, 1, exclude_max=True),
    ),
    st.sampled_from(Horizon),
)
def test_a_market_that_is_written_reads_as_it_was(market: Market, horizon: Horizon) -> None:
    written = market_message(market, horizon)
    assert prediction.forecast_request(request(written, horizon=written.horizon)).query.market == market


def test_an_answer_s_message_says_what_was_weighed() -> None:
    policy = StakingPolicy(max_difference=1.0)
    answer = evaluate_market(Market(3.0, 2.5, 1.5, bankroll=1000.0), lambda k: {3: 0.6, 4: 0.5}[k], policy)
    written = market_answer_message(answer, ())
    assert {field.name for field, _ in written.ListFields()} == set(written.DESCRIPTOR.fields_by_name) - {
        "confidence_met",
        "warnings",
        "standing_market",
    }
    assert (written.side, written.stake) == (MARKET_SIDE_HOME, answer.stake)
    assert written.push_probability == pytest.approx(0.1)
    for name in written.home.DESCRIPTOR.fields_by_name:
        assert getattr(written.home, name) == getattr(answer.home, name)
        assert getattr(written.away, name) == getattr(answer.away, name)


@pytest.mark.parametrize(
    ("home_team", "push", "told"),
    [
        ("BOS", 0.05, "it gives BOS 84 % of the bets that are not returned, the odds 50 %"),
        ("BOS", 0.0, "it gives BOS 80 %, the odds 50 %"),
        ("", 0.0, "it gives the home side 80 %, the odds 50 %"),
    ],
)
def test_an_implausible_difference_names_the_team_and_which_bets_its_share_is_of(
    home_team: str, push: float, told: str
) -> None:
    answer = evaluate_market(Market(3.0, 1.9, 1.9), lambda k: {3: 0.8 + push, 4: 0.8}[k])
    written = market_answer_message(answer, market_warnings(issued(home_team=home_team), answer))
    assert (written.side, written.stake, written.home.kelly_fraction) == (MARKET_SIDE_UNSPECIFIED, 0.0, 0.0)
    assert written.warnings[-1].reason == forecast_pb2.WARNING_REASON_IMPLAUSIBLE_DIFFERENCE
    assert told in written.warnings[-1].text


@pytest.mark.parametrize(
    ("sequence", "recording", "told"),
    [
        (7, MarketRecording.RECORDED, "in between, the model has learned from outcomes"),
        (
            0,
            MarketRecording.EARLIER_STANDS,
            "this worker has learned from fewer outcomes so far, or has other settings",
        ),
        (
            0,
            None,
            "this worker has learned from fewer outcomes so far, or has other settings; the market is not recorded",
        ),
    ],
)
def test_a_market_weighed_by_another_forecast_says_why(
    sequence: int, recording: MarketRecording | None, told: str
) -> None:
    recorded = replace(issued(home_team="BOS"), market_recording=recording)
    now = replace(recorded.forecast, home_lead_probability=0.7, calibration_sequence=sequence)
    answer = evaluate_market(Market(0.0, 1.5, 2.9), lambda _: 0.7)
    [warning] = market_warnings(replace(recorded, recomputed=now), answer)
    assert warning.reason == forecast_pb2.WARNING_REASON_RECOMPUTED
    given = "the recorded forecast gives 60.0 % that BOS leads at the half, the one compared with this market 70.0 %"
    assert warning.text == f"{given}: {told}"


def test_each_side_and_each_level_has_its_number() -> None:
    away = market_answer_message(evaluate_market(Market(0.0, 1.5, 2.5), lambda _: 0.5), ())
    assert away.side == MARKET_SIDE_AWAY
    none = market_answer_message(evaluate_market(Market(0.0, 1.9, 1.9), lambda _: 0.5), ())
    assert (none.side, none.stake) == (MARKET_SIDE_UNSPECIFIED, 0.0)
    names = {level: RiskLevel.Name(number) for level, number in RISK_LEVEL_VALUES.items()}
    assert names == {level: f"RISK_LEVEL_{level.name}" for level in Level}
