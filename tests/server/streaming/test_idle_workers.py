"""A worker without subscribers reads nothing of what other workers record, and no later subscriber misses anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support.builders.issued_forecasts import game, issued
from tests.support.harness.subscribers import Subscriber
from tests.support.harness.tokens import token_of

from dejavu_ledger import Ledger
from dejavu_ledger.database.store import ChainHead
from dejavu_server.streaming.broadcaster import Broadcaster


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ledger]:
    """Open the ledger as another worker does."""
    ledger = await Ledger.open(url)
    try:
        yield ledger
    finally:
        await ledger.close()


async def test_a_subscriber_that_comes_while_the_tail_skips_misses_nothing(
    ledger: Ledger, broadcaster: Broadcaster, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, looking, go_on = ledger.newest, asyncio.Event(), asyncio.Event()

    async def slowly() -> ChainHead:
        found = await newest()
        looking.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(ledger, "newest", slowly)
    async with opened(url) as other:
        await other.commit([issued(game(1))])
        await looking.wait()
        async with Subscriber(broadcaster, token=await token_of(ledger, 0)) as subscriber:
            await subscriber.heartbeat()  # attached: what is skipped now would be lost
            await other.commit([issued(game(2))])
            go_on.set()
            assert await subscriber.forecasts(2) == [1, 2]
