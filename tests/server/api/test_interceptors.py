"""Calls between gRPC and the services: who answered, errors, deadlines, drains, counts; refused ones leave nothing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.support.builders.calls import PATTERN, refusal
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.waiting import until

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_models.errors import DejavuError
from dejavu_server.access.caller import ScopeMissing
from dejavu_server.access.policy import CallKind
from dejavu_server.api.admissions import Admissions, Arrival
from dejavu_server.api.interceptors import CallInterceptor, Resolver
from dejavu_server.limits import Caller, CallerLimit, Limits, Overloaded
from dejavu_server.observability.metrics import Metrics
from dejavu_server.settings import Settings
from dejavu_server.worker.grpc_server import GrpcServer

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


REQUEST = pb.PredictRequest(pattern=PATTERN)
PREDICT = "/dejavu.v1.PredictionService/Predict"
STREAM = "/dejavu.v1.PredictionService/StreamPredictions"
BATCH = "/dejavu.v1.PredictionService/PredictBatch"
"""Its answers keep their places until they are sent."""


async def test_a_request_id_and_worker_come_back(service: PredictionServiceAsyncStub) -> None:
    """Also with a failed call, and at the start of a stream."""
    ids: Any = (("x-request-id", "x" * 1000),)
    calls: list[Any] = [service.Predict(each, metadata=ids) for each in (REQUEST, pb.PredictRequest())]
    stream = service.StreamPredictions(pb.StreamPredictionsRequest(), metadata=ids)
    for told in (*[await call.trailing_metadata() for call in calls], await stream.initial_metadata()):
        assert [told[name] for name in ("x-request-id", "dejavu-worker", "dejavu-workers")] == ["x" * 128, "0", "1"]
    stream.cancel()
    assert (await service.Predict(REQUEST).trailing_metadata())["x-request-id"]


async def test_an_unknown_error_stays_in_log(service: PredictionServiceAsyncStub, model: PersistenceForecaster) -> None:
    def fail(_: Any) -> None:
        raise ZeroDivisionError("secret")

    model.before = fail
    with capture_logs() as log:
        refused = await refusal(service.Predict(REQUEST))
    assert (refused.code, refused.message, refused.metadata) == (grpc.StatusCode.INTERNAL, "internal error", {})
    [entry] = [entry for entry in log if entry["log_level"] == "error"]
    assert isinstance(entry["exc_info"], ZeroDivisionError)


async def test_what_a_caller_gets_wrong_is_no_trouble_of_the_operator_s(service: PredictionServiceAsyncStub) -> None:
    with capture_logs() as log:
        await refusal(service.Predict(pb.PredictRequest()))
        while not log:  # noqa: ASYNC110 - the call is logged after the response, without an event to wait for
            await asyncio.sleep(0)
    assert {entry["log_level"] for entry in log} == {"debug"}


class NeverRead:
    """The context of a call whose caller reads nothing: no status is ever sent."""

    def __init__(self) -> None:
        self.aborting = asyncio.Event()

    def set_trailing_metadata(self, _: object) -> None:
        pass

    async def abort(self, *_: object) -> None:
        self.aborting.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("denial", [ScopeMissing("token:reader", "predict", "call PredictBatch"), None])
async def test_a_refused_call_whose_status_nobody_reads_keeps_nothing(denial: ScopeMissing | None) -> None:
    async def answer(*_: object) -> bytes:
        raise AssertionError("called") if denial else CallerLimit("games", "1 games a day")

    metrics, limits = Metrics(CollectorRegistry()), Limits(Settings(max_in_flight=1))
    caller = Caller(address="192.0.2.1")
    interceptor = CallInterceptor(metrics, Admissions(limits, metrics, ()))
    arrival = Arrival(caller, denial, limits.take(CallKind.BATCH, caller))
    wrapped = interceptor.wrap(BATCH, grpc.unary_unary_rpc_method_handler(answer))
    of_call: Any = SimpleNamespace(method=BATCH, invocation_metadata=())
    handler: Any = Resolver(interceptor, arrival, wrapped).resolve_handler(of_call)
    with pytest.raises(Overloaded):
        limits.take(CallKind.BATCH, caller)
    context = NeverRead()
    call = asyncio.create_task(handler.unary_unary(b"", context))
    await context.aborting.wait()
    limits.take(CallKind.BATCH, caller)
    with pytest.raises(asyncio.CancelledError):  # it has ended, and with it gRPC's reference to the request
        await call


class Bench:
    """A server with the interceptor and the test's own handlers."""

    def __init__(self, interceptor: CallInterceptor, registry: CollectorRegistry, channel: grpc.aio.Channel) -> None:
        self.interceptor = interceptor
        self.value = registry.get_sample_value
        self.call: Any = channel.unary_unary("/test/Call")
        self.stream: Any = channel.unary_stream("/test/Stream")
        self.begun, self.finish, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def wait(self, _: bytes, __: Any) -> bytes:
        self.begun.set()
        try:
            await self.finish.wait()
        finally:
            self.ended.set()
        return b"done"

    async def drip(self, _: bytes, __: Any) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await self.finish.wait()
        finally:
            self.ended.set()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    admissions = Admissions(Limits(Settings()), metrics, ())
    interceptor = CallInterceptor(metrics, admissions, max_call_seconds=0.0)
    server = GrpcServer(interceptor, admissions)
    port = server.add_insecure_port("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        bench = Bench(interceptor, registry, channel)
        handlers: dict[str, Any] = {
            "Call": grpc.unary_unary_rpc_method_handler(bench.wait),
            "Stream": grpc.unary_stream_rpc_method_handler(bench.drip),
        }
        server.add_methods("test", handlers)
        await server.start()
        yield bench
        await server.stop(0)


async def test_a_call_without_a_deadline_gets_one_and_any_other_may_take_longer(bench: Bench) -> None:
    refused = await refusal(bench.call(b""))
    assert (refused.code, refused.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_PASSED")
    bench.begun.clear()
    call = asyncio.ensure_future(bench.call(b"", timeout=10))
    await bench.begun.wait()  # the server's own deadline of zero seconds would have passed by now
    bench.finish.set()
    assert await call == b"done"


async def test_a_call_and_a_stream_end_when_their_caller_goes(bench: Bench) -> None:
    call, stream = bench.call(b"", timeout=10), bench.stream(b"")
    await bench.begun.wait()
    call.cancel()
    async with asyncio.timeout(5):
        await bench.ended.wait()
        bench.ended.clear()
        assert await stream.read() == b"first"
        stream.cancel()
        await bench.ended.wait()
    assert bench.value("dejavu_calls_total", {"method": "/test/Call", "code": "CANCELLED"}) == 1


async def test_a_call_ends_when_its_deadline_passes(bench: Bench) -> None:
    attempts = 0
    while not bench.begun.is_set():  # on a busy machine the deadline of a call may pass before it begins
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await bench.call(b"", timeout=0.1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        attempts += 1
    async with asyncio.timeout(5):
        await bench.ended.wait()
    counted = bench.value("dejavu_calls_total", {"method": "/test/Call", "code": "DEADLINE_EXCEEDED"})
    assert counted is not None
    assert 1 <= counted <= attempts  # those that did not begin may be counted or not


async def test_streams_that_do_not_end_by_themselves_are_ended_by_a_drain(bench: Bench) -> None:
    stream = bench.stream(b"")
    assert await stream.read() == b"first"
    await bench.interceptor.end_streams()
    for each in (stream, bench.stream(b"")):
        refused = await refusal(each.read())
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert bench.ended.is_set()


async def test_calls_are_counted(bench: Bench) -> None:
    call, stream = asyncio.ensure_future(bench.call(b"", timeout=10)), bench.stream(b"")
    await stream.read()
    await bench.begun.wait()
    for method in ("/test/Call", "/test/Stream"):
        bench.interceptor.sample()
        assert bench.value("dejavu_calls_in_flight", {"method": method}) == 1
    bench.finish.set()
    assert (await call, await stream.read()) == (b"done", grpc.aio.EOF)
    bench.interceptor.sample()
    for method in ("/test/Call", "/test/Stream"):
        assert bench.value("dejavu_calls_in_flight", {"method": method}) == 0
        assert bench.value("dejavu_calls_total", {"method": method, "code": "OK"}) == 1
    assert bench.value("dejavu_call_seconds_count", {"method": "/test/Call", "code": "OK"}) == 1
    assert bench.value("dejavu_stream_messages_total", {"method": "/test/Stream"}) == 1


REFUSED = {
    "a message that cannot be read": (PREDICT, b"\xff"),
    "invalid fields": (PREDICT, pb.PredictRequest(alpha=-1.0, home_team="x").SerializeToString()),
    "a stream of no game": (STREAM, pb.StreamPredictionsRequest(game_ids=["x"]).SerializeToString()),
}


def kept() -> int:
    """Return the number of errors and requests in memory."""
    kinds = (DejavuError, grpc.aio.AbortError, pb.PredictRequest)
    return sum(issubclass(type(each), kinds) for each in gc.get_objects())  # isinstance would ask proxies


@pytest.mark.parametrize("case", REFUSED)
async def test_nothing_is_kept_of_a_refused_call(case: str, channel: grpc.aio.Channel) -> None:
    path, body = REFUSED[case]
    call: Any = channel.unary_stream(path)
    gc.collect()
    gc.disable()
    try:
        before = kept()
        for _ in range(20):
            assert (await refusal(call(body).read())).code is grpc.StatusCode.INVALID_ARGUMENT
        await until(lambda: kept() <= before)  # a server leaves a call after it has answered
    finally:
        gc.enable()
