"""What was forecast of a game before this poller began, by the record: one restarted in mid-game goes on from it."""

from __future__ import annotations

from typing import Final

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.poller.events import MinuteForecast
from dejavu_client.poller.predictor import PredictionClient

MAX_ATTEMPTS: Final = 5
"""How many times the record is asked for a game's forecasts, as long as it gives no answer."""
_ALPHA: Final = 0.05
"""The miscoverage rate that a server forecasts with unless it is asked otherwise, which a poller never does."""
_PAGE: Final = 200
"""More than a poller has made of any game: one page is all."""


async def load_recorded(
    client: PredictionClient, game_id: str, model_version: str
) -> dict[Horizon.ValueType, dict[int, MinuteForecast]]:
    """The forecasts that a poller made of a game, or could have made: the newest of each horizon and minute.

    Args:
        client: who keeps the record.
        game_id: which game.
        model_version: whose forecasts.

    Raises:
        DejavuClientError: if there is no answer.
    """
    made: dict[Horizon.ValueType, dict[int, MinuteForecast]] = {}
    async for each in client.list_predictions(page_size=_PAGE, game_id=game_id, model_version=model_version):
        forecast, pattern = each.forecast, tuple(map(round, each.pattern))
        # Somebody may have asked about that game on his own: with another interval, or about half points.
        if each.superseded or forecast.alpha != _ALPHA or not pattern or pattern != tuple(each.pattern):
            continue
        made.setdefault(forecast.horizon, {}).setdefault(
            len(pattern), MinuteForecast(pattern, forecast)
        )  # the newest is first
    return made
