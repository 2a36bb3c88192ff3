"""A real evening, from the feed to the subscriber: every forecast is what the trainer computes from the file."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from tests.support.clock import SteppedClock
from tests.support.following import following
from tests.support.servers import spawned_server

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client import AsyncDejavuClient
from dejavu_client.poll_events import Event, Missed, Outcome, Prediction
from dejavu_client.poller import Poller
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.evening import recorded_evening
from dejavu_feed.local_http import LocalServer
from dejavu_feed.nba import NbaFeed
from dejavu_feed.replay import Replay
from dejavu_models import types
from dejavu_models.registry import Registry
from dejavu_models.types import ForecastQuery, ScorePattern
from dejavu_trainer.games import Games, load_games

SEASON = 2023
HORIZONS = {HALFTIME: types.Horizon.HALFTIME, FINAL: types.Horizon.FINAL}


def busiest(games: Games) -> date:
    """The day of the season with the most games."""
    days, counts = np.unique(games.date, return_counts=True)
    found: date = days[counts.argmax()].item()
    return found


@dataclass
class Told:
    """What the poller told of an evening."""

    predictions: list[Prediction] = field(default_factory=list)
    missed: int = 0
    outcomes: dict[tuple[str, Horizon.ValueType], int] = field(default_factory=dict)

    def note(self, event: Event) -> None:
        if isinstance(event, Prediction):
            self.predictions.append(event)
        elif isinstance(event, Missed):
            self.missed += len(event.minutes)
        elif isinstance(event, Outcome):
            self.outcomes[event.game.home, event.horizon] = event.differential


@pytest.mark.real_data
async def test_a_real_evening_gives_the_forecasts_that_the_trainer_computes(data_dir: Path, tmp_path: Path) -> None:
    season = load_games(data_dir, [SEASON])
    day = busiest(season)
    evening = season.select(season.date == np.datetime64(day))
    played, left_out = recorded_evening(data_dir / "nba" / f"plays_{SEASON}.parquet", day)
    assert not left_out
    assert len(played) == len(evening) >= 10

    clock = SteppedClock()
    replay = Replay(played, stagger=600.0, now=clock)
    told = Told()
    with (
        LocalServer(replay.respond) as served,
        closing(NbaFeed(served.url)) as feed,
        spawned_server("--workers", "2", "--ledger", f"sqlite:///{tmp_path / 'ledger.sqlite3'}") as server,
    ):
        address = await asyncio.to_thread(lambda: server.address)
        async with (
            AsyncDejavuClient(address, timeout=30.0) as client,
            following(client) as follower,
            Poller(feed, client, on_event=[told.note], now=clock) as poller,
        ):
            while clock.now < replay.end:
                clock.step(60.0)
                poller.turn()
                await poller.idle()
            await follower.until({prediction.forecast.sequence for prediction in told.predictions})

    rows = {str(home): row for row, home in enumerate(evening.home)}
    model = Registry.load([], allow_unfit=True).get()
    for forecast in follower.received:
        row = rows[forecast.home_team]
        pattern = evening.differentials[row, : forecast.elapsed_minutes]
        expected = model.forecast(
            ForecastQuery(
                ScorePattern(tuple(map(float, pattern))),
                HORIZONS[forecast.horizon],
                home_team=str(evening.home[row]),
                away_team=str(evening.away[row]),
            )
        )
        assert forecast.away_team == evening.away[row]
        assert (forecast.point_forecast, forecast.interval_lower, forecast.interval_upper) == pytest.approx(
            (expected.point, expected.interval.lower, expected.interval.upper), abs=1e-4
        )
        assert forecast.home_lead_probability == pytest.approx(expected.home_lead_probability, abs=1e-3)
        assert forecast.expected_margin == pytest.approx(expected.expected_margin)
        assert forecast.explanation.baseline_prediction == pattern[-1]
    # From the sixth minute on, each once, but for those that a minute's step passed over.
    asked = Counter((each.home_team, each.horizon, each.elapsed_minutes) for each in follower.received)
    wanted = {(home, HALFTIME, minute) for home in rows for minute in range(6, 24)}
    wanted |= {(home, FINAL, minute) for home in rows for minute in range(6, 48)}
    assert asked.keys() <= wanted
    assert set(asked.values()) == {1}
    assert len(asked) + told.missed == len(wanted)
    assert told.missed < len(wanted) / 20
    assert told.outcomes == {
        (home, horizon): value
        for home, row in rows.items()
        for horizon, value in ((HALFTIME, evening.differentials[row, 23]), (FINAL, evening.final[row]))
    }
