"""How streams end: on a drain, a fault or an unreadable entry; and where the next broadcaster continues."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.builders.issued_forecasts import game, issued
from tests.support.harness.ledger_faults import add_unreadable_entry
from tests.support.harness.subscribers import Subscriber, new_broadcaster
from tests.support.harness.tokens import token_of

from dejavu.v1 import forecast_pb2
from dejavu_ledger import Ledger, LedgerCorrupt
from dejavu_ledger.database.store import ChainHead
from dejavu_ledger.records import IssuedForecast
from dejavu_server.streaming.broadcaster import Broadcaster
from dejavu_server.streaming.stream_errors import ServerDraining, StreamFailed


async def test_closing_ends_every_stream_at_once_and_refuses_new_ones(ledger: Ledger, broadcaster: Broadcaster) -> None:
    subscribers = [Subscriber(broadcaster) for _ in range(20)]
    for subscriber in subscribers:
        await subscriber.heartbeat()
    waiting = [asyncio.create_task(subscriber.next()) for subscriber in subscribers]
    await asyncio.sleep(0)
    await broadcaster.close()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, ServerDraining)
    assert broadcaster.subscribers == 0
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
    assert broadcaster.subscribers == 0


async def test_streams_end_with_an_error_when_the_tail_breaks(ledger: Ledger) -> None:
    def broken(forecast: IssuedForecast) -> forecast_pb2.Forecast:
        raise RuntimeError("a fault of the program")

    failures: list[Exception] = []
    broadcaster = new_broadcaster(ledger, encode=broken, on_failure=failures.append)
    await broadcaster.start()
    async with Subscriber(broadcaster) as subscriber:
        await subscriber.heartbeat()
        await ledger.commit([issued()])
        with pytest.raises(StreamFailed):
            await subscriber.next()
    [failure] = failures
    assert isinstance(failure, StreamFailed)
    assert isinstance(failure.__cause__, RuntimeError)  # for the log; not sent to subscribers
    with pytest.raises(StreamFailed):
        await Subscriber(broadcaster).next()
    await broadcaster.close()


@pytest.mark.sqlite
async def test_streams_end_at_an_entry_that_cannot_be_read_back(ledger: Ledger, tmp_path: Path) -> None:
    failures: list[Exception] = []
    broadcaster = new_broadcaster(ledger, on_failure=failures.append)
    await broadcaster.start()
    async with Subscriber(broadcaster) as one, Subscriber(broadcaster, frozenset({game(9)})) as another:
        for subscriber in (one, another):
            await subscriber.heartbeat()
        await ledger.commit([issued(game(1))])
        assert await one.forecasts(1) == [1]
        add_unreadable_entry(tmp_path / "ledger.db")
        for subscriber in (one, another):
            with pytest.raises(LedgerCorrupt):
                await subscriber.next()
    assert [type(failure) for failure in failures] == [LedgerCorrupt]
    for token in ("", await token_of(ledger, 1)):
        with pytest.raises(LedgerCorrupt):
            await Subscriber(broadcaster, token=token).next()
    await broadcaster.close()


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


async def test_a_hub_starts_at_the_head_of_a_restored_ledger(ledger: Ledger) -> None:
    await ledger.commit([issued(game(n)) for n in range(3)])
    for lost in (ChainHead(10, bytes(32)), ChainHead(2, bytes(32))):
        broadcaster = new_broadcaster(ledger)
        await broadcaster.start(after=lost)
        assert broadcaster.position == await ledger.position()
        await broadcaster.close()
