"""Replays the end of a real game with overtime, over ends of pollers and deaths of workers."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.support.fakes.clock import SteppedClock
from tests.support.harness.real_games import real_games
from tests.support.harness.stream_recorder import following
from tests.support.processes.servers import spawned_server

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import FINAL, AsyncDejavuClient, Moment, predict_request
from dejavu_feed.moment import from_message
from dejavu_feed.nba import NbaFeed
from dejavu_feed.pattern import elapsed_seconds
from dejavu_feed.replay.games import ReplayGame, recorded_evening
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay
from dejavu_poller import Poller
from dejavu_server.ledger import verify

SEASON = 2023
OPTIONS = ("--workers", "2", "--max-ratings-days", "3650")


def overtime_game(data_dir: Path) -> ReplayGame:
    """Return the first game of the season with an overtime."""
    games = real_games(data_dir, [SEASON])
    first = int(np.flatnonzero(games.differentials[:, -1] == 0)[0])
    evening, _ = recorded_evening(data_dir / "seasons" / f"plays_{SEASON}.parquet", games.date[first].item())
    return next(game for game in evening if game.home == games.home[first])


def clock_of(made: Forecast) -> Moment:
    moment = from_message(made)
    assert moment is not None
    return moment


@pytest.mark.nightly
@pytest.mark.real_data
async def test_every_state_of_the_end_is_recorded_once_and_in_order_over_kills(data_dir: Path, tmp_path: Path) -> None:
    game = overtime_game(data_dir)
    clock = SteppedClock()
    replay = Replay([game], now=clock)
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    with (
        LocalServer(replay.respond) as served,
        closing(NbaFeed(served.url)) as feed,
        spawned_server(*OPTIONS, "--ledger", ledger) as server,
    ):
        address = await asyncio.to_thread(lambda: server.address)
        async with AsyncDejavuClient(address, timeout=60.0) as client, following(client) as follower:
            (game_id,) = replay.games

            def elapsed_seconds_now() -> float:
                live = replay.game_at(game_id, clock.now)
                state = live.timeline.clock_at(live.at)
                return elapsed_seconds(state.period, state.clock)

            async def follow(until: float) -> None:
                """Poll every few seconds, by a poller that knows nothing of the one before it."""
                async with Poller(feed, client, horizons=(FINAL,), from_minute=44, now=clock) as poller:
                    while clock.now < replay.end and elapsed_seconds_now() < until:
                        clock.step(4.0)
                        poller.turn()
                        await poller.idle()

            while elapsed_seconds_now() < 2600:
                clock.step(60.0)
            for until in (2700.0, 2860.0, 2950.0):
                await follow(until)
                server.workers[0].kill()
            await follow(np.inf)
            recorded = [each async for each in client.list_predictions(page_size=500, include_replays=True)]
            await follower.until({each.forecast.sequence for each in recorded})
            of_moments = [each for each in reversed(recorded) if each.forecast.HasField("moment")]
            made = [each.forecast for each in of_moments]
            # What is recorded is what anybody is answered for the same state.
            asked = [
                predict_request(
                    each.pattern, horizon=FINAL, home_team=game.home, away_team=game.away,
                    game_date=each.forecast.game_date, moment=clock_of(each.forecast),
                )
                for each in of_moments
            ]  # fmt: skip
            answers = [each.forecast for each in await client.predict_batch(asked)]
    assert len(made) > 20
    elapsed = [clock_of(each).elapsed for each in made]
    assert elapsed == sorted(set(elapsed)), "each second once, in the order of play"
    assert elapsed[-1] > 2880, "overtime too"
    scores = {score.elapsed: score.home - score.away for score in game.scores}
    for each in made:
        moment = clock_of(each)
        assert moment.differential == scores[max(second for second in scores if second <= moment.elapsed)]
        assert not each.late
        assert not each.HasField("explanation")
    for answer, each in zip(answers, made, strict=True):
        assert (answer.point_forecast, answer.home_lead_probability) == pytest.approx(
            (each.point_forecast, each.home_lead_probability), abs=1e-9
        )
    assert [each.sequence for each in follower.received] == sorted({each.forecast.sequence for each in recorded})
    assert verify(ledger).forecasts == len(recorded)
