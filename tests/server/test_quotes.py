"""Quotes of a worker with the shipped bundle: what is recorded and settled, and what is said of it.

A quote never contradicts the recorded forecast that it is sent with, or says why it does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.learning import learned
from tests.support.processes.postgres import ledger_url

from dejavu.v1 import forecast_pb2
from dejavu.v1.market_pb2 import (
    MARKET_RECORDING_EARLIER_STANDS,
    MARKET_RECORDING_NO_PRICES,
    MARKET_RECORDING_ODDS_MISMATCHED,
    MARKET_RECORDING_RECORDED,
    MARKET_RECORDING_WHAT_IF,
    MARKET_SIDE_OVER,
    MarketAnswer,
)
from dejavu.v1.record_pb2 import MARKET_RESULT_LOST, MARKET_RESULT_WON
from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_client.requests import market, total_market
from dejavu_ledger import verify

NAMED: Any = {"home_team": "BOS", "away_team": "LAL"}
GAME = current_game(9)
OF_GAME: Any = {"game_id": GAME, "horizon": FINAL, **NAMED}


async def test_what_newer_ratings_give_for_a_recorded_forecast_says_so(client: AsyncDejavuClient) -> None:
    """Otherwise quantiles and bets would contradict the forecast beside them without a word."""
    of_game: Any = {**OF_GAME, "total_points": 105}
    recorded = await client.predict(PATTERN, **of_game)
    assert recorded.HasField("total")
    await learned(client, current_game(1), 30, home_team="BOS", away_team="LAL", total_points=300)
    over = total_market(round(recorded.total.point_forecast) + 0.5, 1.95, 1.95)
    winner = market(0, -450, 350, bankroll=1000.0)  # the home team, which leads by 11, is the favorite
    answer = await client.quote(PATTERN, winner, over, quantile_levels=[0.5], **of_game)
    reasons = [
        warning.reason
        for warnings in (answer.forecast.warnings, *(each.warnings for each in answer.markets))
        for warning in warnings
    ]
    assert reasons.count(forecast_pb2.WARNING_REASON_RECOMPUTED) == 4
    assert abs(answer.markets[0].above.win_probability - recorded.home_lead_probability) > 0.01
    again = await client.predict(PATTERN, **of_game)
    assert again == recorded, "without quantiles and odds nothing is computed again"


async def test_the_first_market_of_each_kind_is_recorded_and_settled_by_the_lead_or_the_points(
    client: AsyncDejavuClient,
) -> None:
    game = current_game(778)
    asked: Any = {"game_id": game, "horizon": FINAL, "pregame_margin": 4.0, "pregame_total": 200.5, "total_points": 105}

    async def settled(differential: int, total_points: int | None = None) -> Any:
        teams: Any = {"home_team": "BKN", "away_team": "GSW", "total_points": total_points}
        await client.report_outcome(game, differential, horizon=FINAL, **teams)
        return (await client.get_prediction(game, horizon=FINAL)).prediction

    over = (await client.predict(PATTERN, **asked)).total.point_forecast // 1 - 0.5
    lead = market(10.5, 2.5, 1.5)
    of_total, of_lead = (await client.quote(PATTERN, total_market(over, 140, -165), lead, **asked)).markets
    [second] = (await client.quote(PATTERN, total_market(over, 2.0, 1.9), **asked)).markets
    assert of_total.side == MARKET_SIDE_OVER
    assert of_total.lead_staked == of_lead.above.stake_fraction > 0.0
    assert [of_total.recording, second.recording] == [MARKET_RECORDING_RECORDED, MARKET_RECORDING_EARLIER_STANDS]
    assert second.standing_market.above.american == 140
    told = (await settled(11)).settlement
    assert not told.HasField("total")
    won = 1.5 * of_lead.above.stake_fraction
    assert (told.market_result, told.market_profit) == (MARKET_RESULT_WON, won)
    assert (await settled(10)).settlement.market_result == MARKET_RESULT_LOST
    recorded = await settled(11, total_points=int(over - 1) // 2 * 2 + 1)  # odd, as the differential
    assert [each.answer for each in recorded.markets] == [of_lead, of_total], "whatever the order of the request"
    of_points = recorded.settlement.total
    stake = of_total.above.stake_fraction
    assert (of_points.market_result, of_points.market_profit) == (MARKET_RESULT_LOST, -stake)
    card = (await client.get_scorecard(horizon=FINAL, game_id=game)).market
    assert (card.markets, card.bets, card.games) == (2, 2, 1)
    assert card.profit == pytest.approx(won - stake)
    assert card.notice == of_lead.notice == of_total.notice == "not shown to be better than the market"


async def test_the_first_market_with_prices_that_belong_together_is_recorded(
    client: AsyncDejavuClient, tmp_path: Path
) -> None:
    async def quoted(*prices: float, game_id: str = GAME, **options: Any) -> MarketAnswer:
        asked = market(5.5, *prices, **options)
        [answered] = (await client.quote(PATTERN, asked, **{**OF_GAME, "game_id": game_id})).markets
        return answered

    what_if, unpriced, mismatched = await quoted(-110, -110, game_id=""), await quoted(), await quoted(2.60, -110)
    first, again, second = await quoted(-110, -110), await quoted(-110, -110, bankroll=500.0), await quoted(-120, 100)
    assert [each.recording for each in (what_if, unpriced, mismatched, first, again, second)] == [
        MARKET_RECORDING_WHAT_IF,
        MARKET_RECORDING_NO_PRICES,
        MARKET_RECORDING_ODDS_MISMATCHED,
        MARKET_RECORDING_RECORDED,
        MARKET_RECORDING_RECORDED,
        MARKET_RECORDING_EARLIER_STANDS,
    ]
    assert unpriced.above.win_probability == first.above.win_probability
    assert (unpriced.HasField("overround"), unpriced.stake, mismatched.stake) == (False, 0.0, 0.0)
    [kept] = (await client.get_prediction(GAME, horizon=FINAL)).prediction.markets
    assert kept.answer == first
    assert second.standing_market == kept.market
    assert not first.HasField("standing_market")
    assert verify(ledger_url(tmp_path)).markets == 1
