"""Markets and risk assessments of a worker with the shipped bundle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
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
    MARKET_SIDE_OVER,
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


@pytest.mark.parametrize(
    ("horizon", "spread", "points", "own"),
    [
        (FINAL, 5.5, 221.5, True),
        (FINAL, 8.5, 224.5, False),
        (HALFTIME, 3.0, 110.5, True),
        (HALFTIME, 9.5, 118.5, False),
    ],
)
def test_a_bet_on_about_the_line_that_made_the_forecast_has_no_stake_and_says_why(
    client: DejavuClient, horizon: Horizon.ValueType, spread: float, points: float, own: bool
) -> None:
    given: Any = {"horizon": horizon, "pregame_margin": 5.5, "pregame_total": 221.5}
    pattern = [*PATTERN[:11], 3.0]  # odd, as the points
    asked = (market(spread, 1.5, 2.9), total_market(points, 1.55, 2.6))
    answer = client.quote(pattern, *asked, total_points=63, **given)
    assert [each.kind for each in answer.markets] == [MARKET_KIND_LEAD, MARKET_KIND_TOTAL]
    for evaluated in answer.markets:
        assert (WARNING_REASON_MARKETS_OWN_LINE in {each.reason for each in evaluated.warnings}) is own
        assert evaluated.stake == 0 or not own
    assert answer.forecast.margin_source == MARGIN_SOURCE_CALLER
    assert answer.forecast.pregame_total == 221.5


def test_the_first_market_of_each_kind_is_recorded_and_settled_by_the_lead_or_the_points(
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
    won = 1.5 * of_lead.above.stake_fraction
    assert (told.settlement.market_result, told.settlement.market_profit) == (MARKET_RESULT_WON, won)
    assert client.get_scorecard(horizon=FINAL, game_id=game).market.markets == 1  # that of the lead
    client.report_outcome(game, 10, horizon=FINAL, home_team="BKN", away_team="GSW")
    assert client.get_prediction(game, horizon=FINAL).prediction.settlement.market_result == MARKET_RESULT_LOST
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
    assert card.profit == pytest.approx(won - stake)
    assert card.notice == of_lead.notice == of_total.notice == "not shown to be better than the market"


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
