from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_common.clock import utc_now
from dejavu_server.streaming.games_in_play import GameNotInPlay, PublishedGames

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
