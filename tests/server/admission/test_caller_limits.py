"""A real server limits what each caller does; the refusal names the limit and says when to try again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.support.builders.calls import PATTERN, current_game, details, refusal
from tests.support.processes.servers import worker_and_channel

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ReportOutcomeRequest, WithdrawOutcomeRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_server.limits import CALLER_WATCHES

GAMES = [current_game(90001 + number) for number in range(3)]
WHAT_IF = pb.PredictRequest(pattern=PATTERN)
Call = Callable[[grpc.aio.Channel], Any]


def named(game: str) -> pb.PredictRequest:
    return pb.PredictRequest(pattern=PATTERN, game_id=game, horizon=HORIZON_HALFTIME)


def predict(request: pb.PredictRequest) -> Call:
    return lambda channel: PredictionServiceStub(channel).Predict(request, timeout=30)


def report(game: str, differential: int = 4) -> Call:
    outcome = ReportOutcomeRequest(game_id=game, horizon=HORIZON_FINAL, differential=differential)
    return lambda channel: RecordServiceStub(channel).ReportOutcome(outcome, timeout=30)


def withdraw(game: str) -> Call:
    outcome = WithdrawOutcomeRequest(game_id=game, horizon=HORIZON_FINAL)
    return lambda channel: RecordServiceStub(channel).WithdrawOutcome(outcome, timeout=30)


def check(channel: grpc.aio.Channel) -> Any:
    health: Any = HealthStub(channel)
    return health.Check(HealthCheckRequest(), timeout=30)


FORECASTS = [predict(named(GAMES[0])), predict(named(GAMES[1])), predict(named(GAMES[0]))]
OUTCOMES = [report(GAMES[0]), report(GAMES[1]), report(GAMES[0], 5), withdraw(GAMES[1])]


@pytest.mark.parametrize(
    ("limit", "setting", "allowed", "beyond", "before_read"),
    [
        ("rate", {"caller_rate": 0.5}, [predict(WHAT_IF)], predict(WHAT_IF), 1),
        ("games", {"caller_games": 2}, FORECASTS, predict(named(GAMES[2])), 0),
        # Otherwise a caller who may report could make the forecasts of a whole season late within seconds.
        ("games", {"caller_games": 2}, OUTCOMES, report(GAMES[2]), 0),
    ],
    ids=["rate", "games", "outcomes"],
)  # fmt: skip
async def test_a_caller_is_told_which_limit_it_has_reached_and_when_to_try_again(
    tmp_path: Path, limit: str, setting: dict[str, Any], allowed: Sequence[Call], beyond: Call, before_read: int
) -> None:
    async with worker_and_channel(tmp_path, caller_loopback="on", **setting) as (worker, channel):
        for each in allowed:
            await each(channel)
        call = beyond(channel)
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALLER_LIMIT")
        assert refused.metadata["limit"] == limit
        assert refused.retry_seconds is not None
        assert refused.retry_seconds > 0
        pushback = dict(await call.trailing_metadata())["grpc-retry-pushback-ms"]
        assert pushback == str(round(1000 * refused.retry_seconds))
        labels = {"method": "/dejavu.v1.PredictionService/Predict", "reason": "CALLER_LIMIT"}
        assert (worker.metrics.registry.get_sample_value("dejavu_calls_refused_total", labels) or 0) == before_read
        for _ in range(5):
            await check(channel)


async def test_one_game_too_many_leaves_the_other_forecasts_of_a_batch(tmp_path: Path) -> None:
    async with worker_and_channel(tmp_path, caller_loopback="on", caller_games=1) as (_, channel):
        await predict(named(GAMES[0]))(channel)
        batch = pb.PredictBatchRequest(requests=[named(GAMES[1]), WHAT_IF])
        results = (await PredictionServiceStub(channel).PredictBatch(batch, timeout=30)).results
        assert results[0].error.reason == "CALLER_LIMIT"
        assert results[1].HasField("forecast")


async def test_equal_requests_use_the_quota_of_one(tmp_path: Path) -> None:
    """A MiB of entries a day is less than the 1,600 requests have, and far more than the 50 entries."""
    async with worker_and_channel(tmp_path, caller_ledger_mib=1, caller_loopback="on") as (_, channel):
        for number in range(50):
            same = pb.PredictBatchRequest(requests=[named(current_game(number))] * 32)
            results = (await PredictionServiceStub(channel).PredictBatch(same, timeout=30)).results
            assert {each.forecast.sequence for each in results} == {number + 1}


async def test_a_game_takes_as_many_forecasts_as_the_setting_says_and_others_go_on(tmp_path: Path) -> None:
    async with worker_and_channel(tmp_path, max_game_forecasts=100) as (_, channel):
        many = [named(GAMES[0]) for _ in range(101)]
        for number, request in enumerate(many):
            request.pregame_margin = number / 8
        batch = pb.PredictBatchRequest(requests=many)
        *recorded, beyond = (await PredictionServiceStub(channel).PredictBatch(batch, timeout=30)).results
        assert [each.forecast.sequence for each in recorded] == list(range(1, 101))
        assert beyond.error.reason == "GAME_FULL"
        assert (await predict(named(GAMES[1]))(channel)).forecast.sequence == 101


def stream(channel: grpc.aio.Channel) -> Any:
    return PredictionServiceStub(channel).StreamPredictions(pb.StreamPredictionsRequest())


def watch(channel: grpc.aio.Channel) -> Any:
    health: Any = HealthStub(channel)  # which has no types
    return health.Watch(HealthCheckRequest())


@pytest.mark.parametrize(
    ("opened", "most", "code"),
    [
        (stream, 2, grpc.StatusCode.RESOURCE_EXHAUSTED),
        # Watches need no token. A client goes on without one then: it must not take its connection for dead.
        (watch, 2 * CALLER_WATCHES, grpc.StatusCode.UNIMPLEMENTED),
    ],
)
async def test_a_caller_has_so_many_streams_and_makes_room_when_it_ends_one(
    tmp_path: Path, opened: Call, most: int, code: grpc.StatusCode
) -> None:
    async with worker_and_channel(tmp_path, caller_loopback="on", caller_streams=2) as (_, channel):

        async def begins() -> bool:
            try:
                return await opened(channel).read() is not grpc.aio.EOF
            except grpc.aio.AioRpcError as error:
                refused = details(error)
            assert (refused.code, refused.metadata["limit"]) == (code, "streams")
            return False

        streams = [opened(channel) for _ in range(most)]
        for each in streams:
            await each.read()
        assert not await begins()
        await predict(WHAT_IF)(channel)
        await check(channel)
        streams[0].cancel()
        async with asyncio.timeout(30):
            while not await begins():
                pass
