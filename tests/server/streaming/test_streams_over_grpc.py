"""Streams over gRPC: subscribers that do not keep up, and many that come to one worker at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.support.builders.issued_forecasts import game, issued
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1 import prediction_service_pb2_grpc as stubs
from dejavu_ledger import Ledger
from dejavu_ledger.records import IssuedForecast
from dejavu_server.streaming import subscription
from dejavu_server.worker.worker import Worker

FORECASTS = 100


def bulky(number: int) -> IssuedForecast:
    """Return a forecast of about 50 kB, so that a few fill the buffers between server and client."""
    plain = issued(game(number))
    assert plain.forecast.explanation is not None
    many = replace(plain.forecast.explanation, similar_games=plain.forecast.explanation.similar_games * 800)
    return replace(plain, forecast=replace(plain.forecast, explanation=many))


@pytest.fixture
async def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setattr(subscription, "QUEUE_SIZE", 20)
    async with async_worker(tmp_path, ledger=ledger_url(tmp_path, "ledger.db")) as worker:
        yield worker.address


def subscribe(channel: grpc.aio.Channel, token: str = "") -> AsyncIterator[pb.StreamPredictionsResponse]:
    request = pb.StreamPredictionsRequest(resume_token=token)
    return aiter(stubs.PredictionServiceStub(channel).StreamPredictions(request))


async def read_to_the_end(
    stream: AsyncIterator[pb.StreamPredictionsResponse], into: list[pb.StreamPredictionsResponse]
) -> None:
    async for message in stream:
        into.append(message)  # noqa: PERF401 - keeps the messages received before an error


@pytest.mark.nightly
async def test_a_client_that_stops_reading_is_cut_off_alone_and_resumes_without_a_gap(
    address: str, tmp_path: Path
) -> None:
    """Flow control, not the broadcaster, determines what has been read."""
    ledger = await Ledger.open(ledger_url(tmp_path, "ledger.db"))  # as another worker would open it
    async with grpc.aio.insecure_channel(address) as channel, grpc.aio.insecure_channel(address) as other_channel:
        slow, quick = subscribe(channel), subscribe(other_channel)
        first = await anext(slow)
        await anext(quick)
        for number in range(FORECASTS):
            await ledger.commit([bulky(number)])
            assert (await anext(quick)).forecast.sequence == number + 1

        messages: list[pb.StreamPredictionsResponse] = []
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await read_to_the_end(slow, messages)
        assert cut.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        received = [message.forecast.sequence for message in messages]
        assert len(received) < FORECASTS

        token = messages[-1].resume_token if messages else first.resume_token
        async for message in subscribe(channel, token):
            if message.WhichOneof("event") == "forecast":
                received.append(message.forecast.sequence)
            if len(received) == FORECASTS:
                break
    assert received == list(range(1, FORECASTS + 1))
    await ledger.close()


EACH = 100
"""Calls at once on each of eight connections."""


@pytest.fixture
async def channels(worker: Worker) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Connections to a worker, whose calls end with the test."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    made = [grpc.aio.insecure_channel(worker.address, options) for _ in range(8)]
    yield made
    for each in made:
        await each.close()


async def test_subscribers_that_come_all_at_once_are_accepted(channels: list[grpc.aio.Channel]) -> None:
    """As those of a worker that died do: gRPC's core would cancel the calls that its queue has no room for."""
    services: list[Any] = [stubs.PredictionServiceStub(channel) for channel in channels]
    await services[0].StreamPredictions(pb.StreamPredictionsRequest(), timeout=60).read()
    streams = [
        service.StreamPredictions(pb.StreamPredictionsRequest(), timeout=60)
        for service in services
        for _ in range(EACH)
    ]
    firsts = await asyncio.gather(*(stream.read() for stream in streams))
    assert all(first.HasField("heartbeat") for first in firsts)


async def test_health_checks_that_come_all_at_once_are_answered(channels: list[grpc.aio.Channel]) -> None:
    checks: list[Any] = [HealthStub(channel) for channel in channels]
    await checks[0].Check(HealthCheckRequest())
    calls = [check.Check(HealthCheckRequest(), timeout=60) for check in checks for _ in range(EACH)]
    assert Counter([(await call.code()).name for call in calls]) == {"OK": len(calls)}
