"""Broadcaster: every recorded forecast and outcome reaches every subscriber, once and in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.builders.issued_forecasts import PATTERN, game, issued, recorded
from tests.support.builders.outcomes import answered, asked, outcome
from tests.support.harness.subscribers import Subscriber, encode, new_broadcaster, reached, started
from tests.support.harness.tokens import lose_entries_after_2, token_of

from dejavu.v1 import forecast_pb2
from dejavu_ledger import Ledger, ResumeTokenExpired
from dejavu_ledger.records import IssuedForecast
from dejavu_models.types import Horizon
from dejavu_server.streaming import broadcaster as broadcaster_module
from dejavu_server.streaming import catch_up, subscription
from dejavu_server.streaming.broadcaster import Broadcaster
from dejavu_server.streaming.stream_errors import SubscriberTooSlow


async def test_subscribers_of_two_workers_get_every_forecast_once_and_in_order(
    ledger: Ledger, broadcaster: Broadcaster, url: str
) -> None:
    encoded = Counter[int]()

    def counting(forecast: IssuedForecast) -> forecast_pb2.Forecast:
        encoded[forecast.sequence] += 1
        return encode(forecast)

    other_ledger = await Ledger.open(url)
    other_hub = new_broadcaster(other_ledger, encode=counting)
    await other_hub.start()
    subscribers = [Subscriber(each) for each in (broadcaster, other_hub) for _ in range(30)]
    for subscriber in subscribers:
        await subscriber.heartbeat()

    async def write(to: Ledger, first: int) -> None:
        for number in range(first, first + 50):
            await to.commit([issued(game(number))])

    streams = asyncio.gather(*(subscriber.forecasts(100) for subscriber in subscribers))
    await asyncio.gather(write(ledger, 0), write(other_ledger, 50))
    for received in await streams:
        assert received == list(range(1, 101))
    assert encoded == Counter(range(1, 101))  # once per worker, not once per subscriber
    for subscriber in subscribers:
        await subscriber.stream.aclose()
    assert broadcaster.idle
    assert other_hub.idle
    await other_hub.close()
    await other_ledger.close()


async def test_a_filtered_stream_has_its_games_only(ledger: Ledger, broadcaster: Broadcaster) -> None:
    async with Subscriber(broadcaster, frozenset({game(1), game(3)})) as some, Subscriber(broadcaster) as everything:
        await some.heartbeat()
        await everything.heartbeat()
        await ledger.commit([issued(game(n)) for n in (1, 2, 3, 4)])
        await ledger.commit([issued(game(1), pattern=(5.0,))])
        assert await some.forecasts(3) == [1, 3, 5]
        assert await everything.forecasts(5) == [1, 2, 3, 4, 5]


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


async def test_a_subscriber_that_catches_up_while_entries_are_lost_is_told_that_its_token_expired(
    ledger: Ledger, broadcaster: Broadcaster
) -> None:
    await ledger.commit([issued(game(n)) for n in range(100)])
    await reached(ledger, broadcaster, 100)
    async with Subscriber(broadcaster, token=await token_of(ledger, 0)) as subscriber:
        assert await subscriber.forecasts(1) == [1]
        await ledger.write(lose_entries_after_2)
        with pytest.raises(ResumeTokenExpired, match="lost meanwhile"):
            await subscriber.forecasts(100)


@pytest.mark.parametrize(("wanted", "sequences"), [(900, []), (1, [1, 200])])
async def test_a_resumed_filtered_stream_reads_no_other_games(
    wanted: int, sequences: list[int], ledger: Ledger, broadcaster: Broadcaster
) -> None:
    """One page ends at the newest entry: the entries of other games are neither read nor passed over one by one."""
    await ledger.commit([issued(game(n)) for n in range(1, 200)])
    await ledger.commit([issued(game(1), pattern=(5.0,))])
    await reached(ledger, broadcaster, 200)
    async with Subscriber(broadcaster, frozenset({game(wanted)}), token=await token_of(ledger, 0)) as subscriber:
        assert (await ledger.resume_position(await subscriber.heartbeat())).sequence == 0
        assert [(await subscriber.next()).forecast.sequence for _ in sequences] == sequences
        assert (await ledger.resume_position(await subscriber.heartbeat())).sequence == 200


async def test_include_current_sends_the_newest_of_each_game_and_horizon_first(
    ledger: Ledger, broadcaster: Broadcaster
) -> None:
    yesterday = datetime.now(UTC) - timedelta(hours=13)
    stored = await recorded(
        ledger,
        issued(game(1), generated_time=yesterday),
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
        await ledger.commit(
            [issued(game(n), pattern=(*PATTERN[:-1], 9.0)) for n in (1, 4, 6)]
        )  # sent; on this page; on a later one
        await reached(ledger, broadcaster, 10)
        assert sequences + await subscriber.forecasts(4) == [1, 2, 3, 4, 5, 6, 7]
        assert await subscriber.heartbeat() == await token_of(ledger, 7)
        assert await subscriber.forecasts(3) == [8, 9, 10]


async def test_the_token_of_every_current_forecast_resumes_right_after_it(
    ledger: Ledger, broadcaster: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcaster_module, "PAGE_MESSAGES", 2)
    await ledger.commit([issued(game(n)) for n in (1, 2, 3)])
    await ledger.commit([issued(game(1), pattern=(*PATTERN[:-1], 9.0)), issued(game(4)), issued(game(5))])
    await reached(ledger, broadcaster, 6)
    async with Subscriber(broadcaster, current=True) as subscriber:
        messages = [await subscriber.next() for _ in range(5)]
    assert [message.forecast.sequence for message in messages] == [2, 3, 4, 5, 6]
    for message in messages:
        async with Subscriber(broadcaster, token=message.resume_token) as resumed:
            assert await resumed.heartbeat() == message.resume_token
            missing = list(range(message.forecast.sequence + 1, 7))
            assert await resumed.forecasts(len(missing)) == missing


@pytest.mark.parametrize("resumed", [False, True], ids=["current", "resumed"])
async def test_a_subscriber_that_stops_reading_has_few_messages_made_for_it(ledger: Ledger, resumed: bool) -> None:
    encoded: list[int] = []

    def noting(forecast: IssuedForecast) -> forecast_pb2.Forecast:
        encoded.append(forecast.sequence)
        return encode(forecast)

    await ledger.commit([issued(game(n)) for n in range(100)])
    broadcaster = new_broadcaster(ledger, encode=noting)
    await broadcaster.start()
    token = await token_of(ledger, 0) if resumed else ""
    async with Subscriber(broadcaster, token=token, current=not resumed) as subscriber:
        assert await subscriber.forecasts(17) == list(range(1, 18))
        assert encoded == list(range(1, 33))  # two pages of 16
        assert await subscriber.forecasts(83) == list(range(18, 101))
    await broadcaster.close()


async def test_subscribers_of_all_games_that_catch_up_together_share_what_is_read_and_encoded(ledger: Ledger) -> None:
    encoded: list[int] = []

    def noting(forecast: IssuedForecast) -> forecast_pb2.Forecast:
        encoded.append(forecast.sequence)
        return encode(forecast)

    await ledger.commit([issued(game(n)) for n in range(300)])
    broadcaster = new_broadcaster(ledger, encode=noting)
    await broadcaster.start()
    wanted = list(range(1, 301))
    subscribers = [Subscriber(broadcaster, token=await token_of(ledger, start)) for start in range(40)]

    async def check(subscriber: Subscriber, start: int) -> None:
        expected = [sequence for sequence in wanted if sequence > start]
        assert await subscriber.forecasts(len(expected)) == expected
        await subscriber.stream.aclose()

    await asyncio.gather(*(check(subscriber, start) for start, subscriber in enumerate(subscribers)))
    # Each once for all, and the first page of each subscriber, which starts at a place of its own.
    assert len(encoded) <= len(wanted) + len(subscribers) * catch_up.PAGE_MESSAGES
    await broadcaster.close()


async def test_outcomes_and_their_corrections_are_sent_in_the_order_of_the_ledger(
    ledger: Ledger, broadcaster: Broadcaster
) -> None:
    async with Subscriber(broadcaster) as subscriber:
        await subscriber.heartbeat()
        await ledger.commit([issued(game(1))])
        for differential in (3, 3, 4):
            await ledger.record_outcome(outcome(differential, game(1)))
        await ledger.commit([issued(game(2))])
        messages = [await subscriber.next() for _ in range(4)]
    assert [message.WhichOneof("event") for message in messages] == ["forecast", "outcome", "outcome", "forecast"]
    assert [message.outcome.differential for message in messages[1:3]] == [3, 4]
    assert [message.resume_token for message in messages] == [await token_of(ledger, place) for place in (1, 2, 3, 4)]


async def test_a_stream_goes_on_from_before_and_from_after_a_market(ledger: Ledger) -> None:
    await ledger.commit([issued(game(1)), asked(issued(game(2)), answered(None))])
    assert (await ledger.position()).sequence == 3
    async with started(ledger) as broadcaster:
        assert broadcaster.position.sequence == 2
        for place in (2, 3):
            async with Subscriber(broadcaster, token=await token_of(ledger, place)) as subscriber:
                assert await subscriber.heartbeat() == await token_of(ledger, place)
        async with Subscriber(broadcaster) as subscriber:
            assert await subscriber.heartbeat() == await token_of(ledger, 3)
            await ledger.commit([issued(game(3))])
            assert await subscriber.forecasts(1) == [4]


async def test_heartbeats_come_in_silence_and_move_the_token_of_a_filtered_stream(ledger: Ledger) -> None:
    async with (
        started(ledger, heartbeat_seconds=0.02) as broadcaster,
        Subscriber(broadcaster, frozenset({game(1)})) as subscriber,
    ):
        assert (await ledger.resume_position(await subscriber.heartbeat())).sequence == 0
        await ledger.commit([issued(game(n)) for n in (2, 3, 4)])
        await reached(ledger, broadcaster, 3)
        assert (await ledger.resume_position(await subscriber.heartbeat())).sequence == 3
        await ledger.commit([issued(game(1))])
        assert await subscriber.forecasts(1) == [4]


async def test_a_subscriber_too_slow_is_cut_off_and_delays_nobody(
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


async def test_who_starts_or_catches_up_does_not_wait_behind_the_many_streams_of_another_caller(
    ledger: Ledger, broadcaster: Broadcaster
) -> None:
    await ledger.commit([issued(game(n), pattern=(float(k),)) for k in range(20) for n in range(12)])
    await reached(ledger, broadcaster, 240)
    served: list[str] = []

    async def catch_up(caller: str, subscriber: Subscriber) -> None:
        await subscriber.forecasts(20)
        served.append(caller)

    token = await token_of(ledger, 0)
    many = [Subscriber(broadcaster, frozenset({game(n)}), token, caller="many") for n in range(12) for _ in range(10)]
    one = Subscriber(broadcaster, frozenset({game(0), game(1)}), token, caller="one")
    async with asyncio.TaskGroup() as streams:
        for subscriber in many:
            streams.create_task(catch_up("many", subscriber))
        streams.create_task(catch_up("one", one))
    assert served.index("one") < 12
    for subscriber in [*many, one]:
        await subscriber.stream.aclose()


async def test_a_subscriber_gets_everything_though_no_page_may_be_kept(
    ledger: Ledger, broadcaster: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "MAX_PAGES_BYTES", 0)
    await ledger.commit([issued(game(n)) for n in range(100)])
    one, other = [Subscriber(broadcaster, token=await token_of(ledger, start)) for start in (0, 30)]
    received = await asyncio.gather(one.forecasts(100), other.forecasts(70))
    assert [*received] == [list(range(1, 101)), list(range(31, 101))]
    for subscriber in (one, other):
        await subscriber.stream.aclose()
