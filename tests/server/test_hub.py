"""The hub: what is recorded reaches every subscriber, each forecast once and in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from tests.support.issued import game, issued
from tests.support.ledger_faults import add_unreadable_entry

from dejavu.v1 import forecast_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_models.types import Horizon
from dejavu_server import hub as hub_module
from dejavu_server.hub import Draining, Hub, StreamFailed, SubscriberTooSlow
from dejavu_server.ledger import InvalidResumeToken, Ledger, LedgerCorrupt, ResumeTokenExpired
from dejavu_server.records import IssuedForecast

ALL = frozenset[str]()


def encode(forecast: IssuedForecast) -> forecast_pb2.Forecast:
    return forecast_pb2.Forecast(
        game_id=forecast.game_id, sequence=forecast.sequence, point_forecast=forecast.forecast.point
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(url)
    yield opened
    await opened.close()


@asynccontextmanager
async def started(ledger: Ledger, *, heartbeat_seconds: float = 3600.0, queue_size: int = 2000) -> AsyncIterator[Hub]:
    hub = Hub(ledger, encode=encode, heartbeat_seconds=heartbeat_seconds, queue_size=queue_size)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.close()


@pytest.fixture
async def hub(ledger: Ledger) -> AsyncIterator[Hub]:
    async with started(ledger) as running:
        yield running


class Subscriber:
    """Reads a stream message by message, as a client would."""

    def __init__(self, hub: Hub, game_ids: frozenset[str] = ALL, token: str = "", current: bool = False) -> None:
        self.stream: AsyncGenerator[bytes, None] = hub.subscribe(game_ids, token, current)

    async def next(self) -> pb.StreamPredictionsResponse:
        return pb.StreamPredictionsResponse.FromString(await anext(self.stream))

    async def heartbeat(self) -> str:
        """The next message, which must be a heartbeat; its token."""
        message = await self.next()
        assert message.WhichOneof("event") == "heartbeat"
        assert abs(message.heartbeat.sent_time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=1)
        return message.resume_token

    async def forecasts(self, count: int) -> list[int]:
        """Sequences of the next so many forecasts; heartbeats between them are passed over."""
        found: list[int] = []
        while len(found) < count:
            message = await self.next()
            if message.WhichOneof("event") == "forecast":
                found.append(message.forecast.sequence)
        return found

    async def __aenter__(self) -> Subscriber:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.aclose()


async def reached(hub: Hub, sequence: int) -> None:
    """Waits until the hub's tail got to a place: whoever wants all has been sent it."""
    async with Subscriber(hub, token=hub._ledger.token(sequence - 1)) as last:
        assert await last.forecasts(1) == [sequence]


async def test_a_stream_without_a_token_starts_now(ledger: Ledger, hub: Hub) -> None:
    await ledger.commit([issued(game(1))])
    async with Subscriber(hub) as subscriber:
        assert await ledger.place(await subscriber.heartbeat()) == 1
        [stored] = await ledger.commit([issued(game(2))])
        message = await subscriber.next()
        assert message.forecast == encode(stored)
        assert message.resume_token == ledger.token(2)


async def test_a_repeated_forecast_is_not_sent_again(ledger: Ledger, hub: Hub) -> None:
    async with Subscriber(hub) as subscriber:
        await subscriber.heartbeat()
        await ledger.commit([issued(game(1)), issued(game(1))])
        await ledger.commit([issued(game(1)), issued(game(2))])
        assert await subscriber.forecasts(2) == [1, 2]


async def test_two_hundred_subscribers_of_two_workers_get_three_hundred_forecasts_each_once_and_in_order(
    ledger: Ledger, hub: Hub, url: str
) -> None:
    encoded = Counter[int]()

    def counting(forecast: IssuedForecast) -> forecast_pb2.Forecast:
        encoded[forecast.sequence] += 1
        return encode(forecast)

    other_ledger = await Ledger.open(url)
    other_hub = Hub(other_ledger, encode=counting)
    await other_hub.start()
    subscribers = [Subscriber(each) for each in (hub, other_hub) for _ in range(100)]
    for subscriber in subscribers:
        await subscriber.heartbeat()
    assert hub.subscribers == other_hub.subscribers == 100

    async def write(to: Ledger, first: int) -> None:
        for number in range(first, first + 150):
            await to.commit([issued(game(number))])

    streams = asyncio.gather(*(subscriber.forecasts(300) for subscriber in subscribers))
    await asyncio.gather(write(ledger, 0), write(other_ledger, 150))
    for received in await streams:
        assert received == list(range(1, 301))
    assert encoded == Counter(range(1, 301))  # once a worker, not once a subscriber
    for subscriber in subscribers:
        await subscriber.stream.aclose()
    assert hub.subscribers == other_hub.subscribers == 0
    await other_hub.close()
    await other_ledger.close()


async def test_a_filtered_stream_has_its_games_only(ledger: Ledger, hub: Hub) -> None:
    async with Subscriber(hub, frozenset({game(1), game(3)})) as some, Subscriber(hub) as everything:
        await some.heartbeat()
        await everything.heartbeat()
        await ledger.commit([issued(game(n)) for n in (1, 2, 3, 4)])
        await ledger.commit([issued(game(1), pattern=(5.0,))])
        assert await some.forecasts(3) == [1, 3, 5]
        assert await everything.forecasts(5) == [1, 2, 3, 4, 5]


async def test_what_nobody_wants_is_not_serialised(ledger: Ledger) -> None:
    encoded: list[str] = []

    def noting(forecast: IssuedForecast) -> forecast_pb2.Forecast:
        encoded.append(forecast.game_id)
        return encode(forecast)

    hub = Hub(ledger, encode=noting)
    await hub.start()
    async with Subscriber(hub, frozenset({game(1)})) as subscriber:
        await subscriber.heartbeat()
        await ledger.commit([issued(game(2)), issued(game(3)), issued(game(1))])
        assert await subscriber.forecasts(1) == [3]
    assert encoded == [game(1)]
    await hub.close()


async def test_a_token_goes_on_right_after_its_message(ledger: Ledger, hub: Hub) -> None:
    await ledger.commit([issued(game(n)) for n in range(10)])
    async with Subscriber(hub, token=ledger.token(4)) as subscriber:
        assert await subscriber.heartbeat() == ledger.token(4)
        assert await subscriber.forecasts(6) == [5, 6, 7, 8, 9, 10]
        await ledger.commit([issued(game(10))])
        assert await subscriber.forecasts(1) == [11]


async def test_a_stream_resumed_again_and_again_misses_nothing_while_forecasts_come_in(
    ledger: Ledger, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "PAGE", 7)  # many pages, so that catching up and the tail cross often

    async def write() -> None:
        for number in range(0, 300, 3):
            await ledger.commit([issued(game(number + offset)) for offset in range(3)])

    token, received = ledger.token(0), list[int]()
    writing = asyncio.create_task(write())
    while len(received) < 300:
        async with Subscriber(hub, token=token) as subscriber:
            for _ in range(11):
                message = await subscriber.next()
                token = message.resume_token
                if message.WhichOneof("event") == "forecast":
                    received.append(message.forecast.sequence)
                if len(received) == 300:
                    break
    await writing
    assert received == list(range(1, 301))


async def test_a_token_is_good_on_another_worker_and_after_a_restart(url: str) -> None:
    first = await Ledger.open(url)
    await first.commit([issued(game(n)) for n in range(5)])
    token = first.token(2)
    await first.close()
    second = await Ledger.open(url)
    async with started(second) as hub, Subscriber(hub, token=token, current=True) as subscriber:
        assert await subscriber.heartbeat() == token  # include_current is ignored: this comes first
        assert await subscriber.forecasts(3) == [3, 4, 5]
    await second.close()


async def test_a_resumed_filtered_stream_moves_along_over_what_it_does_not_want(ledger: Ledger, hub: Hub) -> None:
    await ledger.commit([issued(game(n)) for n in range(1200)])
    await reached(hub, 1200)
    async with Subscriber(hub, frozenset({game(1199)}), token=ledger.token(0)) as subscriber:
        tokens = [await subscriber.heartbeat() for _ in range(3)]
        assert [await ledger.place(token) for token in tokens] == [0, 500, 1000]
        assert await subscriber.forecasts(1) == [1200]


async def test_include_current_sends_the_newest_of_each_game_and_horizon_first(ledger: Ledger, hub: Hub) -> None:
    yesterday = datetime.now(UTC) - timedelta(hours=13)
    stored = await ledger.commit(
        [
            issued(game(1), generated_time=yesterday),
            issued(game(2), pattern=(1.0,)),
            issued(game(3)),
            issued(game(2), pattern=(2.0,)),
            issued(game(2), horizon=Horizon.FINAL),
        ]
    )
    async with Subscriber(hub, current=True) as subscriber:
        messages = [await subscriber.next() for _ in range(3)]
        assert [message.forecast for message in messages] == [encode(each) for each in stored[2:]]
        assert [message.resume_token for message in messages] == [ledger.token(place) for place in (3, 4, 5)]
        assert await subscriber.heartbeat() == ledger.token(5)
        await ledger.commit([issued(game(4))])
        assert await subscriber.forecasts(1) == [6]
    async with Subscriber(hub, frozenset({game(2)}), current=True) as subscriber:
        assert await subscriber.forecasts(2) == [4, 5]


async def test_replays_are_streamed_like_other_games(ledger: Ledger, hub: Hub) -> None:
    async with Subscriber(hub) as subscriber:
        await subscriber.heartbeat()
        await ledger.commit([issued("9900000001")])
        assert await subscriber.forecasts(1) == [1]


async def test_heartbeats_come_in_silence_and_move_the_token_of_a_filtered_stream(ledger: Ledger) -> None:
    async with started(ledger, heartbeat_seconds=0.02) as hub, Subscriber(hub, frozenset({game(1)})) as subscriber:
        assert await ledger.place(await subscriber.heartbeat()) == 0
        await ledger.commit([issued(game(n)) for n in (2, 3, 4)])
        await reached(hub, 3)
        assert await ledger.place(await subscriber.heartbeat()) == 3
        await ledger.commit([issued(game(1))])
        assert await subscriber.forecasts(1) == [4]


async def test_a_subscriber_too_slow_is_cut_off_and_delays_nobody(ledger: Ledger) -> None:
    async with started(ledger, queue_size=10) as hub:
        async with Subscriber(hub) as slow, Subscriber(hub) as quick:
            token = await slow.heartbeat()
            await quick.heartbeat()
            received: list[int] = []
            for number in range(12):
                await ledger.commit([issued(game(number))])
                received += await quick.forecasts(1)
            assert received == list(range(1, 13))
            with pytest.raises(SubscriberTooSlow):
                await slow.next()
            assert hub.subscribers == 1
        async with Subscriber(hub, token=token) as again:
            assert await again.forecasts(12) == received


async def test_closing_ends_every_stream_at_once_and_refuses_new_ones(ledger: Ledger, hub: Hub) -> None:
    subscribers = [Subscriber(hub) for _ in range(20)]
    for subscriber in subscribers:
        await subscriber.heartbeat()
    waiting = [asyncio.create_task(subscriber.next()) for subscriber in subscribers]
    await asyncio.sleep(0)
    await hub.close()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, Draining)
    assert hub.subscribers == 0
    with pytest.raises(Draining):
        await Subscriber(hub).next()
    await hub.close()


async def test_a_stream_that_catches_up_ends_too(ledger: Ledger, hub: Hub) -> None:
    await ledger.commit([issued(game(n)) for n in range(20)])
    async with Subscriber(hub, token=ledger.token(0)) as subscriber:
        await subscriber.forecasts(5)
        await hub.close()
        with pytest.raises(Draining):
            await subscriber.forecasts(20)


async def test_a_cancelled_subscriber_leaves_nothing_behind(ledger: Ledger, hub: Hub) -> None:
    subscriber = Subscriber(hub, frozenset({game(1)}))
    await subscriber.heartbeat()
    waiting = asyncio.create_task(subscriber.next())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert hub.subscribers == 0
    assert not hub._attached_to_game


async def test_bad_tokens_are_told_before_anything_is_sent(ledger: Ledger, hub: Hub) -> None:
    with pytest.raises(InvalidResumeToken):
        await Subscriber(hub, token="nonsense").next()
    with pytest.raises(ResumeTokenExpired):
        await Subscriber(hub, token=ledger.token(1)).next()
    assert hub.subscribers == 0


async def test_few_catch_up_at_a_time_so_that_the_tail_is_never_kept_waiting(
    ledger: Ledger, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, at_once, most = asyncio.Event(), 0, 0

    async def slow(token: str) -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await release.wait()
        at_once -= 1
        return 0

    async with Subscriber(hub) as attached:
        await attached.heartbeat()
        monkeypatch.setattr(ledger, "place", slow)
        resuming = [Subscriber(hub, token="any") for _ in range(10)]
        waiting = [asyncio.create_task(subscriber.heartbeat()) for subscriber in resuming]
        await ledger.commit([issued()])
        assert await attached.forecasts(1) == [1]
        assert at_once == most == hub_module.CATCHING_UP
        release.set()
        await asyncio.gather(*waiting)
        assert most == hub_module.CATCHING_UP
        for subscriber in resuming:
            await subscriber.stream.aclose()


async def test_streams_end_with_an_error_when_the_tail_breaks(ledger: Ledger) -> None:
    def broken(forecast: IssuedForecast) -> forecast_pb2.Forecast:
        raise RuntimeError("a fault of the program")

    hub = Hub(ledger, encode=broken)
    await hub.start()
    with structlog.testing.capture_logs() as logs:
        async with Subscriber(hub) as subscriber:
            await subscriber.heartbeat()
            await ledger.commit([issued()])
            with pytest.raises(StreamFailed):
                await subscriber.next()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("stream_failed", "error")]
    with pytest.raises(StreamFailed):
        await Subscriber(hub).next()
    await hub.close()


async def test_streams_end_at_an_entry_that_cannot_be_read_back(ledger: Ledger, tmp_path: Path) -> None:
    failures: list[str] = []
    hub = Hub(ledger, encode=encode, on_failure=lambda: failures.append("failed"))
    await hub.start()
    with structlog.testing.capture_logs() as logs:
        async with Subscriber(hub) as one, Subscriber(hub, frozenset({game(9)})) as another:
            for subscriber in (one, another):
                await subscriber.heartbeat()
            await ledger.commit([issued(game(1))])
            assert await one.forecasts(1) == [1]
            add_unreadable_entry(tmp_path / "ledger.db")
            for subscriber in (one, another):
                with pytest.raises(LedgerCorrupt):
                    await subscriber.next()
    assert failures == ["failed"]
    assert [entry["event"] for entry in logs] == ["stream_failed"]
    for token in ("", ledger.token(1)):
        with pytest.raises(LedgerCorrupt):
            await Subscriber(hub, token=token).next()
    await hub.close()


async def test_the_hub_closes_the_tail_that_it_opened(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = asyncio.Event()
    tail = ledger.tail

    async def watched(after: int) -> AsyncGenerator[list[IssuedForecast], None]:
        try:
            async with aclosing(tail(after)) as pages:
                async for page in pages:
                    yield page
        finally:
            closed.set()

    monkeypatch.setattr(ledger, "tail", watched)
    async with started(ledger):
        await ledger.commit([issued()])
    assert closed.is_set()
