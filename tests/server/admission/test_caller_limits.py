"""A real server limits what each caller does; the refusal names the limit and says when to try again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.support.builders.calls import PATTERN, current_game, details, refusal
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ReportOutcomeRequest, WithdrawOutcomeRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_server.admission.callers import WATCHES

REQUEST = pb.PredictRequest(pattern=PATTERN)


async def limit_of(call: Any) -> tuple[str, float]:
    """Return the limit that a call was refused for, and the seconds after which to try again."""
    refused = await refusal(call if hasattr(call, "__await__") else call.read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALLER_LIMIT")
    return refused.metadata["limit"], refused.retry_seconds or 0.0


async def begins(stream: Any) -> bool:
    """Return whether a stream has a first message; it may only be refused for a caller's limit of streams."""
    try:
        return await stream.read() is not grpc.aio.EOF
    except grpc.aio.AioRpcError as error:
        refused = details(error)
    assert refused.metadata["limit"] == "streams"
    return False


async def test_the_rate_of_a_caller(tmp_path: Path) -> None:
    async with (
        async_worker(tmp_path, caller_loopback="on", caller_rate=0.5) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        stub: Any = PredictionServiceStub(channel)
        await stub.Predict(REQUEST, timeout=30)
        call = stub.Predict(REQUEST, timeout=30)
        limit, seconds = await limit_of(call)
        assert limit == "rate"
        assert 0 < seconds <= 2
        assert dict(await call.trailing_metadata())["grpc-retry-pushback-ms"] == str(round(1000 * seconds))
        health: Any = HealthStub(channel)
        for _ in range(5):
            await health.Check(health_pb2.HealthCheckRequest(), timeout=30)


async def test_the_streams_of_a_caller_and_a_cancelled_one_makes_room(tmp_path: Path) -> None:
    async with (
        async_worker(tmp_path, caller_loopback="on", caller_streams=2) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        stub: Any = PredictionServiceStub(channel)
        streams = [stub.StreamPredictions(pb.StreamPredictionsRequest()) for _ in range(2)]
        for stream in streams:
            await stream.read()
        assert (await limit_of(stub.StreamPredictions(pb.StreamPredictionsRequest())))[0] == "streams"
        await stub.Predict(REQUEST, timeout=30)
        streams[0].cancel()
        async with asyncio.timeout(30):
            while not await begins(stub.StreamPredictions(pb.StreamPredictionsRequest())):
                pass


async def test_the_games_that_a_caller_records_in_a_day(tmp_path: Path) -> None:
    async with (
        async_worker(tmp_path, caller_loopback="on", caller_games=2) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        stub: Any = PredictionServiceStub(channel)
        games = [current_game(90001 + number) for number in range(3)]
        for game in [*games[:2], games[0]]:
            await stub.Predict(pb.PredictRequest(pattern=PATTERN, game_id=game, horizon=HORIZON_HALFTIME), timeout=30)
        one, other = pb.PredictRequest(pattern=PATTERN, game_id=games[2], horizon=HORIZON_HALFTIME), REQUEST
        assert (await limit_of(stub.Predict(one, timeout=30)))[0] == "games"
        results = (await stub.PredictBatch(pb.PredictBatchRequest(requests=[one, other]), timeout=30)).results
        assert results[0].error.reason == "CALLER_LIMIT"
        assert results[1].HasField("forecast")
        await stub.Predict(
            pb.PredictRequest(pattern=[*PATTERN[:-1], PATTERN[-1] + 1], game_id=games[1], horizon=HORIZON_HALFTIME),
            timeout=30,
        )


async def test_outcomes_count_towards_the_games_that_a_caller_records_in_a_day(tmp_path: Path) -> None:
    """Otherwise a caller who may report could make the forecasts of a whole season late within seconds."""
    async with (
        async_worker(tmp_path, caller_loopback="on", caller_games=2) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        stub: Any = RecordServiceStub(channel)
        games = [current_game(90001 + number) for number in range(3)]

        def report(game: str, differential: int = 4) -> Any:
            outcome = ReportOutcomeRequest(game_id=game, horizon=HORIZON_FINAL, differential=differential)
            return stub.ReportOutcome(outcome, timeout=30)

        for game in (games[0], games[0], games[1]):
            await report(game)
        await report(games[0], 5)  # a correction
        await stub.WithdrawOutcome(WithdrawOutcomeRequest(game_id=games[1], horizon=HORIZON_FINAL), timeout=30)
        assert (await limit_of(report(games[2])))[0] == "games"


async def test_one_caller_leaves_half_of_the_places_of_batches_to_others(tmp_path: Path) -> None:
    explained = [pb.PredictRequest(pattern=[game] * 17, return_explanation=True) for game in range(200)]
    async with (
        async_worker(tmp_path, caller_loopback="on", max_in_flight=16, shipped=True) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        stub: Any = PredictionServiceStub(channel)
        calls = [stub.PredictBatch(pb.PredictBatchRequest(requests=explained), timeout=60) for _ in range(3)]
        codes = [await call.code() for call in calls]
        assert codes.count(grpc.StatusCode.OK) == 2
        for call, code in zip(calls, codes, strict=True):
            assert code is grpc.StatusCode.OK or (await limit_of(call))[0] == "batches"


async def begun(health: Any) -> grpc.StatusCode | None:
    """Return the status of a new watch; None if it has begun."""
    watch = health.Watch(health_pb2.HealthCheckRequest())
    try:
        await watch.read()
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None


async def test_one_caller_has_a_number_of_watches_and_makes_room_when_it_ends_one(tmp_path: Path) -> None:
    """Watches need no token. After UNIMPLEMENTED a client goes on without: it must not take its connection for dead."""
    async with (
        async_worker(tmp_path, caller_loopback="on", caller_streams=1) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        health: Any = HealthStub(channel)
        watches = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(WATCHES)]
        for watch in watches:
            await watch.read()
        assert await begun(health) is grpc.StatusCode.UNIMPLEMENTED
        await health.Check(health_pb2.HealthCheckRequest(), timeout=30)
        watches[0].cancel()
        async with asyncio.timeout(30):
            while (await begun(health)) is grpc.StatusCode.UNIMPLEMENTED:
                pass
