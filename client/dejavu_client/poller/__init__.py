"""The live poller: watches the scoreboard, has every minute of each game forecast in time, and tells how it came out.

A turn starts one read of the scoreboard and one of the plays of every game under way; who is slow to answer only
misses turns of its own. Everything is rebuilt from all plays at each read. The newest completed minute counts: the half
and the end are forecast from it, in one call, and a correction of its pattern leads to a revision. Forecasts of older
minutes stand, and minutes that went by unseen are told as missed and not made up (docs/decisions/0021). The ledger
keeps a forecast once for the same pattern: after a restart, or to a second poller, the stored one is the answer.
What was forecast before it began, it takes from the record; what came, it reports there: each half and each game, once
it is known. Nothing is forecast from an answer of the past (docs/decisions/0015), and nothing is asked that the model
can't do.

The package is public: a program of yours can watch an evening as `dejavu poll` does.

```python
import asyncio

from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_client.poller import Poller, Prediction
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

from dejavu_client.poller.events import (
    Event,
    Fault,
    FaultKind,
    ForecastMissed,
    GameChanged,
    HorizonClosed,
    HorizonResult,
    MinuteForecast,
    ModelLimits,
    OutcomeReported,
    Prediction,
)
from dejavu_client.poller.horizons import HorizonState
from dejavu_client.poller.poller import DEFAULT_INTERVAL, Callback, Poller
from dejavu_client.poller.predictor import PredictionClient
from dejavu_client.poller.summary import HorizonSummary, Summary
from dejavu_client.poller.watched_game import WatchedGame
from dejavu_feed.nba.live_feed import Feed

Outcome = HorizonResult
"""The name that release 0.1 gave `HorizonResult`."""

__all__ = [
    "DEFAULT_INTERVAL",
    "Callback",
    "Event",
    "Fault",
    "FaultKind",
    "Feed",
    "ForecastMissed",
    "GameChanged",
    "HorizonClosed",
    "HorizonResult",
    "HorizonState",
    "HorizonSummary",
    "MinuteForecast",
    "ModelLimits",
    "Outcome",
    "OutcomeReported",
    "Poller",
    "Prediction",
    "PredictionClient",
    "Summary",
    "WatchedGame",
]
