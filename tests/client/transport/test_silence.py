"""Connections that go silent: TCP accepts data, but nothing answers. The tests use a listener that never reads."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import Iterator

import grpc
import pytest
from tests.support.fakes.service import FakeServer
from tests.support.harness.clients import AnyClient, Asynchronous

from dejavu.v1.prediction_service_pb2 import PredictResponse
from dejavu_client import HALFTIME, DeadlineExceededError, HealthStatus, config
from dejavu_client.transport.channel_pool import (
    FIRST_REPLACEMENT_PAUSE,
    PROBE_SECONDS,
    QUIET_SECONDS,
    ChannelPool,
    PooledChannel,
)
from dejavu_client.transport.servers import WorkerIdentity

PATTERN = [0.0, 2.0, -3.0]


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a listener that accepts connections and never sends anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def client_of(*targets: str, **options: object) -> AnyClient:
    """Return a client whose channels go to these targets, one after the other, and to the last one from then on."""
    addresses = itertools.chain(targets, itertools.repeat(targets[-1]))

    def dialed() -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(next(addresses), config.channel_options())

    return Asynchronous("a test", channel_factory=dialed, **options)


CALLS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("predict", "Predict", {"pattern": PATTERN, "game_id": "0022300001"}),
    ("report_outcome", "ReportOutcome", {"game_id": "0022300001", "differential": 4, "horizon": HALFTIME}),
    ("list_models", "ListModels", {}),
)


async def test_a_call_on_a_silent_connection_is_answered_over_another_one(silent: str, server: FakeServer) -> None:
    async def call(method: str, rpc: str, arguments: dict[str, object]) -> None:
        async with client_of(silent, server.target, channels=2, timeout=60.0) as client:
            await client.call(method, **arguments)
            assert client.stats.methods[rpc].max < 30.0, f"{rpc} did not wait for its deadline"
        assert len(server.of(rpc)) == 1, rpc

    await asyncio.gather(*(call(*each) for each in CALLS))


async def test_a_slow_call_over_a_connection_that_answers_is_not_sent_again(server: FakeServer) -> None:
    going_on = threading.Event()

    def slow(_: object) -> PredictResponse:
        going_on.wait(60)
        return PredictResponse()

    server.answers("Predict", slow)
    async with client_of(server.target, channels=2, timeout=60.0) as client:
        call = asyncio.ensure_future(client.call("predict", PATTERN))
        await asyncio.sleep(2 * (QUIET_SECONDS + PROBE_SECONDS))  # time for more than one probe
        going_on.set()
        await call
    assert len(server.of("Predict")) == 1


async def test_a_health_check_is_sent_once_and_reports_that_nothing_answers(silent: str, server: FakeServer) -> None:
    async with client_of(silent, server.target, channels=2) as client:
        with pytest.raises(DeadlineExceededError):
            await client.call("health", timeout=1.5 * (QUIET_SECONDS + PROBE_SECONDS))
        assert await client.call("health") is HealthStatus.SERVING


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def pool_of(size: int) -> tuple[ChannelPool[int], Clock]:
    clock, numbers = Clock(), itertools.count()
    return ChannelPool(lambda _: next(numbers), size, now=clock), clock


def taken_and_answered(pool: ChannelPool[int], count: int, workers: int = 1) -> list[PooledChannel[int]]:
    channels = [pool.take() for _ in range(count)]
    for number, pooled in enumerate(channels):
        pool.answered(pooled, WorkerIdentity(str(number % workers), workers))
        pool.give_back(pooled)
    return channels


def fall_silent(pool: ChannelPool[int], clock: Clock) -> PooledChannel[int]:
    """Make an unanswered call until its channel is marked as silent; return the channel."""
    pooled = pool.take()
    since = clock.now
    clock.now += pool.check(pooled, since).wait
    assert pool.check(pooled, since).probe
    clock.now += PROBE_SECONDS
    assert pool.check(pooled, since).silent
    pool.give_back(pooled)
    return pooled


def test_an_answer_to_the_probe_or_to_another_call_gives_more_time() -> None:
    pool, clock = pool_of(1)
    pooled, since = pool.take(), clock.now
    for _ in range(20):
        clock.now += QUIET_SECONDS
        assert pool.check(pooled, since).probe
        clock.now += PROBE_SECONDS / 2
        pool.answered(pooled, WorkerIdentity())
        assert not pool.check(pooled, since).silent


def test_silence_is_that_of_a_worker() -> None:
    pool, clock = pool_of(4)
    channels = taken_and_answered(pool, 4, workers=2)
    clock.now += 60.0
    silent = fall_silent(pool, clock)
    for pooled in channels:
        if pooled.worker != silent.worker:
            pool.answered(pooled, WorkerIdentity(pooled.worker, 2))
    assert [pooled.silent for pooled in channels] == [pooled.worker == silent.worker for pooled in channels]
    assert {pool.take().worker for _ in range(10)} == {pooled.worker for pooled in channels if not pooled.silent}


def test_a_connection_dialed_for_a_silent_one_takes_calls_once_it_has_answered_a_probe() -> None:
    pool, clock = pool_of(2)
    taken_and_answered(pool, 2, workers=2)
    silent = fall_silent(pool, clock)
    good = pool.take()
    [fresh] = pool.to_probe()
    assert pool.to_probe() == ()
    assert {fresh.connection} & {silent.connection, good.connection} == set()
    assert all(pool.take() is good for _ in range(5))
    pool.answered(fresh, WorkerIdentity("9", 2))
    assert {pool.take().connection for _ in range(5)} == {fresh.connection, good.connection}


def test_dials_for_silent_connections_become_rare() -> None:
    pool, clock = pool_of(2)
    taken_and_answered(pool, 2, workers=2)
    fall_silent(pool, clock)
    dials = 0
    for _ in range(6000):
        pooled = pool.take()
        pool.answered(pooled, WorkerIdentity(pooled.worker, 1))
        pool.give_back(pooled)
        dials += len(pool.to_probe())
        clock.now += 0.1
    assert 10 <= dials <= 30, "in ten minutes"


def test_a_worker_that_answers_late_is_used_again() -> None:
    pool, clock = pool_of(1)
    silent = fall_silent(pool, clock)
    pool.answered(silent, WorkerIdentity("0", 1))
    assert pool.take() is silent


def test_if_all_are_silent_one_is_dialed_anew_and_used_at_once() -> None:
    pool, clock = pool_of(2)
    known = taken_and_answered(pool, 2)
    clock.now += 1.0
    fall_silent(pool, clock)
    assert all(pooled.silent for pooled in known), "they are of one worker"
    fresh = pool.take()
    assert fresh not in known
    assert pool.take() is fresh
    clock.now += FIRST_REPLACEMENT_PAUSE


def test_a_short_deadline_that_passes_leads_to_one_probe() -> None:
    pool, clock = pool_of(1)
    pooled, since = pool.take(), clock.now
    clock.now += QUIET_SECONDS / 2
    assert pool.deadline_passed(pooled, since)
    assert not pool.deadline_passed(pooled, since)
    clock.now += PROBE_SECONDS
    pool.probe_failed(pooled)
    assert pooled.silent
