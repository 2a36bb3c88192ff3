"""A real server under more calls than it may have in progress refuses the others itself, and counts every refusal."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from bench.fuzz import wire
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tests.support.builders.calls import PATTERN
from tests.support.harness.waiting import until
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope
from dejavu_server.access.policy import CallKind
from dejavu_server.admission.controller import PATIENCE_SECONDS, REQUEST_SECONDS
from dejavu_server.api.converters import prediction
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.worker.worker import Worker

PREDICT = "/dejavu.v1.PredictionService/Predict"
REQUEST = pb.PredictRequest(pattern=PATTERN)
LIMIT = 2
MOST = 3 * LIMIT


class Held:
    """Makes forecasts wait until `go` is set; counts those that wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = asyncio.Event()
        self.converted = 0
        forecast, request_of = Batcher.forecast, prediction.forecast_request

        async def held(batcher: Batcher, *query: Any) -> Any:
            await self.go.wait()
            return await forecast(batcher, *query)

        def converted(*request: Any) -> Any:
            self.converted += 1
            return request_of(*request)

        monkeypatch.setattr(Batcher, "forecast", held)
        monkeypatch.setattr(prediction, "forecast_request", converted)


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    async with async_worker(tmp_path, max_in_flight=LIMIT, cache="off") as worker:
        yield worker


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


@pytest.fixture
async def stub(worker: Worker) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(worker.address) as channel:
        yield PredictionServiceStub(channel)


async def code_of(call: Any) -> grpc.StatusCode:
    code: grpc.StatusCode = await call.code()
    return code


def refusals(worker: Worker, reason: str, method: str = PREDICT) -> float:
    labels = {"method": method, "reason": reason}
    return worker.metrics.registry.get_sample_value("dejavu_calls_refused_total", labels) or 0


async def until_idle(worker: Worker) -> None:
    await until(lambda: not worker.admission.in_progress(CallKind.PREDICT))


async def send_headers_only(worker: Worker, address: str = "127.0.0.1") -> asyncio.StreamWriter:
    """Make a call from an address that sends its headers and no request; return its connection."""
    _, writer, _ = await begin_slow_call(worker, address)
    return writer


@asynccontextmanager
async def headers_from(
    worker: Worker, addresses: Sequence[str], *, every: float
) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Send headers without a request from each address again and again; yield the connections so far."""
    writers: list[asyncio.StreamWriter] = []

    async def hold(address: str) -> None:
        while True:
            writers.append(await send_headers_only(worker, address))
            await asyncio.sleep(every)

    holding = [asyncio.create_task(hold(address)) for address in addresses]
    try:
        yield writers
    finally:
        for task in holding:
            task.cancel()
        for writer in writers:
            writer.close()


async def begin_slow_call(
    worker: Worker, address: str, path: str = PREDICT, request: Message = REQUEST
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Make a call from an address that sends its headers; return its connection and its request."""
    host, _, port = worker.address.rpartition(":")
    headers = wire.call(path, b"")[: -len(wire.frame(wire.DATA, wire.END_STREAM, 1, b""))]
    complete = wire.call(path, wire.prefixed(request.SerializeToString()))
    assert complete.startswith(headers)
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(address, 0))
    writer.write(headers)
    return reader, writer, complete[len(headers) :]


async def first_ended(calls: list[Any], number: int) -> list[Any]:
    """Wait until at least `number` of the calls have ended; return those."""
    waiting = {asyncio.ensure_future(call.code()): call for call in calls}
    ended: list[Any] = []
    async with asyncio.timeout(30):
        while len(ended) < number:
            done, _ = await asyncio.wait(list(waiting), return_when=asyncio.FIRST_COMPLETED)
            ended += [waiting.pop(each) for each in done]
    for each in waiting:
        each.cancel()
    return ended


async def test_calls_beyond_the_limit_are_refused_before_they_are_read_and_each_is_counted(
    worker: Worker, held: Held, stub: Any
) -> None:
    calls = [stub.Predict(REQUEST, timeout=60, metadata=[("x-request-id", f"r{number}")]) for number in range(40)]
    await first_ended(calls, 40 - MOST)
    held.go.set()
    codes = Counter([await code_of(call) for call in calls])
    admitted, refused = codes[grpc.StatusCode.OK], codes[grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert admitted + refused == 40
    # On a busy machine some give their place to others before their request has come.
    assert LIMIT <= admitted <= MOST
    assert held.converted == admitted, "a refused request was read"
    assert refusals(worker, "OVERLOADED") == refused
    labels = {"method": PREDICT, "code": "RESOURCE_EXHAUSTED"}
    assert worker.metrics.registry.get_sample_value("dejavu_calls_total", labels) == refused
    assert (await stub.Predict(REQUEST, timeout=60)).forecast.model_version, "room was given back"


async def test_a_refusal_says_why_when_to_try_again_and_who_refused(worker: Worker, held: Held, stub: Any) -> None:
    calls = [stub.Predict(REQUEST, timeout=60, metadata=[("x-request-id", "mine")]) for _ in range(MOST + 20)]
    delays = set()
    for call in await first_ended(calls, 20):
        status = await rpc_status.aio.from_call(call)
        assert status is not None
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        status.details[0].Unpack(info)
        status.details[1].Unpack(retry)
        assert (info.reason, info.domain) == ("OVERLOADED", "dejavu")
        metadata = dict(await call.trailing_metadata())
        assert metadata["grpc-retry-pushback-ms"] == str(retry.retry_delay.ToMilliseconds())
        assert metadata["x-request-id"] == "mine"
        assert {"dejavu-worker", "dejavu-workers"} <= set(metadata)
        assert 0.5 <= retry.retry_delay.ToMilliseconds() / 1e3 <= 1.5
        delays.add(retry.retry_delay.ToMilliseconds())
    assert len(delays) > 4, "refused callers would come back together"
    held.go.set()


async def test_cancelled_and_expired_calls_give_their_room_back(worker: Worker, held: Held, stub: Any) -> None:
    calls = [stub.Predict(REQUEST, timeout=60) for _ in range(MOST + 5)]
    await first_ended(calls, 5)
    assert worker.admission.in_progress(CallKind.PREDICT) >= LIMIT
    for call in calls:
        call.cancel()
    await until_idle(worker)
    assert await code_of(stub.Predict(REQUEST, timeout=0.05)) is grpc.StatusCode.DEADLINE_EXCEEDED
    await until_idle(worker)
    held.go.set()
    assert (await stub.Predict(REQUEST, timeout=60)).forecast.model_version


async def test_calls_that_send_headers_and_no_request_make_room_again(worker: Worker, stub: Any) -> None:
    """Otherwise an anonymous caller could hold the place of every forecast with a few hundred bytes."""
    writers = [await send_headers_only(worker) for _ in range(MOST)]
    try:
        async with asyncio.timeout(20):
            # Not at once: a few calls beyond the limit are admitted for a moment.
            await until(lambda: worker.admission.in_progress(CallKind.PREDICT) >= LIMIT)
            while await code_of(stub.Predict(REQUEST)) is not grpc.StatusCode.OK:  # noqa: ASYNC110 - an answer
                await asyncio.sleep(0.05)
            await until_idle(worker)
        assert refusals(worker, "NO_REQUEST") == 0, "a call that was ended counts twice"
    finally:
        for writer in writers:
            writer.close()


async def test_a_request_that_arrives_while_the_worker_stands_still_is_answered(worker: Worker) -> None:
    """Its time is over before the worker can read it, but its caller was not late."""
    _, writer, request = await begin_slow_call(worker, "127.0.0.1")
    try:
        await until(lambda: worker.admission.in_progress(CallKind.PREDICT) == 1)
        writer.write(request)
        time.sleep(1.25 * REQUEST_SECONDS)  # noqa: ASYNC251 - blocks the event loop on purpose
        await until_idle(worker)
    finally:
        writer.close()
    answered = {"method": PREDICT, "code": "OK"}
    assert worker.metrics.registry.get_sample_value("dejavu_calls_total", answered) == 1


async def test_calls_that_send_headers_again_and_again_do_not_keep_others_from_their_forecasts(
    worker: Worker, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their places go to others long before their requests are due."""
    monkeypatch.setattr(worker.admission, "_request_seconds", 600.0)
    # All places are taken within PATIENCE_SECONDS.
    async with headers_from(worker, ["127.0.0.1"], every=PATIENCE_SECONDS / LIMIT), asyncio.timeout(30):
        await until(lambda: worker.admission.in_progress(CallKind.PREDICT) >= LIMIT)
        answered = 0
        while answered < 5:
            answered += await code_of(stub.Predict(REQUEST)) is grpc.StatusCode.OK
            await asyncio.sleep(PATIENCE_SECONDS / 3)


async def test_headers_without_a_token_take_no_place_of_forecasts(tmp_path: Path) -> None:
    """From any number of addresses, at a rate that would fill all places within PATIENCE_SECONDS."""
    token = token_file.create(tmp_path / "tokens", "analyst", (AccessScope.PREDICT,), utc_now())
    metadata = [("authorization", f"Bearer {token}")]
    async with (
        async_worker(tmp_path, max_in_flight=MOST, cache="off", tokens=str(tmp_path / "tokens")) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        stub: Any = PredictionServiceStub(channel)
        writers = [await send_headers_only(worker, f"127.0.0.{2 + number}") for number in range(4 * MOST)]
        await until(lambda: refusals(worker, "UNAUTHENTICATED") == len(writers))
        assert not worker.admission.in_progress(CallKind.PREDICT)
        assert await code_of(stub.Predict(REQUEST, metadata=metadata)) is grpc.StatusCode.OK
        for writer in writers:
            writer.close()


async def test_callers_who_call_again_when_they_are_answered_are_not_refused(tmp_path: Path) -> None:
    callers = 4
    async with async_worker(tmp_path, max_in_flight=callers, cache="off") as worker:
        codes = set()

        async def call(again: int) -> None:
            async with grpc.aio.insecure_channel(worker.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                stub = PredictionServiceStub(channel)
                codes.update([await code_of(stub.Predict(REQUEST, timeout=30)) for _ in range(again)])

        await asyncio.gather(*(call(150) for _ in range(callers)))
        assert codes == {grpc.StatusCode.OK}
