from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_common.clock import microseconds, utc_now
from dejavu_server.coordination.games import GameRow
from dejavu_server.streaming.games_in_play import GameNotInPlay, GamesInPlay, PublishedGames

GAME = "0022600001"


@pytest.mark.parametrize(
    ("state", "age", "latest"),
    [
        ({"period": 2, "seconds_left": 360.0}, 0.0, 1080.0 + 20.0),
        ({"period": 2, "seconds_left": 360.0}, 15.0, 1080.0 + 35.0),
        # The feed may be silent for minutes, in which the game may stand.
        ({"period": 2, "seconds_left": 360.0}, 300.0, 1080.0 + 80.0),
        # Whoever forecast the third quarter during the break would make the real forecasts of its beginning late.
        ({"period": 2, "seconds_left": 15.0}, 0.0, 1440.0),
        ({"period": 2, "seconds_left": 0.0}, 300.0, 1440.0),
        ({"period": 5, "seconds_left": 10.0}, 10.0, 3180.0),
        # A clock that is not known is that of the period's beginning.
        ({"period": 4}, 0.0, 2160.0 + 20.0),
        ({}, 0.0, 20.0),
        ({"period": 5}, 0.0, 2880.0 + 20.0),
    ],
)
def test_a_forecast_is_hardly_ahead_of_its_game(state: dict[str, Any], age: float, latest: float) -> None:
    now = utc_now()
    shown = Game(game_id=GAME, status=GameStatus.GAME_STATUS_LIVE, **state)
    shown.observed_time.FromDatetime(now - timedelta(seconds=age))
    published = PublishedGames({GAME: shown})
    published.check(GAME, latest - 0.1, now)
    with pytest.raises(GameNotInPlay, match="minutes old"):
        published.check(GAME, latest + 0.1, now)


async def test_what_is_not_in_play_is_refused_once_states_of_real_games_are_published() -> None:
    now, replay = utc_now(), "9900000001"
    coming = Game(game_id=GAME, status=GameStatus.GAME_STATUS_SCHEDULED)
    row = GameRow(GAME, coming.SerializeToString(), 1, microseconds(now), "")

    async def published(*rows: GameRow) -> PublishedGames:
        async def states() -> list[GameRow]:
            return [*rows]

        return await GamesInPlay(states).published()

    for nothing in (await published(), await published(replace(row, game_id=replay))):
        nothing.check(GAME, 1080.0, now)
    known = await published(row)
    known.check(replay, 1080.0, now)
    for game_id, fault in ((GAME, "has not begun"), ("0022600002", "is not known")):
        with pytest.raises(GameNotInPlay, match=fault):
            known.check(game_id, 1080.0, now)
