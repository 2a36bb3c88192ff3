"""Stakes of a worker with the shipped bundle: shrunk towards the market's probability, and capped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import running_worker

from dejavu.v1.market_pb2 import MARKET_SIDE_UNSPECIFIED
from dejavu_client import FINAL, DejavuClient
from dejavu_client.requests import market, total_market
from dejavu_server.ledger import verify

NOTICE = "not shown to be better than the market"
DEAR = (2.0, 1.9)
"""Prices of a line at which the model sees an edge for the home side that is worth more than the cap of a game."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[DejavuClient]:
    with (
        running_worker(folder, shipped=True, adaptive="shadow", max_difference=1.0) as address,
        DejavuClient(address, timeout=30.0) as client,
    ):
        yield client


def test_a_bet_on_total_points_is_answered_with_the_notice(client: DejavuClient) -> None:
    over = total_market(150.5, 1.95, 1.95, bankroll=500.0)
    answer = client.quote(PATTERN, over, horizon=FINAL, total_points=105).markets[0]
    assert (answer.side, answer.notice) == (MARKET_SIDE_UNSPECIFIED, NOTICE)


def test_bets_of_the_record_keep_the_caps_and_are_computed_again(client: DejavuClient, folder: Path) -> None:
    """Formerly, thirty bets on a game that did not state earlier stakes staked up to thirty times its cap."""
    games = [current_game(number) for number in range(4)]
    told = []
    for game in games:
        for minute in range(10, 19):
            given = market(0, *DEAR, bankroll=1000.0, game_staked=5.0 if minute == 18 else None)
            pattern = [*PATTERN, *PATTERN][:minute]
            answer = client.quote(pattern, given, game_id=game, horizon=FINAL, pregame_margin=-2.5).markets[0]
            recorded = client.get_prediction(game, horizon=FINAL).prediction
            assert recorded.markets[0].answer == answer
            assert recorded.markets[0].market.game_staked == given.game_staked
            told.append(answer.above.stake_fraction)
        client.report_outcome(game, 5, horizon=FINAL)
    assert sum(told) > 0.08
    of_game = client.get_scorecard(horizon=FINAL, game_id=games[0]).market
    assert of_game.staked == pytest.approx(0.02)
    assert (of_game.markets, of_game.bets + of_game.capped >= 9) == (9, True)
    of_all = client.get_scorecard(horizon=FINAL).market
    assert of_all.staked == pytest.approx(0.05)
    assert of_all.notice == NOTICE
    assert of_all.profit == pytest.approx(0.05)  # won at 2.0
    assert verify(ledger_url(folder)).markets == 36
