"""A real server limits calls in progress and what each caller does: it refuses the others itself, and counts them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from bench.fuzz import wire
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.support.builders.calls import PATTERN, current_game, details, refusal
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.waiting import until
from tests.support.processes.connections import status_of
from tests.support.processes.servers import async_worker, worker_and_channel

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ReportOutcomeRequest, WithdrawOutcomeRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope
from dejavu_server.access.policy import CallKind
from dejavu_server.api.admissions import REQUEST_SECONDS
from dejavu_server.limits import CALLER_WATCHES
from dejavu_server.worker.worker import Worker

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
        batch = pb.PredictBatchRequest(requests=[*many, named(GAMES[1])])
        *recorded, beyond, other = (await PredictionServiceStub(channel).PredictBatch(batch, timeout=30)).results
        assert [each.forecast.sequence for each in recorded] == list(range(1, 101))
        assert (beyond.error.reason, other.forecast.sequence) == ("GAME_FULL", 101)


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
async def test_a_caller_s_streams_are_limited(tmp_path: Path, opened: Call, most: int, code: grpc.StatusCode) -> None:
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


PREDICT, BATCH = (f"/dejavu.v1.PredictionService/{name}" for name in ("Predict", "PredictBatch"))
REQUEST = pb.PredictRequest(pattern=PATTERN)
REQUESTS = pb.PredictBatchRequest(requests=[REQUEST] * 2)
COMPLETE = wire.call(PREDICT, wire.prefixed(REQUEST.SerializeToString()))
IN_FLIGHT = 16
MOST_BATCHES = 3
"""Batches of one caller that are admitted: all of a quarter but the reserve."""


@pytest.fixture
def go() -> Iterator[threading.Event]:
    """Let the batches of the worker go on; other forecasts do not wait."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
async def worker(tmp_path: Path, go: threading.Event) -> AsyncIterator[Worker]:
    model, loop = PersistenceForecaster(), threading.current_thread()

    def wait(_: object) -> None:
        if threading.current_thread() is not loop:
            go.wait(60)

    async with async_worker(tmp_path, model, max_in_flight=IN_FLIGHT, cache="off") as worker:
        model.before = wait  # not before the worker has warmed up
        yield worker
        go.set()


@pytest.fixture
async def stub(worker: Worker) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(worker.address) as channel:
        yield PredictionServiceStub(channel)


def refusals(worker: Worker, reason: str, method: str = PREDICT) -> float:
    labels = {"method": method, "reason": reason}
    return worker.metrics.registry.get_sample_value("dejavu_calls_refused_total", labels) or 0


def headers(path: str) -> bytes:
    """Return a call without its request."""
    return wire.call(path, b"")[: -len(wire.frame(wire.DATA, wire.END_STREAM, 1, b""))]


async def until_idle(worker: Worker) -> None:
    await until(lambda: not any(map(worker.limits.in_progress, (CallKind.PREDICT, CallKind.BATCH))))


async def send_headers(worker: Worker, address: str = "127.0.0.1") -> asyncio.StreamWriter:
    """Make a call from an address that sends its headers and no request; return its connection."""
    host, _, port = worker.address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), local_addr=(address, 0))
    writer.write(headers(PREDICT))
    return writer


async def test_calls_beyond_the_limit_are_refused_before_they_are_read_and_each_is_counted(
    worker: Worker, stub: Any, go: threading.Event
) -> None:
    calls = [stub.PredictBatch(REQUESTS, timeout=60, metadata=[("x-request-id", "mine")]) for _ in range(40)]
    await until(lambda: refusals(worker, "OVERLOADED", BATCH) == 40 - MOST_BATCHES)
    assert await status_of(worker.address, headers(BATCH)) == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert (await stub.Predict(REQUEST, timeout=60)).forecast.model_version, "other kinds have places of their own"
    go.set()
    refused = [call for call in calls if await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert len(refused) == 40 - MOST_BATCHES
    assert refusals(worker, "OVERLOADED", BATCH) == len(refused) + 1
    await stub.PredictBatch(REQUESTS, timeout=60)  # room was given back
    delays = set[float]()
    for call in refused:
        error, metadata = await refusal(call), dict(await call.trailing_metadata())
        assert (error.reason, metadata["x-request-id"]) == ("OVERLOADED", "mine")
        assert {"dejavu-worker", "dejavu-workers"} <= set(metadata)
        assert metadata["grpc-retry-pushback-ms"] == str(round(1000 * (error.retry_seconds or 0)))
        delays.add(error.retry_seconds or 0)
    assert len(delays) > 4, "refused callers would come back together"
    assert 0.5 <= min(delays) <= max(delays) <= 1.5


async def test_cancelled_and_expired_calls_give_their_room_back(worker: Worker, stub: Any, go: threading.Event) -> None:
    calls = [stub.PredictBatch(REQUESTS, timeout=60) for _ in range(MOST_BATCHES + 5)]
    await until(lambda: refusals(worker, "OVERLOADED", BATCH) == 5)
    for call in calls:
        call.cancel()
    await until_idle(worker)
    assert await stub.PredictBatch(REQUESTS, timeout=0.05).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until_idle(worker)
    go.set()
    await stub.PredictBatch(REQUESTS, timeout=60)


async def test_calls_that_send_headers_and_no_request_make_room_again(worker: Worker, stub: Any) -> None:
    """Otherwise an anonymous caller could hold the place of every forecast with a few hundred bytes."""
    writers = [await send_headers(worker) for _ in range(IN_FLIGHT)]
    await until(lambda: worker.limits.in_progress(CallKind.PREDICT) == IN_FLIGHT)
    await until_idle(worker)
    assert (await stub.Predict(REQUEST, timeout=60)).forecast.model_version
    assert refusals(worker, "NO_REQUEST") == 0, "a call that was ended counts twice"
    assert refusals(worker, "DEADLINE_PASSED") == IN_FLIGHT
    for writer in writers:
        writer.close()


async def test_a_request_that_arrives_while_the_worker_stands_still_is_answered(worker: Worker) -> None:
    """Its time is over before the worker can read it, but its caller was not late."""
    writer = await send_headers(worker)
    await until(lambda: worker.limits.in_progress(CallKind.PREDICT) == 1)
    writer.write(COMPLETE.removeprefix(headers(PREDICT)))
    time.sleep(1.25 * REQUEST_SECONDS)  # noqa: ASYNC251 - blocks the event loop on purpose
    await until_idle(worker)
    writer.close()
    labels = {"method": PREDICT, "code": "OK"}
    assert worker.metrics.registry.get_sample_value("dejavu_calls_total", labels) == 1


async def test_calls_count_for_their_caller_from_their_headers_on(tmp_path: Path) -> None:
    """So a caller that sends only headers leaves places to others, as one with real calls does."""
    async with worker_and_channel(tmp_path, max_in_flight=8, caller_calls=8, caller_loopback="on", cache="off") as (
        worker,
        channel,
    ):
        writers = [await send_headers(worker, "127.0.0.2") for _ in range(9)]
        await until(lambda: refusals(worker, "CALLER_LIMIT"))
        assert (await PredictionServiceStub(channel).Predict(REQUEST, timeout=60)).forecast.model_version
        for writer in writers:
            writer.close()


async def test_headers_without_a_token_take_no_place_and_refusals_count_for_theirs(tmp_path: Path) -> None:
    token = token_file.create(tmp_path / "tokens", "analyst", (AccessScope.PREDICT,), utc_now())
    metadata = [("authorization", f"Bearer {token}")]
    limits: dict[str, Any] = {"max_in_flight": IN_FLIGHT, "caller_rate": 0.01, "caller_loopback": "on"}
    async with worker_and_channel(tmp_path, cache="off", tokens=str(tmp_path / "tokens"), **limits) as (
        worker,
        channel,
    ):
        writers = [await send_headers(worker, f"127.0.0.{2 + number}") for number in range(2 * IN_FLIGHT)]
        await until(lambda: refusals(worker, "UNAUTHENTICATED") == len(writers))
        assert not worker.limits.in_progress(CallKind.PREDICT)
        stub: Any = PredictionServiceStub(channel)
        assert await stub.Predict(REQUEST, metadata=metadata).code() is grpc.StatusCode.OK
        assert (await refusal(stub.Predict(REQUEST, metadata=metadata))).metadata == {"limit": "rate"}
        labels = {"caller": "analyst", "code": "RESOURCE_EXHAUSTED"}
        assert worker.metrics.registry.get_sample_value("dejavu_caller_calls_total", labels) == 1
        for writer in writers:
            writer.close()


async def test_callers_who_call_again_when_they_are_answered_are_not_refused(tmp_path: Path) -> None:
    async with async_worker(tmp_path, max_in_flight=4, cache="off") as worker:

        async def call() -> set[grpc.StatusCode]:
            async with grpc.aio.insecure_channel(worker.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                stub: Any = PredictionServiceStub(channel)
                return {await stub.Predict(REQUEST, timeout=30).code() for _ in range(150)}

        assert await asyncio.gather(*(call() for _ in range(4))) == [{grpc.StatusCode.OK}] * 4
