"""Twelve games on a real server: forecasts with hindsight change no figure of its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.builders.calls import current_game
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import running_worker, settings_in

from dejavu.v1.forecast_pb2 import LATE_REASON_LATER_MINUTE, LATE_REASON_UNSPECIFIED
from dejavu.v1.scorecard_pb2 import LeftOut, Scorecard
from dejavu_client import FINAL, AsyncDejavuClient, DejavuClient
from dejavu_client.requests import market, predict_request
from dejavu_server.ledger import verify
from dejavu_server.worker.worker import Worker
from dejavu_store.registry import Registry

GAMES = [current_game(number) for number in range(1, 13)]
RESULT = 14
"""Every game is led by 3 until its last minute and then won by 14."""


EVEN: Any = {"horizon": FINAL, "pregame_margin": 0.0}
"""A margin, without which no market has a stake."""


def played(client: DejavuClient, *, attacked: bool) -> Scorecard:
    """Play the evening, and return the scorecard."""
    for game_id in GAMES:
        for minute in (3, 6, 20, 47):
            if minute != 3:
                client.quote([3.0] * minute, market(9.5, 1.9, 1.95), game_id=game_id, **EVEN)
        corrected = client.predict([*[3.0] * 46, 4.0], game_id=game_id, **EVEN)
        assert (corrected.revision, corrected.late) == (1, LATE_REASON_UNSPECIFIED), "an honest correction counts"
        if attacked:
            better = client.predict([*[3.0] * 5, float(RESULT)], game_id=game_id, **EVEN)
            first = client.predict([3.0] * 3, game_id=game_id, horizon=FINAL, pregame_margin=float(RESULT))
            quoted = client.quote([3.0] * 20, market(2.5, 8.0, 1.05), game_id=game_id, **EVEN)
            other = client.quote([9.0] * 20, market(2.5, 8.0, 1.05), game_id=game_id, **EVEN)
            assert {each.late for each in (better, first, other.forecast)} == {LATE_REASON_LATER_MINUTE}
            assert quoted.markets
            assert quoted.forecast.late == LATE_REASON_UNSPECIFIED, "said in time; only the bet is not"
        client.report_outcome(game_id, RESULT, horizon=FINAL)
    return client.get_scorecard(horizon=FINAL)


def test_hindsight_on_twelve_games_leaves_error_brier_and_bets_as_they_were(tmp_path: Path) -> None:
    cards = []
    for attacked in (False, True):
        folder = tmp_path / f"{attacked}"
        folder.mkdir()
        with running_worker(folder, EveryMinuteForecaster()) as address, DejavuClient(address, timeout=30.0) as client:
            cards.append(played(client, attacked=attacked))
            late = [each.forecast.late for each in client.list_predictions(include_superseded=True)]
            standing = client.get_prediction(GAMES[0], horizon=FINAL, elapsed_minutes=6)
            assert list(standing.prediction.pattern) == [3.0] * 6
        assert late.count(LATE_REASON_LATER_MINUTE) == 36 * attacked
        verify(ledger_url(folder))
    honest, attacked_card = cards
    assert attacked_card.left_out == LeftOut(superseded=12, later_minute=36)
    attacked_card.ClearField("left_out")
    honest.ClearField("left_out")
    assert attacked_card == honest


async def test_a_game_takes_as_many_forecasts_as_the_setting_says_and_others_go_on(tmp_path: Path) -> None:
    settings, registry = settings_in(tmp_path, max_game_forecasts=100), Registry([EveryMinuteForecaster()])
    async with Worker(settings, registry=registry) as worker, AsyncDejavuClient(worker.address) as client:
        many = [
            predict_request([3.0] * 20, game_id=GAMES[0], horizon=FINAL, pregame_margin=number / 8)
            for number in range(101)
        ]
        results = await client.predict_batch(many)
        assert [result.WhichOneof("result") for result in results] == ["forecast"] * 100 + ["error"]
        assert results[100].error.reason == "GAME_FULL"
        assert (await client.predict([3.0] * 20, game_id=GAMES[0], horizon=FINAL, pregame_margin=0.0)).sequence == 1
        assert (await client.predict([3.0] * 20, game_id=GAMES[1], horizon=FINAL)).sequence == 101
        assert not (await client.predict([3.0] * 21, horizon=FINAL)).sequence
