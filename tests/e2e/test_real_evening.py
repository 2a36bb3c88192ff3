"""Replays a real evening from the feed to the record, and recomputes its forecasts from the file.

Scores follow from the record as tests/examples/test_independent_checks.py recomputes them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from tests.support.fakes.clock import SteppedClock
from tests.support.harness.real_games import disagreement, live_inputs_of, real_games
from tests.support.processes.servers import spawned_server

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client import AsyncDejavuClient
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.nba import NbaFeed
from dejavu_feed.replay.games import ReplayGame, recorded_evening
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay
from dejavu_models import types
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_poller import Poller
from dejavu_poller.events import Event, ForecastMissed, HorizonResult, OutcomeReported
from dejavu_store.bundle import load_bundle
from dejavu_store.default_bundles import served_bundle
from dejavu_trainer.data.games import Games

SEASON = 2023
RATINGS_DAYS = 3650
"""Greatest age of ratings in use: the evening is long before the last game that the bundle knows."""
OPTIONS = ("--max-ratings-days", str(RATINGS_DAYS), "--adaptive", "shadow")
HORIZONS = {HALFTIME: types.Horizon.HALFTIME, FINAL: types.Horizon.FINAL}


def busiest_evening(data_dir: Path, count: int | None) -> tuple[Games, Sequence[ReplayGame]]:
    """Return the first `count` or all games of the season's busiest day, as read by the trainer and by the replay."""
    season = real_games(data_dir, [SEASON])
    days, counts = np.unique(season.date, return_counts=True)
    day = days[counts.argmax()]
    evening = season.select(season.date == day)
    played, excluded = recorded_evening(data_dir / "seasons" / f"plays_{SEASON}.parquet", day.item())
    assert not excluded
    assert len(played) == len(evening) >= 10
    played = played[:count]
    return evening.select(np.isin(evening.home, [each.home for each in played])), played


@dataclass
class PollerEvents:
    """What a poller says of an evening."""

    missed: int = 0
    outcomes: dict[tuple[str, Horizon.ValueType], int] = field(default_factory=dict)
    reported: list[tuple[str, Horizon.ValueType, int]] = field(default_factory=list)

    def note(self, event: Event) -> None:
        if isinstance(event, ForecastMissed):
            self.missed += len(event.minutes)
        elif isinstance(event, HorizonResult):
            self.outcomes[event.game.home, event.horizon] = event.differential
        elif isinstance(event, OutcomeReported):
            self.reported.append((event.game.home, event.horizon, event.outcome.differential))


@pytest.mark.real_data
@pytest.mark.parametrize("games", [1, pytest.param(None, marks=pytest.mark.nightly)])
async def test_a_real_evening_gives_the_forecasts_that_follow_from_the_file(
    data_dir: Path, tmp_path: Path, games: int | None
) -> None:
    evening, played = busiest_evening(data_dir, games)
    clock = SteppedClock()
    replay = Replay(played, stagger=600.0, now=clock)
    polled = PollerEvents()
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with (
        LocalServer(replay.respond) as served,
        closing(NbaFeed(served.url)) as feed,
        spawned_server("--workers", "1", "--ledger", ledger, *OPTIONS) as server,
    ):
        address = await asyncio.to_thread(lambda: server.address)
        async with (
            AsyncDejavuClient(address, timeout=30.0) as client,
            Poller(feed, client, pace=0, on_event=[polled.note], now=clock) as poller,
        ):
            while clock.now < replay.end:
                clock.step(60.0)
                poller.turn()
                await poller.idle()
            cards = {each: await client.get_scorecard(horizon=each, include_replays=True) for each in HORIZONS}
            without = [await client.get_scorecard(horizon=each) for each in HORIZONS]
            recorded = [each.forecast async for each in client.list_predictions(page_size=500, include_replays=True)]
            summary = poller.summary()

    rows = {str(home): row for row, home in enumerate(evening.home)}
    model = load_bundle(served_bundle(), allow_unfit=True)
    model.max_ratings_days = RATINGS_DAYS
    actual = {HALFTIME: evening.differentials[:, 23], FINAL: evening.final}
    for forecast in recorded:
        row, minute = rows[forecast.home_team], forecast.elapsed_minutes
        pattern = evening.differentials[row, :minute]
        expected = model.forecast(
            ForecastQuery(
                ScorePattern(tuple(map(float, pattern))),
                HORIZONS[forecast.horizon],
                home_team=str(evening.home[row]),
                away_team=str(evening.away[row]),
                record=True,
                game_date=evening.date[row].item(),
                live=live_inputs_of(evening, row, minute),
            )
        )
        assert (forecast.away_team, forecast.game_date) == (evening.away[row], str(evening.date[row]))
        assert (forecast.point_forecast, forecast.interval_lower, forecast.interval_upper) == pytest.approx(
            (expected.point, expected.interval.lower, expected.interval.upper), abs=1e-4
        )
        assert forecast.home_lead_probability == pytest.approx(expected.home_lead_probability, abs=1e-3)
        assert forecast.expected_margin == pytest.approx(expected.expected_margin)
    # One forecast per minute, except those that the poller reported as missed.
    received = Counter((each.home_team, each.horizon, each.elapsed_minutes) for each in recorded)
    expected_forecasts = {(home, HALFTIME, minute) for home in rows for minute in range(1, 24)}
    expected_forecasts |= {(home, FINAL, minute) for home in rows for minute in range(1, 48)}
    assert received.keys() <= expected_forecasts
    assert set(received.values()) == {1}
    assert len(received) + polled.missed == len(expected_forecasts)
    assert polled.missed < len(expected_forecasts) / 20
    results = {(home, horizon): int(actual[horizon][row]) for home, row in rows.items() for horizon in HORIZONS}
    assert polled.outcomes == results
    assert sorted(polled.reported) == sorted((*key, value) for key, value in results.items()), "each once"
    assert not disagreement(summary, cards)
    assert [card.games for card in without] == [0, 0], "it was a replay"
