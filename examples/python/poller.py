"""Watches tonight's games, has half and end forecast after every minute of play, and tells how it came out.

python examples/python/poller.py       (the server: DEJAVU_TARGET, by default 127.0.0.1:50051;
                                        the feed: DEJAVU_FEED_URL, by default the NBA's)

On a day without games: `dejavu replay --speed 60`, DEJAVU_FEED_URL=http://127.0.0.1:8008 and DEJAVU_POLL_SECONDS=1.
Needs the extra live.
"""

import asyncio
import os

from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_client.poller import Event, HorizonResult, Poller, Prediction
from dejavu_feed.nba import NBA_URL, NbaFeed

SECONDS = float(os.environ.get("DEJAVU_POLL_SECONDS", "10"))
"""Between two reads of the feed; faster than life wants fewer."""


def moment(horizon: int) -> str:
    """What a horizon is called."""
    return "end" if horizon == FINAL else "half"


def announce(prediction: Prediction) -> None:
    """Called with each forecast, corrections included."""
    game, forecast = prediction.game, prediction.forecast
    chance = f"{game.home} {'wins' if forecast.horizon == FINAL else 'leads'} with {forecast.home_lead_probability:.0%}"
    about = f"{game.away} @ {game.home}, minute {forecast.elapsed_minutes}"
    print(f"{about}: {forecast.point_forecast:+.1f} at the {moment(forecast.horizon)}, {chance}", flush=True)


async def settle(event: Event) -> None:
    """Called with whatever else happens; may be a coroutine."""
    if isinstance(event, HorizonResult):
        game = event.game
        print(f"{game.away} @ {game.home}: {event.differential:+d} it was at the {moment(event.horizon)}", flush=True)


async def main() -> None:
    """Runs until all games of the evening are final."""
    with NbaFeed(os.environ.get("DEJAVU_FEED_URL", NBA_URL)) as feed:
        async with (
            AsyncDejavuClient(os.environ.get("DEJAVU_TARGET", "127.0.0.1:50051")) as client,
            Poller(feed, client, interval=SECONDS, on_prediction=[announce], on_event=[settle]) as poller,
        ):
            await poller.run(until_final=True)


if __name__ == "__main__":
    asyncio.run(main())
