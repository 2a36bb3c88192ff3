"""An edge that is too good to be true is answered and recorded without a stake."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import async_worker

from dejavu.v1 import forecast_pb2
from dejavu.v1.market_pb2 import MARKET_SIDE_HOME, MARKET_SIDE_UNSPECIFIED
from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_client.requests import market
from dejavu_server.ledger import verify

ODDS = market(0, 1.91, 1.91, bankroll=1000.0)
"""On the winner, at even odds, of a game in which the home team leads by 11."""


async def test_it_is_told_and_recorded_with_no_stake_and_markets_of_other_settings_stay_sound(tmp_path: Path) -> None:
    answers, bets = [], []
    for number, max_edge in enumerate((1.0, 0.15, 1.0)):
        async with (
            async_worker(tmp_path, shipped=True, max_edge=max_edge, adaptive="shadow") as worker,
            AsyncDejavuClient(worker.address, timeout=30.0) as client,
        ):
            game = current_game(number)
            answer = (await client.quote(PATTERN, ODDS, game_id=game, horizon=FINAL)).market
            recorded = await client.get_prediction(game, horizon=FINAL, elapsed_minutes=len(PATTERN))
            assert recorded.prediction.market_answer == answer
            answers.append(answer)
            await client.report_outcome(game, -3, horizon=FINAL)
            bets.append((await client.get_scorecard(horizon=FINAL)).market.bets)
    assert [answer.side for answer in answers] == [MARKET_SIDE_HOME, MARKET_SIDE_UNSPECIFIED, MARKET_SIDE_HOME]
    assert answers[0] == answers[2]
    unknown = forecast_pb2.WARNING_REASON_TEAMS_UNKNOWN
    assert [each.reason for each in answers[0].warnings] == [unknown]
    first, warning = answers[1].warnings
    assert first.reason == unknown
    assert warning.reason == forecast_pb2.WARNING_REASON_IMPLAUSIBLE_EDGE
    assert warning.text.startswith("more likely the model is wrong than the market")
    assert (answers[1].stake, answers[1].home.stake, answers[1].home.kelly_fraction) == (0.0, 0.0, 0.0)
    assert answers[1].home.win_probability == pytest.approx(answers[0].home.win_probability)
    assert bets == [1, 1, 2]
    verification = verify(ledger_url(tmp_path))
    assert verification.markets == 3
