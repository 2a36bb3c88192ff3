"""How streams end: on a drain, a fault or an unreadable entry; and where the next broadcaster continues."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.builders.issued_forecasts import game, issued
from tests.support.harness.subscribers import Subscriber, new_broadcaster
from tests.support.harness.tokens import token_of

from dejavu_ledger import Ledger
from dejavu_server.streaming.broadcaster import Broadcaster
from dejavu_server.streaming.stream_errors import ServerDraining


async def test_closing_ends_every_stream_at_once_and_refuses_new_ones(ledger: Ledger, broadcaster: Broadcaster) -> None:
    subscribers = [Subscriber(broadcaster) for _ in range(20)]
    for subscriber in subscribers:
        await subscriber.heartbeat()
    waiting = [asyncio.create_task(subscriber.next()) for subscriber in subscribers]
    await asyncio.sleep(0)
    await broadcaster.close()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, ServerDraining)
    assert broadcaster.idle
    with pytest.raises(ServerDraining):
        await Subscriber(broadcaster).next()
    await broadcaster.close()


async def test_a_stream_that_catches_up_ends_too(ledger: Ledger, broadcaster: Broadcaster) -> None:
    await ledger.commit([issued(game(n)) for n in range(20)])
    async with Subscriber(broadcaster, token=await token_of(ledger, 0)) as subscriber:
        await subscriber.forecasts(5)
        await broadcaster.close()
        with pytest.raises(ServerDraining):
            await subscriber.forecasts(20)


async def test_a_cancelled_subscriber_leaves_nothing_behind(ledger: Ledger, broadcaster: Broadcaster) -> None:
    subscriber = Subscriber(broadcaster, frozenset({game(1)}))
    await subscriber.heartbeat()
    waiting = asyncio.create_task(subscriber.next())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert broadcaster.idle


async def test_a_hub_goes_on_where_the_last_one_stood(ledger: Ledger) -> None:
    await ledger.commit([issued(game(n)) for n in range(5)])
    broadcaster = new_broadcaster(ledger)
    await broadcaster.start(after=await ledger.position_of(2))
    assert broadcaster.position.sequence == 2
    async with Subscriber(broadcaster) as subscriber:
        await subscriber.heartbeat()
        await ledger.commit([issued(game(5))])
        assert await subscriber.forecasts(1) == [6]  # a new stream still starts at the ledger's head
    await broadcaster.close()
