"""Loads a game's recorded forecasts, so that a poller restarted in mid-game continues from them."""

from __future__ import annotations

from typing import Final

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.poller.events import MinuteForecast
from dejavu_client.poller.predictor import PredictionClient

MAX_ATTEMPTS: Final = 5
"""Attempts to load a game's forecasts while the server does not answer."""
_ALPHA: Final = 0.05
"""The server's default miscoverage rate, which a poller always uses."""
_PAGE: Final = 200
"""Page size; more than a poller's forecasts of any game, so that one page is enough."""


async def load_recorded(
    client: PredictionClient, game_id: str, model_version: str
) -> dict[Horizon.ValueType, dict[int, MinuteForecast]]:
    """Returns the forecasts of a game that a poller made or could have made: the newest of each horizon and minute.

    Args:
        client: reads the track record.
        game_id: id of the game.
        model_version: version of the model that made the forecasts.

    Raises:
        DejavuClientError: if the server does not answer.
    """
    recorded: dict[Horizon.ValueType, dict[int, MinuteForecast]] = {}
    async for each in client.list_predictions(page_size=_PAGE, game_id=game_id, model_version=model_version):
        forecast, pattern = each.forecast, tuple(map(round, each.pattern))
        # Skip what other clients requested: another interval, or half points.
        if each.superseded or forecast.alpha != _ALPHA or not pattern or pattern != tuple(each.pattern):
            continue
        recorded.setdefault(forecast.horizon, {}).setdefault(
            len(pattern), MinuteForecast(pattern, forecast)
        )  # the newest is first
    return recorded
