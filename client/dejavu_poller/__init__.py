"""Live poller: watches the scoreboard, forecasts every minute of each game in time and reports the outcomes.

Each turn starts one read of the scoreboard and one of the plays of every live game. A slow source misses only its own
turns. Each read rebuilds everything from all plays. One call forecasts halftime and the final from the newest completed
minute; if a correction changes the pattern of that minute, the forecast is revised. Forecasts of older minutes are
kept, and minutes that passed unseen are reported as missed and never forecast later (docs/decisions/0021). The ledger
stores one forecast per pattern: after a restart, or for a second poller, the server returns the stored one. The poller
loads earlier forecasts from the track record, and reports the outcome of each half and each game to it once known. It
never forecasts from a stale read (docs/decisions/0021) and never requests what the model does not support. With an
`election` only one of several pollers works, and the others wait (docs/decisions/0047).

The package is public: your program can watch an evening as `dejavu poll` does.

```python
import asyncio

from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_poller import Poller, Prediction
from dejavu_feed.nba import NbaFeed


def announce(prediction: Prediction) -> None:
    game, forecast = prediction.game, prediction.forecast
    moment = "end" if forecast.horizon == FINAL else "half"
    print(f"{game.away} @ {game.home}: {forecast.point_forecast:+.1f} at the {moment}, sequence {forecast.sequence}")


async def main() -> None:
    with NbaFeed() as feed:
        async with AsyncDejavuClient("127.0.0.1:50051") as client:
            async with Poller(feed, client, on_prediction=[announce]) as poller:
                await poller.run(until_final=True)


asyncio.run(main())
```
"""

from __future__ import annotations

from dejavu_feed.nba.live_feed import Feed
from dejavu_poller.events import (
    Event,
    Fault,
    FaultKind,
    ForecastMissed,
    GameChanged,
    GameSkipped,
    HorizonClosed,
    HorizonResult,
    LeadershipChanged,
    MinuteForecast,
    ModelLimits,
    OutcomeReported,
    Prediction,
    RatingsOutdated,
)
from dejavu_poller.horizons import HorizonState
from dejavu_poller.leadership import LeaderElection, LeaderRole, Leadership, lease_name
from dejavu_poller.poller import DEFAULT_END_INTERVAL, DEFAULT_INTERVAL, Callback, Poller
from dejavu_poller.summary import HorizonSummary, Summary
from dejavu_poller.watched_game import WatchedGame

__all__ = [
    "DEFAULT_END_INTERVAL",
    "DEFAULT_INTERVAL",
    "Callback",
    "Event",
    "Fault",
    "FaultKind",
    "Feed",
    "ForecastMissed",
    "GameChanged",
    "GameSkipped",
    "HorizonClosed",
    "HorizonResult",
    "HorizonState",
    "HorizonSummary",
    "LeaderElection",
    "LeaderRole",
    "Leadership",
    "LeadershipChanged",
    "MinuteForecast",
    "ModelLimits",
    "OutcomeReported",
    "Poller",
    "Prediction",
    "RatingsOutdated",
    "Summary",
    "WatchedGame",
    "lease_name",
]
