"""How streams end: on a drain, a fault or an unreadable entry; and where the next broadcaster continues."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from tests.support.builders.issued_forecasts import game, issued
from tests.support.harness.ledger_faults import add_unreadable_entry
from tests.support.harness.subscribers import Subscriber, new_broadcaster, started

from dejavu.v1 import forecast_pb2
from dejavu_server.ledger import Ledger, LedgerCorrupt, LedgerUnavailable
from dejavu_server.records import IssuedForecast, ReportedOutcome
from dejavu_server.streaming.broadcaster import MAX_CATCHING_UP, Broadcaster
from dejavu_server.streaming.errors import ServerDraining, StreamFailed


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
    async with Subscriber(broadcaster, token=ledger.token(0)) as subscriber:
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
    assert not broadcaster._attached_to_game


async def test_a_subscriber_cancelled_before_its_turn_to_read_leaves_no_warning(
    ledger: Ledger, broadcaster: Broadcaster, recwarn: pytest.WarningsRecorder
) -> None:
    async with contextlib.AsyncExitStack() as others:
        for _ in range(MAX_CATCHING_UP):
            await others.enter_async_context(broadcaster._reading)
        waiting = asyncio.create_task(Subscriber(broadcaster, token=ledger.token(0)).next())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    del waiting
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


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
    for token in ("", ledger.token(1)):
        with pytest.raises(LedgerCorrupt):
            await Subscriber(broadcaster, token=token).next()
    await broadcaster.close()


async def test_streams_end_when_the_ledger_cannot_be_read(
    ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await Ledger.open(url)  # what this worker commits itself is not read
    async with started(ledger) as broadcaster, Subscriber(broadcaster) as subscriber:
        await subscriber.heartbeat()
        monkeypatch.setattr(ledger, "read_after", AsyncMock(side_effect=LedgerUnavailable("for the moment")))

        async def follow() -> None:
            for number in range(2):  # the first entry may still be found by a read that had begun before
                await other.commit([issued(game(number))])
                await subscriber.next()

        with pytest.raises(LedgerUnavailable, match="for the moment"):
            await follow()
    await other.close()


async def test_a_hub_goes_on_where_the_last_one_stood(ledger: Ledger) -> None:
    await ledger.commit([issued(game(n)) for n in range(5)])
    broadcaster = new_broadcaster(ledger)
    await broadcaster.start(after=2)
    assert broadcaster.position == 2
    async with Subscriber(broadcaster) as subscriber:
        await subscriber.heartbeat()
        await ledger.commit([issued(game(5))])
        assert await subscriber.forecasts(1) == [6]  # a new stream still starts at the ledger's head
    await broadcaster.close()


@pytest.mark.sqlite
async def test_a_hub_does_not_start_before_what_it_cannot_read(ledger: Ledger, tmp_path: Path) -> None:
    await ledger.commit([issued()])
    add_unreadable_entry(tmp_path / "ledger.db")
    with pytest.raises(LedgerCorrupt):
        await new_broadcaster(ledger).start(after=1)


async def test_a_hub_starts_at_the_head_of_a_ledger_that_was_restored_to_less(ledger: Ledger) -> None:
    broadcaster = new_broadcaster(ledger)
    await broadcaster.start(after=10)
    assert broadcaster.position == 0
    await broadcaster.close()


async def test_the_hub_closes_the_tail_that_it_opened(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = asyncio.Event()
    tail = ledger.tail

    async def watched(after: int, **options: Any) -> AsyncGenerator[list[IssuedForecast | ReportedOutcome], None]:
        try:
            async with aclosing(tail(after, **options)) as pages:
                async for page in pages:
                    yield page
        finally:
            closed.set()

    monkeypatch.setattr(ledger, "tail", watched)
    async with started(ledger):
        await ledger.commit([issued()])
    assert closed.is_set()
