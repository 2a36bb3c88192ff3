"""Markets and risk assessments of a worker with the shipped bundle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.builders.calls import GAME, PATTERN, current_game
from tests.support.harness.laws import examples
from tests.support.processes.servers import running_worker

from dejavu.v1.forecast_pb2 import (
    MARGIN_SOURCE_CALLER,
    WARNING_REASON_MARKETS_OWN_LINE,
    WARNING_REASON_ODDS_MISMATCHED,
    Horizon,
)
from dejavu.v1.market_pb2 import (
    MARKET_KIND_LEAD,
    MARKET_KIND_TOTAL,
    MARKET_RECORDING_EARLIER_STANDS,
    MARKET_RECORDING_RECORDED,
    MARKET_SIDE_HOME,
    MARKET_SIDE_OVER,
    Market,
    MarketAnswer,
    MarketRecording,
)
from dejavu.v1.record_pb2 import MARKET_RESULT_LOST, MARKET_RESULT_WON
from dejavu_client import FINAL, HALFTIME, DejavuClient
from dejavu_client.requests import market, total_market


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DejavuClient]:
    with (
        # In the shadow: tests that report outcomes do not change the intervals of others.
        running_worker(tmp_path_factory.mktemp("server"), shipped=True, adaptive="shadow") as address,
        DejavuClient(address, timeout=30.0) as client,
    ):
        yield client


def test_a_bet_on_the_winner_is_weighed_by_the_probability_that_is_forecast(client: DejavuClient) -> None:
    odds = market(0, -300, 250, bankroll=200.0)
    answer = client.quote(PATTERN, odds, game_id=GAME, horizon=FINAL, pregame_margin=2.0)
    home, away = answer.markets[0].above, answer.markets[0].below
    assert home.win_probability == pytest.approx(answer.forecast.home_lead_probability)
    assert answer.markets[0].push_probability == 0.0  # no NBA game ends in a tie
    assert home.win_probability + away.win_probability == pytest.approx(1)
    assert answer.markets[0].side == MARKET_SIDE_HOME
    assert answer.markets[0].stake == home.stake == pytest.approx(200 * home.kelly_fraction / 4)
    assert client.predict(PATTERN, game_id=GAME, horizon=FINAL, pregame_margin=2.0) == answer.forecast


@pytest.mark.parametrize(("off", "own"), [(0, True), (-1.5, True), (1.5, True), (-2, False), (2, False)])
def test_a_bet_on_about_the_line_that_made_the_forecast_has_no_stake_and_says_why(
    client: DejavuClient, off: float, own: bool
) -> None:
    answer = client.quote(
        PATTERN,
        market(5.5 + off, 1.5, 2.9),
        total_market(221.5 + off, 1.55, 2.6),
        horizon=FINAL,
        pregame_margin=5.5,
        pregame_total=221.5,
        total_points=105,
    )
    assert [each.kind for each in answer.markets] == [MARKET_KIND_LEAD, MARKET_KIND_TOTAL]
    for evaluated in answer.markets:
        assert (WARNING_REASON_MARKETS_OWN_LINE in {each.reason for each in evaluated.warnings}) is own
        assert evaluated.stake == 0 or not own
    assert answer.forecast.margin_source == MARGIN_SOURCE_CALLER
    assert answer.forecast.pregame_total == 221.5


@pytest.mark.parametrize(
    ("horizon", "given", "priced", "own"),
    [
        (FINAL, 5.5, market(0, -220, 180), True),  # the moneyline of that spread
        (FINAL, -12.0, market(0, 675, -1025), True),
        (FINAL, 5.5, market(0, -450, 350), False),  # as a lead makes it
        (FINAL, 0.5, market(0, -110, -110), True),  # a pick'em
        (FINAL, 0.5, market(0, -300, 250), False),
        (FINAL, 8.5, market(5.5, 1.65, 2.35), True),  # an alternate spread
        (FINAL, 8.5, market(5.5, 1.91, 1.91), False),
        (HALFTIME, 5.5, market(3.0, -110, -110), True),  # the half of a spread of 5.5
        (HALFTIME, 5.5, market(0, -160, 135), True),
        (HALFTIME, 5.5, market(0, -400, 320), False),  # as a lead makes it
        (HALFTIME, 5.5, market(10.5, -110, -110), False),
        (FINAL, 5.5, total_market(227.5, 140, -165), True),  # an alternate line of before tip-off
        (FINAL, 5.5, total_market(227.5, -110, -110), False),
        (HALFTIME, 5.5, total_market(110.5, -110, -110), True),
        (HALFTIME, 5.5, total_market(118.5, -110, -110), False),
    ],
)
def test_a_bet_at_about_the_line_or_price_that_the_given_ones_imply_has_no_stake(
    client: DejavuClient, horizon: Horizon.ValueType, given: float, priced: Market, own: bool
) -> None:
    """The price can be from before tip-off, whatever its line is. The total that is given is 221.5."""
    asked: Any = {"horizon": horizon, "pregame_margin": given}
    if priced.kind == MARKET_KIND_TOTAL:
        asked |= {"pregame_total": 221.5, "total_points": 63}
    lead = 3.0 if PATTERN[11] % 2 == 0 else PATTERN[11]  # odd, as the points
    [answer] = client.quote([*PATTERN[:11], lead], priced, **asked).markets
    assert (WARNING_REASON_MARKETS_OWN_LINE in {each.reason for each in answer.warnings}) is own
    assert answer.stake == 0 or not own


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([HALFTIME, FINAL]), st.lists(st.integers(-200, 200), min_size=2, max_size=2).map(sorted))
def test_the_higher_the_line_the_less_likely_the_home_side_wins(
    client: DejavuClient, horizon: Horizon.ValueType, halves: list[int]
) -> None:
    low, high = (client.quote(PATTERN, market(line / 2, 1.9, 1.9), horizon=horizon).markets[0] for line in halves)
    assert low.above.win_probability >= high.above.win_probability - 1e-12
    assert low.below.win_probability <= high.below.win_probability + 1e-12
    for answer in (low, high):
        whole = answer.above.win_probability + answer.push_probability + answer.below.win_probability
        assert whole == pytest.approx(1)


def test_the_first_market_of_a_forecast_is_recorded_and_settled(client: DejavuClient) -> None:
    game = current_game(777)
    asked: Any = {"game_id": game, "horizon": FINAL, "pregame_margin": 4.0}
    first = client.quote(PATTERN, market(10.5, 2.5, 1.5, bankroll=1000.0), **asked)
    client.quote(PATTERN, market(10.5, 50, 1.01, bankroll=1000.0), **asked)
    assert first.markets[0].side == MARKET_SIDE_HOME
    client.report_outcome(game, 11, horizon=FINAL, home_team="BKN", away_team="GSW")
    recorded = client.get_prediction(game, horizon=FINAL).prediction
    [kept] = recorded.markets
    assert (kept.market.line, kept.market.above.decimal) == (10.5, 2.5)
    assert kept.answer == first.markets[0]
    settlement = recorded.settlement
    assert (settlement.market_result, settlement.market_profit) == (
        MARKET_RESULT_WON,
        first.markets[0].above.stake_fraction * 1.5,
    )
    client.report_outcome(game, 10, horizon=FINAL, home_team="BKN", away_team="GSW")
    assert client.get_prediction(game, horizon=FINAL).prediction.settlement.market_result == MARKET_RESULT_LOST
    client.report_outcome(game, 11, horizon=FINAL, home_team="BKN", away_team="GSW")
    told = client.get_scorecard(horizon=FINAL, game_id=game).market
    assert (told.markets, told.bets) == (1, 1)
    assert told.staked == pytest.approx(first.markets[0].above.stake_fraction)
    assert told.profit == pytest.approx(1.5 * told.staked)  # won at 2.5


def test_a_market_of_the_total_is_recorded_beside_that_of_the_lead_and_settled_by_the_points(
    client: DejavuClient,
) -> None:
    game = current_game(778)
    asked: Any = {"game_id": game, "horizon": FINAL, "pregame_margin": 4.0, "pregame_total": 200.5, "total_points": 105}
    over = client.predict(PATTERN, **asked).total.point_forecast // 1 - 0.5
    lead = market(10.5, 2.5, 1.5)
    of_total, of_lead = client.quote(PATTERN, total_market(over, 140, -165), lead, **asked).markets
    [second] = client.quote(PATTERN, total_market(over, 2.0, 1.9), **asked).markets
    assert of_total.side == MARKET_SIDE_OVER
    assert of_total.lead_staked == of_lead.above.stake_fraction > 0.0
    assert not of_lead.HasField("lead_staked")
    assert [of_total.recording, second.recording] == [MARKET_RECORDING_RECORDED, MARKET_RECORDING_EARLIER_STANDS]
    assert second.standing_market.above.american == 140
    client.report_outcome(game, 11, horizon=FINAL, home_team="BKN", away_team="GSW")
    told = client.get_prediction(game, horizon=FINAL).prediction
    assert not told.settlement.HasField("total")
    assert client.get_scorecard(horizon=FINAL, game_id=game).market.markets == 1  # that of the lead
    under = int(over - 1) // 2 * 2 + 1  # odd, as the differential
    client.report_outcome(game, 11, horizon=FINAL, total_points=under, home_team="BKN", away_team="GSW")
    recorded = client.get_prediction(game, horizon=FINAL).prediction
    kept_lead, kept = recorded.markets  # whatever the order of the request
    assert (kept.market.line, kept.market.below.american) == (over, -165)
    assert (kept_lead.answer, kept.answer) == (of_lead, of_total)
    assert kept.sequence == kept_lead.sequence + 1
    settlement, stake = recorded.settlement.total, of_total.above.stake_fraction
    assert (settlement.market_result, settlement.market_profit) == (MARKET_RESULT_LOST, -stake)
    card = client.get_scorecard(horizon=FINAL, game_id=game).market
    assert (card.markets, card.bets, card.games) == (2, 2, 1)
    assert card.profit == pytest.approx(1.5 * of_lead.above.stake_fraction - stake)


def test_an_answer_says_whether_its_market_is_recorded(client: DejavuClient) -> None:
    game = current_game(779)
    teams: Any = {"home_team": "DEN", "away_team": "POR"}  # of no other test: the model learns from what those report

    def quoted(line: float, odds: float, minutes: int = 18, game_id: str = game, bankroll: float = 1.0) -> MarketAnswer:
        asked = market(line, odds, -110, bankroll=bankroll)
        given = (PATTERN * 3)[:minutes]
        answer = client.quote(given, asked, game_id=game_id, horizon=FINAL, **teams)
        return answer.markets[0]

    assert quoted(5.5, -110, game_id="").recording == MarketRecording.MARKET_RECORDING_WHAT_IF
    mismatched = quoted(5.5, 2.60)
    assert mismatched.warnings[-1].reason == WARNING_REASON_ODDS_MISMATCHED
    assert (mismatched.stake, mismatched.recording) == (0.0, MarketRecording.MARKET_RECORDING_ODDS_MISMATCHED)
    first = quoted(5.5, -110)
    again = quoted(5.5, -110, bankroll=500.0)
    second = quoted(6.5, -110)
    assert first.recording == again.recording == MarketRecording.MARKET_RECORDING_RECORDED
    assert second.recording == MarketRecording.MARKET_RECORDING_EARLIER_STANDS
    recorded = client.get_prediction(game, horizon=FINAL).prediction
    [kept] = recorded.markets
    assert (kept.market.line, kept.answer) == (5.5, first)
    assert second.standing_market == kept.market
    assert not first.HasField("standing_market")
    for minutes in (17, 24):
        client.predict((PATTERN * 3)[:minutes], game_id=game, horizon=FINAL, **teams)
    assert quoted(5.5, -110, 17).recording == MarketRecording.MARKET_RECORDING_FORECAST_LATE
    assert quoted(5.5, -110, 18).recording == MarketRecording.MARKET_RECORDING_RECORDED
    client.report_outcome(game, 11, horizon=FINAL, **teams)
    assert quoted(5.5, -110, 24).recording == MarketRecording.MARKET_RECORDING_OUTCOME_KNOWN
    assert quoted(6.5, -110, 18).recording == MarketRecording.MARKET_RECORDING_EARLIER_STANDS
    listed = list(client.list_predictions(game_id=game))
    assert [each.forecast.elapsed_minutes for each in listed if each.markets] == [18]
