"""A forecast at a moment over a real connection: possession and free throws are sent and count."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.processes.servers import async_worker

from dejavu_client import FINAL, AsyncDejavuClient, Moment, Possession, Side
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
