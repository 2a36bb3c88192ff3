"""Requests, results and errors of calls, for both clients."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse
from tests.support.fakes.service import Abort, FakeServer, Silence, forecast
from tests.support.harness.clients import AnyClient

from dejavu.v1.prediction_service_pb2 import PredictBatchResponse, PredictBatchResult, PredictError, PredictResponse
from dejavu_client import (
    FINAL,
    HALFTIME,
    AsyncDejavuClient,
    CallCancelledError,
    ClientClosedError,
    DeadlineExceededError,
    DejavuClientError,
    FieldViolation,
    HealthStatus,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
    predict_request,
)

MakeClient = Callable[..., AnyClient]
PATTERN = [0.0, 2.0, -3.0]


async def test_a_forecast_is_asked_for_with_every_field_given(server: FakeServer, connect: MakeClient) -> None:
    answer = forecast(point_forecast=4.5)
    server.answers("Predict", PredictResponse(forecast=answer))
    got = await connect().call(
        "predict",
        PATTERN,
        game_id="0022000001",
        alpha=0.2,
        horizon=FINAL,
        home_team="BKN",
        away_team="GSW",
        pregame_margin=-1.5,
        model_version="abc",
        explain=True,
        quantile_levels=[0.1, 0.9],
    )
    assert got == answer
    request = server.next_call().request
    assert list(request.pattern) == PATTERN
    assert (request.game_id, request.home_team, request.away_team, request.model_version) == (
        "0022000001",
        "BKN",
        "GSW",
        "abc",
    )
    assert (request.alpha, request.horizon, request.pregame_margin, request.return_explanation) == (
        0.2,
        FINAL,
        -1.5,
        True,
    )
    assert list(request.quantile_levels) == [0.1, 0.9]


async def test_what_is_not_given_is_not_sent(server: FakeServer, connect: MakeClient) -> None:
    await connect().call("predict", PATTERN)
    request = server.next_call().request
    assert not request.HasField("alpha")
    assert not request.HasField("pregame_margin")
    assert request == predict_request(PATTERN)
    assert request.horizon == HALFTIME


async def test_a_zero_alpha_is_sent_for_the_server_to_refuse(server: FakeServer, connect: MakeClient) -> None:
    await connect().call("predict", PATTERN, alpha=0.0)
    assert server.next_call().request.HasField("alpha")


async def test_a_batch_gives_results_and_refusals_in_order(server: FakeServer, connect: MakeClient) -> None:
    results = [
        PredictBatchResult(forecast=forecast(point_forecast=1.0)),
        PredictBatchResult(error=PredictError(code=3, reason="INVALID_PATTERN")),
    ]
    server.answers("PredictBatch", PredictBatchResponse(results=results))
    requests = (predict_request([float(n)], game_id=f"{n:010}") for n in range(2))
    assert await connect().call("predict_batch", requests) == results
    assert [r.game_id for r in server.next_call().request.requests] == ["0000000000", "0000000001"]


async def test_models_are_listed_with_the_active_one_first(connect: MakeClient) -> None:
    (model,) = await connect().call("list_models")
    assert (model.version, model.active) == ("fake", True)


async def test_health_is_what_the_server_says(server: FakeServer, connect: MakeClient) -> None:
    client = connect()
    assert await client.call("health") is HealthStatus.SERVING
    server.health.set("dejavu.v1.PredictionService", HealthCheckResponse.NOT_SERVING)
    assert await client.call("health", "dejavu.v1.PredictionService") is HealthStatus.NOT_SERVING
    with pytest.raises(NotFoundError):
        await client.call("health", "no.such.Service")


async def test_a_call_carries_the_default_deadline_of_three_seconds(server: FakeServer, connect: MakeClient) -> None:
    client = connect()
    for call in (("predict", PATTERN), ("predict_batch", []), ("list_models",)):
        await client.call(*call)
        assert server.next_call().time_remaining == pytest.approx(3.0, abs=0.5)


async def test_a_deadline_can_be_set_for_the_client_and_for_a_call(server: FakeServer, connect: MakeClient) -> None:
    client = connect(timeout=30.0)
    await client.call("predict", PATTERN)
    assert server.next_call().time_remaining == pytest.approx(30.0, abs=0.5)
    await client.call("predict", PATTERN, timeout=60.0)
    assert server.next_call().time_remaining == pytest.approx(60.0, abs=0.5)


async def test_metadata_go_with_every_call(server: FakeServer, connect: MakeClient) -> None:
    client = connect(metadata=[("authorization", "Bearer x")])
    await client.call("predict", PATTERN)
    async for _ in client.stream(heartbeats=True):
        break
    assert [call.metadata["authorization"] for call in server.calls] == ["Bearer x"] * 2


async def test_no_answer_in_time_says_how_long_it_waited_and_for_whom(server: FakeServer, connect: MakeClient) -> None:
    server.answers("Predict", Silence())
    with pytest.raises(DeadlineExceededError, match=rf"no answer from {server.target} within 0.2 s"):
        await connect().call("predict", PATTERN, timeout=0.2)


async def test_a_refusal_carries_reason_fields_and_request_id(server: FakeServer, connect: MakeClient) -> None:
    violation = ("pattern[3]", "nan; expected a finite number within ±200")
    server.answers(
        "Predict", Abort(grpc.StatusCode.INVALID_ARGUMENT, "pattern[3]: nan", "INVALID_PATTERN", [violation])
    )
    with pytest.raises(InvalidArgumentError) as caught:
        await connect().call("predict", PATTERN)
    error = caught.value
    assert str(error) == error.message == "pattern[3]: nan"
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "INVALID_PATTERN"
    assert error.field_violations == (FieldViolation(*violation),)
    assert error.request_id == "request-1"
    assert isinstance(error.__cause__, grpc.RpcError)


async def test_a_server_that_is_not_there_is_unavailable_with_a_hint(connect: MakeClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UnavailableError, match=f"cannot reach {target}: is a dejavu-server running there"):
            await connect(target).call("health")


async def test_a_value_of_the_wrong_type_never_leaves(server: FakeServer, connect: MakeClient) -> None:
    with pytest.raises(TypeError):
        await connect().call("predict", ["three"])
    assert not server.calls


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_call_that_never_ran_is_tried_three_times_in_all(
    server: FakeServer, connect: MakeClient, code: grpc.StatusCode
) -> None:
    server.answers("Predict", Abort(code), Abort(code))
    assert (await connect().call("predict", PATTERN)).elapsed_minutes == 3
    attempts = [call.metadata.get("grpc-previous-rpc-attempts") for call in server.of("Predict")]
    assert attempts == [None, "1", "2"]


async def test_after_the_third_attempt_the_caller_is_told(server: FakeServer, connect: MakeClient) -> None:
    server.answers("ListModels", *[Abort(grpc.StatusCode.CANCELLED)] * 3)
    with pytest.raises(CallCancelledError):
        await connect().call("list_models")
    assert len(server.calls) == 3


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED])
async def test_what_a_retry_would_not_help_is_told_at_once(
    server: FakeServer, connect: MakeClient, code: grpc.StatusCode
) -> None:
    server.answers("Predict", Abort(code))
    with pytest.raises(DejavuClientError):
        await connect().call("predict", PATTERN)
    assert len(server.calls) == 1


async def test_with_credentials_nothing_goes_out_in_plain_text(server: FakeServer, connect: MakeClient) -> None:
    with pytest.raises(UnavailableError):
        await connect(credentials=grpc.ssl_channel_credentials()).call("health")
    assert await connect().call("health") is HealthStatus.SERVING


async def test_calls_take_turns_on_connections_of_their_own(server: FakeServer, connect: MakeClient) -> None:
    peers = set[str]()
    client = connect(channels=3)
    for _ in range(6):
        await client.call("predict", PATTERN)
        peers.add(server.next_call().peer)
    assert len(peers) == 3


async def test_the_workers_that_answered_are_counted(server: FakeServer, connect: MakeClient) -> None:
    client = connect()
    for worker in ("1", "2", "2"):
        server.worker = worker
        await client.call("predict", PATTERN)
    assert client.stats.workers == {"1": 1, "2": 2}


async def test_calls_and_errors_are_counted_by_method(server: FakeServer, connect: MakeClient) -> None:
    client = connect()
    server.answers("Predict", Abort(grpc.StatusCode.INTERNAL))
    with pytest.raises(InternalError):
        await client.call("predict", PATTERN)
    await client.call("predict", PATTERN)
    await client.call("health")
    stats = client.stats
    assert set(stats.methods) == {"Predict", "Check"}
    assert (stats.methods["Predict"].count, stats.methods["Predict"].errors) == (2, 1)
    assert stats.methods["Predict"].success_rate == 0.5
    assert stats.methods["Check"].success_rate == 1.0


async def test_a_call_slower_than_allowed_is_logged(connect: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    await connect(slow=0.0, very_slow=100.0).call("predict", PATTERN)
    await connect(slow=0.0, very_slow=0.0).call("predict", PATTERN)
    await connect(slow=100.0).call("predict", PATTERN)
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("dejavu_client", "WARNING"),
        ("dejavu_client", "ERROR"),
    ]
    assert all(message.startswith("slow_call method='Predict'") for message in caplog.messages)


async def test_a_closed_client_refuses_calls_and_streams(server: FakeServer, connect: MakeClient) -> None:
    client = connect()
    await client.call("predict", PATTERN)
    await client.close()
    await client.close()
    with pytest.raises(ClientClosedError):
        await client.call("predict", PATTERN)
    with pytest.raises(ClientClosedError):
        await anext(client.stream())


async def test_closing_ends_a_call_under_way(server: FakeServer, connect: MakeClient) -> None:
    server.answers("Predict", Silence())
    client = connect(timeout=60.0)
    call = asyncio.ensure_future(client.call("predict", PATTERN))
    await asyncio.to_thread(server.next_call)
    await client.close()
    with pytest.raises(ClientClosedError):
        await call


async def test_cancelling_the_task_cancels_an_asynchronous_call(server: FakeServer) -> None:
    server.answers("Predict", Silence())
    async with AsyncDejavuClient(server.target, timeout=60.0) as client:
        call = asyncio.ensure_future(client.predict(PATTERN))
        seen = await asyncio.to_thread(server.next_call)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(seen.gone.wait, 10)
    assert len(server.calls) == 1


async def test_a_token_function_that_raises_leaves_no_call_on_a_connection() -> None:
    def token() -> str:
        raise OSError("no token")

    async with AsyncDejavuClient("127.0.0.1:1", token=token) as client:
        for _ in range(5):
            with pytest.raises(OSError, match="no token"):
                await client.list_models()
        assert sum(pooled.calls for pooled in client._pool._channels) == 0
