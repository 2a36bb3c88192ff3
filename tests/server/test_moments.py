"""Forecasts at moments over a real connection: alone, in batches and from the cache, and never recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.processes.servers import async_worker

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import FINAL, AsyncDejavuClient, Moment, Possession, Side, predict_request
from dejavu_client.errors import InvalidArgumentError
from dejavu_models.registry.registry import Registry

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


async def test_possession_counts_at_a_moment_and_nothing_is_recorded(client: AsyncDejavuClient) -> None:
    moment = Moment(4, 8.0, -1)
    own, other = [
        await client.predict(PATTERN, horizon=FINAL, moment=moment, possession=Possession(side))
        for side in (Side.HOME, Side.AWAY)
    ]
    assert numbers(own) != numbers(other)
    with pytest.raises(InvalidArgumentError, match="not recorded"):
        await client.predict(PATTERN, horizon=FINAL, moment=moment, game_id="0022600123")
    assert not [each async for each in client.list_predictions()]
