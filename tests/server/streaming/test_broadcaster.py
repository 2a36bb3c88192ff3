"""Broadcaster: every recorded forecast and outcome reaches every subscriber, once and in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.builders.issued_forecasts import PATTERN, game, issued, recorded
from tests.support.builders.outcomes import answered, asked, outcome
from tests.support.harness.subscribers import ALL, Subscriber, encode, new_broadcaster, reached, started
from tests.support.harness.tokens import lose_entries_after_2, token_of

from dejavu.v1 import forecast_pb2
from dejavu_ledger import Ledger, ResumeTokenExpired
from dejavu_ledger.database.store import ChainHead
from dejavu_ledger.records import IssuedForecast
from dejavu_models.types import Horizon
from dejavu_server.streaming import broadcaster as broadcaster_module
from dejavu_server.streaming import catch_up, subscription
from dejavu_server.streaming.broadcaster import Broadcaster
from dejavu_server.streaming.stream_errors import ServerDraining, SubscriberTooSlow


class Encodings(Counter[int]):
    """Counts how often each forecast is encoded."""

    def __call__(self, forecast: IssuedForecast) -> forecast_pb2.Forecast:
        self[forecast.sequence] += 1
        return encode(forecast)


@pytest.fixture
def encoded() -> Encodings:
    return Encodings()


@pytest.fixture
async def counted(ledger: Ledger, encoded: Encodings) -> AsyncIterator[Broadcaster]:
    """A broadcaster whose encodings are counted."""
    made = new_broadcaster(ledger, encode=encoded)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def other_ledger(ledger: Ledger, url: str) -> AsyncIterator[Ledger]:
    """The same ledger, as another worker has it open."""
    opened = await Ledger.open(url)
    yield opened
    await opened.close()


async def test_subscribers_of_two_workers_get_every_forecast_once_and_in_order(
    ledger: Ledger, other_ledger: Ledger, counted: Broadcaster, encoded: Encodings
) -> None:
    async def write(to: Ledger, first: int) -> None:
        for number in range(first, first + 50):
            await to.commit([issued(game(number))])

    async with started(other_ledger) as other:
        subscribers = [Subscriber(each) for each in (counted, other) for _ in range(30)]
        for subscriber in subscribers:
            await subscriber.heartbeat()
        streams = asyncio.gather(*(subscriber.forecasts(100) for subscriber in subscribers))
        await asyncio.gather(write(ledger, 0), write(other_ledger, 50))
        for received in await streams:
            assert received == list(range(1, 101))
        assert encoded == Counter(range(1, 101))  # once per worker, not once per subscriber
        for subscriber in subscribers:
            await subscriber.stream.aclose()
        assert counted.idle
        assert other.idle


async def test_a_filtered_stream_has_its_games_only_and_heartbeats_in_silence_move_its_token(ledger: Ledger) -> None:
    async with (
        started(ledger, heartbeat_seconds=0.02) as broadcaster,
        Subscriber(broadcaster, frozenset({game(1), game(5)})) as subscriber,
    ):
        assert (await ledger.resume_position(await subscriber.heartbeat())).sequence == 0
        await ledger.commit([issued(game(n)) for n in (2, 3, 4)])
        await reached(ledger, broadcaster, 3)
        assert (await ledger.resume_position(await subscriber.heartbeat())).sequence == 3
        await ledger.commit([issued(game(n)) for n in (1, 6, 5)])
        await ledger.commit([issued(game(1), pattern=(5.0,))])
        assert await subscriber.forecasts(3) == [4, 6, 7]


async def test_a_stream_resumed_again_and_again_misses_nothing_while_forecasts_come_in(
    ledger: Ledger, broadcaster: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "PAGE_MESSAGES", 7)  # many pages, so that catching up and the tail interleave

    async def write() -> None:
        for number in range(0, 300, 3):
            await ledger.commit([issued(game(number + offset)) for offset in range(3)])

    token, received = await token_of(ledger, 0), list[int]()
    writing = asyncio.create_task(write())
    while len(received) < 300:
        async with Subscriber(broadcaster, token=token) as subscriber:
            for _ in range(11):
                message = await subscriber.next()
                token = message.resume_token
                if message.WhichOneof("event") == "forecast":
                    received.append(message.forecast.sequence)
                if len(received) == 300:
                    break
    await writing
    assert received == list(range(1, 301))


async def test_a_token_expires_while_entries_are_lost_in_a_catch_up(ledger: Ledger, broadcaster: Broadcaster) -> None:
    await ledger.commit([issued(game(n)) for n in range(100)])
    await reached(ledger, broadcaster, 100)
    async with Subscriber(broadcaster, token=await token_of(ledger, 0)) as subscriber:
        assert await subscriber.forecasts(1) == [1]
        await ledger.write(lose_entries_after_2)
        with pytest.raises(ResumeTokenExpired, match="lost meanwhile"):
            await subscriber.forecasts(100)


async def test_a_resumed_filtered_stream_reads_no_other_games(ledger: Ledger, broadcaster: Broadcaster) -> None:
    """One page ends at the newest entry: the entries of other games are neither read nor passed over one by one."""
    await ledger.commit([issued(game(n)) for n in range(1, 200)])
    await ledger.commit([issued(game(1), pattern=(5.0,))])
    await reached(ledger, broadcaster, 200)
    async with Subscriber(broadcaster, frozenset({game(1)}), token=await token_of(ledger, 0)) as subscriber:
        await subscriber.heartbeat()
        assert [(await subscriber.next()).forecast.sequence for _ in "ab"] == [1, 200]
        assert (await ledger.resume_position(await subscriber.heartbeat())).sequence == 200


async def test_include_current_sends_the_newest_of_each_game_and_horizon_first(
    ledger: Ledger, broadcaster: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcaster_module, "PAGE_MESSAGES", 2)
    stored = await recorded(
        ledger,
        issued(game(1), generated_time=datetime.now(UTC) - timedelta(hours=13)),
        issued(game(2), pattern=(1.0,)),
        issued(game(3)),
        issued(game(2), pattern=(2.0,)),
        issued(game(2), horizon=Horizon.FINAL),
    )
    async with Subscriber(broadcaster, current=True) as subscriber:
        messages = [await subscriber.next() for _ in range(3)]
        assert [message.forecast for message in messages] == [encode(each) for each in stored[2:]]
        assert [message.resume_token for message in messages] == [await token_of(ledger, place) for place in (3, 4, 5)]
        assert await subscriber.heartbeat() == await token_of(ledger, 5)
        await ledger.commit([issued(game(4))])
        assert await subscriber.forecasts(1) == [6]
    async with Subscriber(broadcaster, frozenset({game(2)}), current=True) as subscriber:
        assert await subscriber.forecasts(2) == [4, 5]


async def test_a_forecast_superseded_while_the_current_ones_are_read_is_sent_and_the_newer_one_after_the_heartbeat(
    ledger: Ledger, broadcaster: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcaster_module, "PAGE_MESSAGES", 2)
    await ledger.commit([issued(game(n)) for n in range(1, 8)])
    async with Subscriber(broadcaster, current=True) as subscriber:
        sequences = await subscriber.forecasts(3)
        newer = [issued(game(n), pattern=(*PATTERN[:-1], 9.0)) for n in (1, 4, 6)]
        await ledger.commit(newer)  # sent; on this page; on a later one
        await reached(ledger, broadcaster, 10)
        assert sequences + await subscriber.forecasts(4) == [1, 2, 3, 4, 5, 6, 7]
        assert await subscriber.heartbeat() == await token_of(ledger, 7)
        assert await subscriber.forecasts(3) == [8, 9, 10]


@pytest.mark.parametrize("resumed", [False, True], ids=["current", "resumed"])
async def test_a_subscriber_that_stops_reading_has_few_messages_made_for_it(
    ledger: Ledger, counted: Broadcaster, encoded: Encodings, resumed: bool
) -> None:
    await ledger.commit([issued(game(n)) for n in range(100)])
    await reached(ledger, counted, 100)
    encoded.clear()
    token = await token_of(ledger, 0) if resumed else ""
    async with Subscriber(counted, token=token, current=not resumed) as subscriber:
        assert await subscriber.forecasts(17) == list(range(1, 18))
        assert encoded == Counter(range(1, 33))  # two pages of 16
        assert await subscriber.forecasts(83) == list(range(18, 101))


async def test_subscribers_of_all_games_that_catch_up_together_share_what_is_read_and_encoded(
    ledger: Ledger, counted: Broadcaster, encoded: Encodings
) -> None:
    await ledger.commit([issued(game(n)) for n in range(300)])
    await reached(ledger, counted, 300)
    encoded.clear()
    wanted = list(range(1, 301))
    subscribers = [Subscriber(counted, token=await token_of(ledger, start)) for start in range(40)]

    async def check(subscriber: Subscriber, start: int) -> None:
        expected = [sequence for sequence in wanted if sequence > start]
        assert await subscriber.forecasts(len(expected)) == expected
        await subscriber.stream.aclose()

    await asyncio.gather(*(check(subscriber, start) for start, subscriber in enumerate(subscribers)))
    # Each once for all, and the first page of each subscriber, which starts at a place of its own.
    assert encoded.total() <= len(wanted) + len(subscribers) * catch_up.PAGE_MESSAGES


async def test_a_page_is_kept_for_those_who_come_later_while_somebody_catches_up(
    ledger: Ledger, counted: Broadcaster, encoded: Encodings
) -> None:
    await ledger.commit([issued(game(n)) for n in range(100)])
    await reached(ledger, counted, 100)
    encoded.clear()
    token = await token_of(ledger, 0)
    async with Subscriber(counted, token=token) as first:
        await first.forecasts(1)
        for _ in range(3):
            async with Subscriber(counted, token=token) as later:
                assert await later.forecasts(100) == list(range(1, 101))
    assert encoded.total() == 100


async def test_outcomes_and_corrections_are_sent_in_the_ledger_s_order_and_markets_not(
    ledger: Ledger, broadcaster: Broadcaster
) -> None:
    async with Subscriber(broadcaster) as subscriber:
        await subscriber.heartbeat()
        await ledger.commit([issued(game(1)), asked(issued(game(2)), answered(None))])  # 3 is the market
        for differential in (3, 3, 4):
            await ledger.record_outcome(outcome(differential, game(1)))
        await ledger.commit([issued(game(3))])
        messages = [await subscriber.next() for _ in range(5)]
    assert [message.outcome.differential for message in messages] == [0, 0, 3, 4, 0]
    assert messages[-1].forecast.game_id == game(3)
    assert [message.resume_token for message in messages] == [await token_of(ledger, at) for at in (1, 2, 4, 5, 6)]


async def test_a_slow_subscriber_is_cut_off_alone_and_resumes_without_a_gap(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "QUEUE_SIZE", 10)
    async with started(ledger) as broadcaster:
        async with Subscriber(broadcaster) as slow, Subscriber(broadcaster) as quick:
            token = await slow.heartbeat()
            await quick.heartbeat()
            received: list[int] = []
            for number in range(12):
                await ledger.commit([issued(game(number))])
                received += await quick.forecasts(1)
            assert received == list(range(1, 13))
            with pytest.raises(SubscriberTooSlow):
                await slow.next()
        async with Subscriber(broadcaster, token=token) as again:
            assert await again.forecasts(12) == received


@pytest.mark.parametrize("resumed", [False, True], ids=["current", "resumed"])
async def test_a_new_stream_does_not_wait_behind_many_of_another(
    ledger: Ledger, broadcaster: Broadcaster, resumed: bool
) -> None:
    await ledger.commit([issued(game(n), pattern=(float(k),)) for k in range(20) for n in range(12)])
    await reached(ledger, broadcaster, 240)
    served: list[str] = []

    async def catch_up(caller: str, wanted: frozenset[str]) -> None:
        async with Subscriber(broadcaster, wanted, token, not resumed, caller) as subscriber:
            await subscriber.forecasts(20 if resumed else len(wanted))
            served.append(caller)

    token = await token_of(ledger, 0) if resumed else ""
    many = [catch_up("many", frozenset({game(n)})) for n in range(12) for _ in range(10)]
    await asyncio.gather(*many, catch_up("one", frozenset({game(0), game(1)})))
    assert served.index("one") < 12


async def test_closing_ends_every_stream_at_once_and_refuses_new_ones(ledger: Ledger, broadcaster: Broadcaster) -> None:
    await ledger.commit([issued(game(n)) for n in range(20)])
    subscribers = [Subscriber(broadcaster, wanted) for wanted in (frozenset({game(1)}), ALL)]
    for subscriber in subscribers:
        await subscriber.heartbeat()
    waiting = [asyncio.create_task(subscriber.next()) for subscriber in subscribers]
    resumed, current = Subscriber(broadcaster, token=await token_of(ledger, 0)), Subscriber(broadcaster, current=True)
    async with resumed, current:
        for each in (resumed, current):
            await each.forecasts(5)
        await broadcaster.close()
        for each in (resumed, current):
            with pytest.raises(ServerDraining):
                await each.next()
    assert {type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)} == {ServerDraining}
    assert broadcaster.idle
    with pytest.raises(ServerDraining):
        await Subscriber(broadcaster).next()


async def test_a_broadcaster_goes_on_where_the_last_one_stood(ledger: Ledger) -> None:
    await ledger.commit([issued(game(n)) for n in range(5)])
    broadcaster = new_broadcaster(ledger)
    await broadcaster.start(after=await ledger.position_of(2))
    assert broadcaster.position.sequence == 2
    async with Subscriber(broadcaster) as subscriber:
        await subscriber.heartbeat()
        await ledger.commit([issued(game(5))])
        assert await subscriber.forecasts(1) == [6]  # a new stream still starts at the ledger's head
    await broadcaster.close()


async def test_a_subscriber_that_comes_while_the_tail_skips_misses_nothing(
    ledger: Ledger, broadcaster: Broadcaster, other_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, looking, go_on = ledger.newest, asyncio.Event(), asyncio.Event()

    async def slowly() -> ChainHead:
        found = await newest()
        looking.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(ledger, "newest", slowly)
    await other_ledger.commit([issued(game(1))])
    await looking.wait()
    async with Subscriber(broadcaster, token=await token_of(ledger, 0)) as subscriber:
        await subscriber.heartbeat()  # attached: what is skipped now would be lost
        await other_ledger.commit([issued(game(2))])
        go_on.set()
        assert await subscriber.forecasts(2) == [1, 2]
