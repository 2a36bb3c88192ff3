"""A game takes a limited number of forecasts."""

from __future__ import annotations

from pathlib import Path

from tests.support.builders.calls import current_game
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.processes.servers import async_worker

from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_client.requests import predict_request

GAMES = current_game(1), current_game(2)


async def test_a_game_takes_as_many_forecasts_as_the_setting_says_and_others_go_on(tmp_path: Path) -> None:
    async with (
        async_worker(tmp_path, EveryMinuteForecaster(), max_game_forecasts=100) as worker,
        AsyncDejavuClient(worker.address) as client,
    ):
        many = [
            predict_request([3.0] * 20, game_id=GAMES[0], horizon=FINAL, pregame_margin=number / 8)
            for number in range(101)
        ]
        results = await client.predict_batch(many)
        assert [result.WhichOneof("result") for result in results] == ["forecast"] * 100 + ["error"]
        assert results[100].error.reason == "GAME_FULL"
        assert (
            await client.predict([3.0] * 20, game_id=GAMES[0], horizon=FINAL, pregame_margin=99 / 8)
        ).sequence == 100
        assert (await client.predict([3.0] * 20, game_id=GAMES[1], horizon=FINAL)).sequence == 101
        assert not (await client.predict([3.0] * 21, horizon=FINAL)).sequence
