"""A quote never contradicts the recorded forecast that it is sent with, or says why it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.servers import async_worker

from dejavu.v1 import forecast_pb2
from dejavu.v1.prediction_service_pb2 import PredictResponse
from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_client.requests import market
from dejavu_server.ledger import verify

ODDS = market(0, -450, 350, bankroll=1000.0)
"""On the winner: the home team, which leads by 11, is the favorite."""
GAME = "0022300102"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncDejavuClient]:
    async with (
        async_worker(tmp_path, shipped=True) as worker,
        AsyncDejavuClient(worker.address, timeout=30.0) as client,
    ):
        yield client


async def quoted(
    client: AsyncDejavuClient, game_id: str, home_team: str = "BOS", away_team: str = "LAL"
) -> PredictResponse:
    return await client.quote(PATTERN, ODDS, game_id=game_id, horizon=FINAL, home_team=home_team, away_team=away_team)


async def test_a_quote_without_a_date_is_weighed_by_the_forecast_recorded_with_one(
    client: AsyncDejavuClient, tmp_path: Path
) -> None:
    recorded = await client.predict(
        PATTERN, game_id=GAME, horizon=FINAL, home_team="BOS", away_team="LAL", game_date="2023-11-01"
    )
    assert recorded.HasField("expected_margin")
    answer = await quoted(client, GAME)
    assert answer.forecast == recorded
    assert answer.market.home.win_probability == pytest.approx(recorded.home_lead_probability, abs=1e-6)
    assert not answer.market.warnings
    [listed] = [each async for each in client.list_predictions()]
    assert listed.market_answer == answer.market
    assert verify(f"sqlite:///{tmp_path}/ledger.sqlite3").markets == 1


async def test_a_quote_weighed_by_newer_ratings_says_so_with_both_probabilities(
    client: AsyncDejavuClient, tmp_path: Path
) -> None:
    game = current_game(9)
    recorded = await client.predict(PATTERN, game_id=game, horizon=FINAL, home_team="BOS", away_team="LAL")
    assert not recorded.HasField("expected_margin")
    report = await client.report_outcome(current_game(1), 30, horizon=FINAL, home_team="BOS", away_team="LAL")
    async with asyncio.timeout(20):
        while (forecast := await client.predict(PATTERN)).calibration_sequence < report.outcome.sequence:
            assert forecast.calibration_sequence == 0
            await asyncio.sleep(0.05)
    answer = await quoted(client, game)
    assert answer.forecast == recorded
    [warning] = answer.market.warnings
    assert warning.reason == forecast_pb2.WARNING_REASON_RECOMPUTED
    wins = answer.market.home.win_probability
    assert abs(wins - recorded.home_lead_probability) > 0.01
    assert f"gives {100 * recorded.home_lead_probability:.1f} % that BOS wins" in warning.text
    assert f"weighs this market {100 * wins:.1f} %" in warning.text
    assert verify(f"sqlite:///{tmp_path}/ledger.sqlite3").markets == 1
