"""Both clients against the real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.clients import CLIENTS, AnyClient
from tests.support.processes.servers import running_worker

from dejavu_client import (
    DejavuClient,
    Forecast,
    HealthStatus,
    InvalidArgumentError,
    NotFoundError,
    StreamPredictionsResponse,
    predict_request,
)

GAME, OTHER_GAME = current_game(1), current_game(2)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with running_worker(tmp_path) as address:
        yield address


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, address: str) -> AnyClient:
    return CLIENTS[request.param](address)


async def soon(stream: AsyncGenerator[StreamPredictionsResponse, None]) -> StreamPredictionsResponse:
    async with asyncio.timeout(10):
        return await anext(stream)


async def next_sequence(stream: AsyncGenerator[StreamPredictionsResponse, None]) -> int:
    """Returns the sequence of the next forecast; skips heartbeats."""
    while not (response := await soon(stream)).HasField("forecast"):
        pass
    return response.forecast.sequence


async def test_a_recorded_forecast_asked_for_again_is_the_same_one(client: AnyClient) -> None:
    async with client:
        first: Forecast = await client.call("predict", PATTERN, game_id=GAME, home_team="BKN", explain=True)
        again: Forecast = await client.call("predict", PATTERN, game_id=GAME, home_team="BKN", explain=True)
        assert first == again
        assert first.sequence > 0
        assert first.interval_lower <= first.point_forecast <= first.interval_upper
        assert first.HasField("explanation")


async def test_what_the_server_refuses_arrives_with_reason_and_field(client: AnyClient) -> None:
    async with client:
        with pytest.raises(InvalidArgumentError) as caught:
            await client.call("predict", [*PATTERN[:-1], float("nan")])
        assert caught.value.reason == "INVALID_PATTERN"
        assert [violation.field for violation in caught.value.field_violations] == ["pattern[17]"]
        assert caught.value.request_id
        with pytest.raises(NotFoundError) as unknown:
            await client.call("predict", PATTERN, model_version="none")
        assert unknown.value.reason == "UNKNOWN_MODEL_VERSION"


async def test_a_batch_a_list_and_the_health_come_back(client: AnyClient) -> None:
    async with client:
        good, bad = await client.call("predict_batch", [predict_request(PATTERN), predict_request([])])
        assert (good.WhichOneof("result"), bad.WhichOneof("result")) == ("forecast", "error")
        (model,) = await client.call("list_models")
        assert model.active
        assert await client.call("health") is HealthStatus.SERVING
        assert await client.call("health", "dejavu.v1.PredictionService") is HealthStatus.SERVING
        with pytest.raises(NotFoundError):
            await client.call("health", "no.such.Service")


async def test_the_worker_that_answers_is_known(client: AnyClient) -> None:
    async with client:
        for _ in range(3):
            await client.call("predict", PATTERN)
        assert list(client.stats.workers.values()) == [3]


async def test_a_stream_brings_what_others_have_forecast(client: AnyClient, address: str) -> None:
    async with client:
        stream = client.stream([GAME], heartbeats=True)
        assert (await soon(stream)).HasField("heartbeat")
        with DejavuClient(address) as other:
            other.predict(PATTERN, game_id=OTHER_GAME)
            made = other.predict(PATTERN, game_id=GAME, explain=True)
        assert (await soon(stream)).forecast == made
        await stream.aclose()


async def test_a_token_goes_on_right_after_its_event(client: AnyClient, address: str) -> None:
    with DejavuClient(address) as other:
        sequences = [other.predict([*PATTERN[:-1], float(n)], game_id=GAME).sequence for n in range(4)]
    async with client:
        current = client.stream(include_current=True)
        assert (await soon(current)).forecast.sequence == sequences[-1]
        await current.aclose()
        with DejavuClient(address) as other:
            token = next(other.stream_predictions(heartbeats=True)).resume_token
            later = other.predict([*PATTERN[:-1], 20.0], game_id=GAME)
        stream = client.stream(resume_token=token)
        assert (await soon(stream)).forecast.sequence == later.sequence
        await stream.aclose()
        with pytest.raises(InvalidArgumentError) as caught:
            await soon(client.stream(resume_token="another ledger's"))
        assert caught.value.field_violations[0].field == "resume_token"


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_stream_outlives_a_restart_of_the_server_and_misses_nothing(kind: str, tmp_path: Path) -> None:
    def predict(address: str, last: float) -> int:
        with DejavuClient(address) as other:
            return other.predict([*PATTERN[:-1], last], game_id=GAME).sequence

    server = running_worker(tmp_path)
    address = await asyncio.to_thread(server.__enter__)
    try:
        async with CLIENTS[kind](address) as client:
            stream = client.stream(heartbeats=True)
            assert (await soon(stream)).HasField("heartbeat")
            first = await asyncio.to_thread(predict, address, 1.0)
            assert await next_sequence(stream) == first
            await asyncio.to_thread(server.__exit__, None, None, None)
            server = running_worker(tmp_path, listen=address)
            await asyncio.to_thread(server.__enter__)
            second = await asyncio.to_thread(predict, address, 2.0)
            assert await next_sequence(stream) == second
            await stream.aclose()
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)
