"""States of games."""

from __future__ import annotations

from typing import Any

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_common.clock import utc_now


def close_game(game_id: str, **fields: Any) -> Game:
    """Return the state of a close game in the fourth quarter, read now, unless the fields say otherwise."""
    values: dict[str, Any] = {
        "home_team": "BOS",
        "away_team": "NYK",
        "status": GameStatus.GAME_STATUS_LIVE,
        "home_score": 101,
        "away_score": 99,
        "period": 4,
        "seconds_left": 252.0,
        "observed_time": utc_now(),
    }
    return Game(game_id=game_id, **(values | fields))
