"""Polls tonight's games, forecasts the half and the end after every minute of play, and prints the outcomes.

python examples/python/poller.py       (server: DEJAVU_TARGET, default 127.0.0.1:50051;
                                        feed: DEJAVU_FEED_URL, default the NBA's live feed)

On a day without games run `dejavu replay --speed 60` and set DEJAVU_FEED_URL=http://127.0.0.1:8008 and
DEJAVU_POLL_SECONDS=1. Requires the extra `live`.
"""

import asyncio
import os

from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_feed.nba import NBA_URL, NbaFeed
from dejavu_poller import Event, HorizonResult, Poller, Prediction

SECONDS = float(os.environ.get("DEJAVU_POLL_SECONDS", "10"))
"""Seconds between two polls of the feed; use fewer for a replay faster than real time."""


def horizon_name(horizon: int) -> str:
    """Return the name of a horizon."""
    return "end" if horizon == FINAL else "half"


def announce(prediction: Prediction) -> None:
    """Handle a forecast; also called for corrections."""
    game, forecast = prediction.game, prediction.forecast
    chance = f"{game.home} {'wins' if forecast.horizon == FINAL else 'leads'} with {forecast.home_lead_probability:.0%}"
    about = f"{game.away} @ {game.home}, minute {forecast.elapsed_minutes}"
    print(f"{about}: {forecast.point_forecast:+.1f} at the {horizon_name(forecast.horizon)}, {chance}", flush=True)


async def settle(event: Event) -> None:
    """Handle all other events; may be a coroutine."""
    if isinstance(event, HorizonResult):
        game = event.game
        print(
            f"{game.away} @ {game.home}: outcome {event.differential:+d} at the {horizon_name(event.horizon)}",
            flush=True,
        )


async def main() -> None:
    """Run until all games of the evening are final."""
    with NbaFeed(os.environ.get("DEJAVU_FEED_URL", NBA_URL)) as feed:
        async with (
            AsyncDejavuClient(os.environ.get("DEJAVU_TARGET", "127.0.0.1:50051")) as client,
            Poller(feed, client, interval=SECONDS, on_prediction=[announce], on_event=[settle]) as poller,
        ):
            await poller.run(until_final=True)


if __name__ == "__main__":
    asyncio.run(main())
