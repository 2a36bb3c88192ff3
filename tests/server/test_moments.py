"""Forecasts at moments over a real connection: alone, in batches and from the cache, and recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.builders.calls import current_game
from tests.support.processes.servers import async_worker

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import FINAL, AsyncDejavuClient, Moment, Possession, Side, predict_request
from dejavu_client.errors import InvalidArgumentError
from dejavu_store.registry import Registry

PATTERN = [2.0] * 47


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncDejavuClient]:
    async with (
        async_worker(tmp_path, Registry.load([]).get()) as worker,
        AsyncDejavuClient(worker.address, timeout=30.0) as client,
    ):
        yield client


def numbers(made: Forecast) -> tuple[float, ...]:
    return (made.point_forecast, made.interval_lower, made.interval_upper, made.home_lead_probability)


async def test_every_moment_has_an_answer_of_its_own(client: AsyncDejavuClient) -> None:
    moments = [Moment(4, left, lead) for left in (42.5, 42.0, 1.0) for lead in (-3, 0, 3)] + [Moment(5, 100.0, 1)]
    alone = [await client.predict(PATTERN, horizon=FINAL, moment=moment) for moment in moments]
    again = [await client.predict(PATTERN, horizon=FINAL, moment=moment) for moment in moments]
    assert [numbers(each) for each in again] == [numbers(each) for each in alone]
    batch = await client.predict_batch([predict_request(PATTERN, horizon=FINAL, moment=moment) for moment in moments])
    assert [numbers(each.forecast) for each in batch] == [numbers(each) for each in alone]
    assert len({numbers(each) for each in alone}) == len(moments)
    for moment, made in zip(moments, alone, strict=True):
        assert (made.moment.period, made.moment.seconds_left) == (moment.period, moment.seconds_left)
        assert made.moment.differential == moment.differential
        assert made.elapsed_minutes == 47
        assert not made.HasField("total")


async def test_possession_and_free_throws_count_at_a_moment(client: AsyncDejavuClient) -> None:
    moment = Moment(4, 8.0, -1)
    own, other, unknown = [
        (await client.predict(PATTERN, horizon=FINAL, moment=moment, possession=ball)).home_lead_probability
        for ball in (Possession(Side.HOME), Possession(Side.AWAY), None)
    ]
    assert other < unknown < own
    ball, shots = Possession(Side.HOME), Moment(4, 8.0, -1, 2)
    made = await client.predict(PATTERN, horizon=FINAL, moment=shots, possession=ball)
    assert made.home_lead_probability > own
    assert made.moment.free_throws == 2
    with pytest.raises(InvalidArgumentError, match=r"moment\.free_throws"):
        await client.predict(PATTERN, horizon=FINAL, moment=shots)


async def test_a_named_moment_is_recorded_listed_and_settled(client: AsyncDejavuClient) -> None:
    game = current_game(23)
    moments = [Moment(4, 42.5, 3), Moment(4, 42.5, 4), Moment(5, 100.0, -2)]
    made = [
        await client.predict(PATTERN, game_id=game, horizon=FINAL, moment=moment, home_team="BOS", away_team="LAL")
        for moment in (*moments, moments[-1])
    ]
    assert [(each.sequence, each.revision) for each in made] == [(1, 0), (2, 1), (3, 0), (3, 0)]
    await client.report_outcome(game, 5, horizon=FINAL, home_team="BOS", away_team="LAL")
    listed = [each async for each in client.list_predictions()]
    assert [each.forecast.moment.seconds_left for each in listed] == [100.0, 42.5]
    assert [each.settlement.persistence_absolute_error for each in listed] == [7.0, 1.0]
    card = await client.get_scorecard(horizon=FINAL)
    assert (card.games, card.forecasts) == (1, 2)
