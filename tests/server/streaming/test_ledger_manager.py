"""Ledger manager: recovery of a worker's ledger and streams; tests/server/test_broken_disk.py covers disk faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.harness import waiting
from tests.support.harness.subscribers import encode, new_broadcaster
from tests.support.harness.tokens import lose_entries_after_2

from dejavu.v1 import forecast_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_common.clock import utc_now
from dejavu_ledger import Ledger, LedgerUnavailable
from dejavu_ledger.copies import renew_epoch
from dejavu_ledger.errors import LedgerClockDiffers, LedgerReplaced, ResumeTokenExpired
from dejavu_ledger.records import IssuedForecast
from dejavu_server.observability.metrics import Metrics
from dejavu_server.settings import Settings
from dejavu_server.streaming import ledger_manager as keeper_module
from dejavu_server.streaming.ledger_manager import LedgerHealth, LedgerManager
from dejavu_server.streaming.stream_errors import ServerDraining, StreamFailed

WELL = LedgerHealth(recording=True, streaming=True)
ALL = frozenset[str]()


Encoding = Callable[[IssuedForecast], forecast_pb2.Forecast]


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[MutableMapping[str, Any]]]:
    """Shorten the waits; capture the log, so that its tracebacks are not rendered."""
    for name in ("WATCH_SECONDS", "FIRST_RETRY_SECONDS"):
        monkeypatch.setattr(keeper_module, name, 0.02)
    with capture_logs() as captured:
        yield captured


class Managed(LedgerManager):
    """A ledger manager whose health a test waits for."""

    def __init__(self, url: str, *, encoding: Encoding = encode, clock: Callable[[], datetime] = utc_now) -> None:
        self.changes = asyncio.Queue[LedgerHealth]()
        self.metrics = Metrics()
        broadcasters = partial(new_broadcaster, encode=encoding)
        super().__init__(Settings(ledger=url), self.metrics, broadcasters, self.changes.put_nowait, clock=clock)

    async def until(self, wanted: LedgerHealth = WELL) -> None:
        """Wait until it is told that the ledger's health is this."""
        async with asyncio.timeout(30):
            while await self.changes.get() != wanted:
                pass

    def figure(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)

    async def __aenter__(self) -> Managed:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def token_from(stream: AsyncIterator[bytes]) -> str:
    """Return the resume token of the next message of a stream, a heartbeat."""
    message = pb.StreamPredictionsResponse.FromString(await anext(stream))
    assert message.HasField("heartbeat")
    return message.resume_token


async def test_a_passing_fault_of_the_program_ends_streams(url: str) -> None:
    faults = [RuntimeError("a fault")]

    def failing_once(forecast: IssuedForecast) -> forecast_pb2.Forecast:
        if faults:
            raise faults.pop()
        return encode(forecast)

    async with Managed(url, encoding=failing_once) as manager:
        await manager.until()
        stream = manager.subscribe(ALL, "", False)
        token = await token_from(stream)
        await manager.current().commit([issued(game(1))])
        with pytest.raises(StreamFailed):
            await anext(stream)
        assert manager.changes.get_nowait() == LedgerHealth(recording=True, streaming=False)
        await manager.until()
        stream = manager.subscribe(ALL, token, False)
        await token_from(stream)
        assert pb.StreamPredictionsResponse.FromString(await anext(stream)).forecast.sequence == 1
        await stream.aclose()


@pytest.mark.parametrize("apart", [timedelta(minutes=3), -timedelta(minutes=3)])
async def test_nothing_is_recorded_while_the_clocks_of_server_and_database_differ(url: str, apart: timedelta) -> None:
    """An entry from the future, or from before the one ahead of it, would make every later verification fail."""
    wrong = apart
    async with Managed(url, clock=lambda: utc_now() + wrong) as manager:
        for _ in range(2):  # at the start, and while it serves
            with pytest.raises(LedgerClockDiffers, match=r"clock is 1[78]\d s (ahead of|behind) the database's"):
                await manager.current().commit([issued(game(1))])
            wrong = timedelta(seconds=30)
            await manager.until()
            wrong = apart
            await manager.until(LedgerHealth(recording=False, streaming=False))


@pytest.mark.parametrize("ahead", [timedelta(seconds=30), -timedelta(minutes=3)])
async def test_a_difference_of_clocks_is_reported(
    url: str, ahead: timedelta, log: list[MutableMapping[str, Any]]
) -> None:
    async with Managed(url, clock=lambda: utc_now() + ahead) as manager:
        await waiting.until(lambda: manager.figure("dejavu_ledger_clock_ahead_seconds"))
        reported = manager.figure("dejavu_ledger_clock_ahead_seconds")
    assert reported == pytest.approx(ahead.total_seconds(), abs=2)
    warnings = [entry for entry in log if entry["event"] == "ledger_clock_differs"]
    assert [entry["log_level"] for entry in warnings] == ["warning"]
    assert f"{abs(ahead).total_seconds():.0f} s" in warnings[0]["error"]


async def test_streams_end_at_a_restore_that_kept_the_epoch(url: str) -> None:
    """As by a database's own tools; formerly, streams skipped the entries up to the sequence that they had reached."""
    async with Managed(url) as manager:
        await manager.until()
        await manager.current().commit([issued(game(number)) for number in range(4)])
        stream = manager.subscribe(ALL, "", False)
        token = await token_from(stream)
        other = await Ledger.open(url)
        await other.write(lose_entries_after_2)
        async with asyncio.timeout(30):
            with pytest.raises(LedgerReplaced):
                await anext(stream)
        await manager.until()
        await other.commit([issued(game(number)) for number in range(10, 14)])
        await other.close()
        with pytest.raises(ResumeTokenExpired):
            await anext(manager.subscribe(ALL, token, False))


async def test_a_new_epoch_is_found_while_the_ledger_is_in_use(url: str) -> None:
    """Formerly, SQLite's was found after a restart: until then, new tokens were refused at once."""
    async with Managed(url) as manager:
        await manager.until()
        before, number = manager.current().identity, manager.figure("dejavu_ledger_epoch")
        epoch = await asyncio.to_thread(renew_epoch, url)
        assert not (await asyncio.wait_for(manager.changes.get(), 30)).recording
        await manager.until()
        after = manager.current().identity
        assert (after.ledger_id, after.epoch) == (before.ledger_id, epoch)
        assert before.epoch != epoch
        assert manager.figure("dejavu_ledger_epoch") != number


async def test_a_start_does_not_wait_for_a_disk_that_hangs(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "OPENING_SECONDS", 0.02)
    opened, hanging = Ledger.open, asyncio.Event()

    async def hang(*args: Any, **options: Any) -> Ledger:
        await hanging.wait()
        return await opened(*args, **options)

    monkeypatch.setattr(Ledger, "open", hang)
    async with Managed(url) as manager:
        with pytest.raises(LedgerUnavailable, match="still being opened"):
            await manager.current().commit([issued()])
        hanging.set()
        await manager.until()


async def test_a_drain_ends_streams_before_it_ends_recording(url: str) -> None:
    async with Managed(url) as manager:
        await manager.until()
        stream = manager.subscribe(ALL, "", False)
        await anext(stream)
        await manager.end_streams()
        with pytest.raises(ServerDraining):
            await anext(stream)
        with pytest.raises(ServerDraining):
            manager.subscribe(ALL, "", False)
        assert [stored.sequence for stored in await recorded(manager.current(), issued())] == [1]
        await manager.close()
    assert manager.changes.empty(), "it is no trouble"
