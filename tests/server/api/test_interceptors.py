"""Calls between gRPC and the services: who answered, errors, deadlines, drains, counts; refused ones leave nothing."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.support.builders.calls import PATTERN, refusal
from tests.support.fakes.forecasters import PersistenceForecaster

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_models.errors import DejavuError
from dejavu_server.access.caller import ScopeMissing
from dejavu_server.access.policy import CallKind
from dejavu_server.api.admissions import Admissions, Arrival
from dejavu_server.api.interceptors import CallInterceptor, Resolver
from dejavu_server.limits import Caller, CallerLimit, Limits, Overloaded
from dejavu_server.observability.metrics import Metrics
from dejavu_server.settings import Settings
from dejavu_server.streaming.stream_errors import ServerDraining
from dejavu_server.worker.grpc_server import GrpcServer

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


REQUEST = pb.PredictRequest(pattern=PATTERN)
PREDICT = "/dejavu.v1.PredictionService/Predict"
BATCH = "/dejavu.v1.PredictionService/PredictBatch"
"""Its answers keep their places until they are sent."""


@pytest.mark.parametrize(("sent", "returned"), [("abc-1", "abc-1"), ("x" * 1000, "x" * 128)], ids=["short", "cut"])
async def test_a_request_id_and_worker_come_back(service: PredictionServiceAsyncStub, sent: str, returned: str) -> None:
    """Also with a failed call, and at the start of a stream."""

    def check(metadata: Any) -> None:
        names = ("x-request-id", "dejavu-worker", "dejavu-workers")
        assert [metadata[name] for name in names] == [returned, "0", "1"]

    ids: Any = (("x-request-id", sent),)
    call = service.Predict(REQUEST, metadata=ids)
    await call
    check(await call.trailing_metadata())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.Predict(pb.PredictRequest(), metadata=ids)
    check(caught.value.trailing_metadata())
    stream = service.StreamPredictions(pb.StreamPredictionsRequest(), metadata=ids)
    check(await stream.initial_metadata())
    stream.cancel()
    generated = service.Predict(REQUEST)
    await generated
    assert (await generated.trailing_metadata())["x-request-id"]


async def test_an_unknown_error_stays_in_log(service: PredictionServiceAsyncStub, model: PersistenceForecaster) -> None:
    def fail(_: Any) -> None:
        raise ZeroDivisionError("secret")

    model.before = fail
    with capture_logs() as log:
        refused = await refusal(service.Predict(REQUEST))
    assert (refused.code, refused.reason, refused.message) == (grpc.StatusCode.INTERNAL, "INTERNAL", "internal error")
    assert refused.metadata == {}
    [entry] = [entry for entry in log if entry["log_level"] == "error"]
    assert entry["method"] == PREDICT
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
        self.registry = registry
        self.call: Any = channel.unary_unary("/test/Call")
        self.stream: Any = channel.unary_stream("/test/Stream")
        self.finish = asyncio.Event()
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

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

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


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
    assert bench.ended.is_set()
    bench.begun.clear()
    call = asyncio.ensure_future(bench.call(b"", timeout=10))
    await bench.begun.wait()  # the server's own deadline of zero seconds would have passed by now
    bench.finish.set()
    assert await call == b"done"


async def test_a_call_and_a_stream_end_when_their_caller_goes(bench: Bench) -> None:
    call = bench.call(b"", timeout=10)
    await bench.begun.wait()
    call.cancel()
    async with asyncio.timeout(5):
        await bench.ended.wait()
    assert bench.value("dejavu_calls_total", method="/test/Call", code="CANCELLED") == 1
    bench.ended.clear()
    stream = bench.stream(b"")
    assert await stream.read() == b"first"
    stream.cancel()
    async with asyncio.timeout(5):
        await bench.ended.wait()


async def test_a_call_ends_when_its_deadline_passes(bench: Bench) -> None:
    attempts = 0
    while not bench.begun.is_set():  # on a busy machine the deadline of a call may pass before it begins
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await bench.call(b"", timeout=0.1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        attempts += 1
    async with asyncio.timeout(5):
        await bench.ended.wait()
    counted = bench.value("dejavu_calls_total", method="/test/Call", code="DEADLINE_EXCEEDED")
    assert counted is not None
    assert 1 <= counted <= attempts  # those that did not begin may be counted or not


async def test_streams_that_do_not_end_by_themselves_are_ended_by_a_drain(bench: Bench) -> None:
    stream = bench.stream(b"")
    assert await stream.read() == b"first"
    await bench.interceptor.end_streams()
    refused = await refusal(stream.read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, ServerDraining.reason)
    assert bench.ended.is_set()
    late = await refusal(bench.stream(b"").read())
    assert (late.code, late.reason) == (grpc.StatusCode.UNAVAILABLE, ServerDraining.reason)


async def test_calls_are_counted(bench: Bench) -> None:
    call = asyncio.ensure_future(bench.call(b"", timeout=10))
    stream = bench.stream(b"")
    await stream.read()
    await bench.begun.wait()
    methods = ("/test/Call", "/test/Stream")
    bench.interceptor.sample()
    assert [bench.value("dejavu_calls_in_flight", method=method) for method in methods] == [1, 1]
    bench.finish.set()
    await call
    assert await stream.read() is grpc.aio.EOF
    bench.interceptor.sample()
    assert [bench.value("dejavu_calls_in_flight", method=method) for method in methods] == [0, 0]
    assert [bench.value("dejavu_calls_total", method=method, code="OK") for method in methods] == [1, 1]
    assert bench.value("dejavu_call_seconds_count", method="/test/Call", code="OK") == 1
    assert bench.value("dejavu_stream_messages_total", method="/test/Stream") == 1


SERVICE = "/dejavu.v1.PredictionService"
REFUSED = {
    "a message that cannot be read": (f"{SERVICE}/Predict", b"\xff"),
    "invalid fields": (f"{SERVICE}/Predict", pb.PredictRequest(alpha=-1.0, home_team="x").SerializeToString()),
    "a stream of no game": (
        f"{SERVICE}/StreamPredictions",
        pb.StreamPredictionsRequest(game_ids=["x"]).SerializeToString(),
    ),
}


@pytest.fixture
def without_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def kept(*kinds: type) -> int:
    """Return the number of objects of some types."""
    return sum(issubclass(type(each), kinds) for each in gc.get_objects())  # isinstance would ask proxies


async def left_behind(before: int, *kinds: type) -> int:
    """Return how many objects there are more than before, once the server has left its last calls.

    It leaves them after it has answered.
    """
    deadline = time.monotonic() + 10.0
    while (more := kept(*kinds) - before) > 0 and time.monotonic() < deadline:  # noqa: ASYNC110 - objects give no signal
        await asyncio.sleep(0.01)
    return more


@pytest.mark.usefixtures("without_collection")
@pytest.mark.parametrize("case", REFUSED)
async def test_nothing_is_kept_of_a_refused_call(case: str, channel: grpc.aio.Channel) -> None:
    path, body = REFUSED[case]
    call: Any = (channel.unary_stream if path.endswith("StreamPredictions") else channel.unary_unary)(path)
    kinds = (DejavuError, grpc.aio.AbortError, pb.PredictRequest, pb.PredictBatchRequest)
    before = kept(*kinds)
    for _ in range(20):
        answer = call(body)
        refused = await refusal(answer if hasattr(answer, "__await__") else answer.read())
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert await left_behind(before, *kinds) <= 0
