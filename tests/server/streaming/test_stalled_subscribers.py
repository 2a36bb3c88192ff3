"""Subscribers that stop reading: they delay no other subscriber, use no memory once cut off, and can resume."""

from __future__ import annotations

import pytest
from tests.support.builders.issued_forecasts import game, issued
from tests.support.harness.subscribers import Subscriber, new_broadcaster
from tests.support.harness.tokens import token_of

from dejavu_ledger import Ledger
from dejavu_server.streaming.broadcaster import Broadcaster
from dejavu_server.streaming.stream_errors import SubscriberTooSlow

STALLED = 30
QUEUE = 50
PAGE = 20
FORECASTS = 1000


def held(broadcaster: Broadcaster) -> int:
    """Return the number of queued events; an event queued for several subscribers counts once."""
    return len({id(event) for subscription in broadcaster._subscriptions for event in subscription._waiting})


async def test_memory_stays_bounded_and_nobody_waits_however_many_stop_reading(ledger: Ledger) -> None:
    broadcaster = new_broadcaster(ledger, heartbeat_seconds=3600.0, queue_size=QUEUE)
    await broadcaster.start()
    stalled = [Subscriber(broadcaster) for _ in range(STALLED)]
    quick = Subscriber(broadcaster)
    for subscriber in (*stalled, quick):
        await subscriber.heartbeat()
    received: list[int] = []
    most = 0
    for start in range(0, FORECASTS, PAGE):
        await ledger.commit([issued(game(number)) for number in range(start, start + PAGE)])
        for _ in range(PAGE):
            received += await quick.forecasts(1)
            most = max(most, held(broadcaster))
    assert received == list(range(1, FORECASTS + 1))
    # The stalled queues share their events, and one page may be queued for the quick subscriber. On a busy machine the
    # last page may never be observed in the queues.
    assert QUEUE - PAGE < most <= QUEUE + PAGE
    assert held(broadcaster) == 0
    for subscriber in stalled:
        with pytest.raises(SubscriberTooSlow):
            await subscriber.next()
    assert broadcaster.subscribers == 1
    async with Subscriber(broadcaster, token=await token_of(ledger, 0)) as again:
        assert await again.forecasts(FORECASTS) == received
    await quick.stream.aclose()
    await broadcaster.close()
