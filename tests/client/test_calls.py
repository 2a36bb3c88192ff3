"""Requests, results and errors of calls, for both clients."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import grpc
import pytest
from tests.support.fakes.service import Abort, FakeServer, Silence, forecast
from tests.support.harness.clients import AnyClient

from dejavu.v1.prediction_service_pb2 import (
    PredictBatchResponse,
    PredictBatchResult,
    PredictError,
    PredictRequest,
    PredictResponse,
)
from dejavu_client import (
    FINAL,
    HALFTIME,
    AsyncDejavuClient,
    CallCancelledError,
    ClientClosedError,
    DejavuClientError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    UnavailableError,
    predict_request,
)

MakeClient = Callable[..., AnyClient]
PATTERN = [0.0, 2.0, -3.0]


async def test_a_batch_gives_results_and_refusals_in_order(server: FakeServer, connect: MakeClient) -> None:
    results = [
        PredictBatchResult(forecast=forecast(point_forecast=1.0)),
        PredictBatchResult(error=PredictError(code=3, reason="INVALID_PATTERN")),
    ]
    server.answers("PredictBatch", PredictBatchResponse(results=results))
    requests = (predict_request([float(n)], horizon=HALFTIME, game_id=f"{n:010}") for n in range(2))
    assert await connect().call("predict_batch", requests) == results
    assert [r.game_id for r in server.next_call().request.requests] == ["0000000000", "0000000001"]


async def test_a_refusal_carries_reason_fields_and_request_id(server: FakeServer, connect: MakeClient) -> None:
    violation = ("pattern[3]", "nan; expected a finite number within ±200")
    server.answers(
        "Predict", Abort(grpc.StatusCode.INVALID_ARGUMENT, "pattern[3]: nan", "INVALID_PATTERN", [violation])
    )
    with pytest.raises(InvalidArgumentError) as caught:
        await connect().call("predict", PATTERN)
    error = caught.value
    assert (error.message, error.reason) == ("pattern[3]: nan", "INVALID_PATTERN")
    assert error.field_violations == (FieldViolation(*violation),)
    assert error.request_id == "request-1"
    assert isinstance(error.__cause__, grpc.RpcError)


async def test_a_server_that_is_not_there_is_unavailable_with_a_hint(connect: MakeClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UnavailableError, match=f"cannot reach {target}: is a dejavu-server running there"):
            await connect(target).call("health")


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


class PassingInterceptor(grpc.aio.UnaryUnaryClientInterceptor):
    """Changes nothing."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(client_call_details, request)


@pytest.mark.parametrize("intercepted", [False, True])
async def test_cancelling_the_task_cancels_an_asynchronous_call(server: FakeServer, intercepted: bool) -> None:
    server.answers("Predict", Silence())

    def dialed() -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(server.target, interceptors=[PassingInterceptor()])

    options: dict[str, Any] = {"channel_factory": dialed} if intercepted else {}
    async with AsyncDejavuClient(server.target, timeout=60.0, **options) as client:
        call = asyncio.ensure_future(client.predict(PATTERN))
        seen = await asyncio.to_thread(server.next_call)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(seen.gone.wait, 10)
    assert len(server.calls) == 1


async def test_a_forecast_is_asked_for_with_every_field_given_and_no_other(
    server: FakeServer, connect: MakeClient
) -> None:
    answer, client = forecast(point_forecast=4.5), connect()
    server.answers("Predict", PredictResponse(forecast=answer))
    fields: dict[str, Any] = {
        "game_id": "0022000001",
        "alpha": 0.0,  # the server refuses it, not the client
        "horizon": FINAL,
        "home_team": "BKN",
        "away_team": "GSW",
        "pregame_margin": -1.5,
        "model_version": "abc",
        "quantile_levels": [0.1, 0.9],
    }
    assert await client.call("predict", PATTERN, explain=True, **fields) == answer
    assert server.next_call().request == PredictRequest(pattern=PATTERN, return_explanation=True, **fields)
    await client.call("predict", PATTERN)
    assert server.next_call().request == PredictRequest(pattern=PATTERN, horizon=HALFTIME)


async def test_a_deadline_is_that_of_the_call_else_of_the_client_else_three_seconds(
    server: FakeServer, connect: MakeClient
) -> None:
    client, patient = connect(), connect(timeout=30.0)
    cases: list[tuple[AnyClient, tuple[Any, ...], dict[str, Any], float]] = [
        (client, ("predict", PATTERN), {}, 3.0),
        (patient, ("predict", PATTERN), {}, 30.0),
        (patient, ("predict", PATTERN), {"timeout": 60.0}, 60.0),
        (patient, ("get_scorecard",), {}, 60.0),  # scores are waited for longer
    ]
    for of, call, options, expected in cases:
        await of.call(*call, **options)
        assert server.next_call().time_remaining == pytest.approx(expected, abs=0.5)


async def test_neither_client_nor_call_is_made_with_no_time(server: FakeServer, connect: MakeClient) -> None:
    for option, value in (("timeout", 0), ("silence", -1.0), ("timeout", math.inf)):
        with pytest.raises(ValueError, match=rf"^{option}=.* is not a time to wait"):
            connect(**{option: value})
    with pytest.raises(ValueError, match=r"^timeout=nan is not a time to wait"):
        await connect().call("predict", PATTERN, timeout=math.nan)
    assert not server.calls


@pytest.mark.parametrize(
    ("aborts", "raised", "attempts"),
    [
        ([grpc.StatusCode.UNAVAILABLE] * 2, None, 3),
        ([grpc.StatusCode.CANCELLED] * 2, None, 3),
        ([grpc.StatusCode.CANCELLED] * 3, CallCancelledError, 3),
        ([grpc.StatusCode.INTERNAL], InternalError, 1),
    ],
)
async def test_a_call_that_never_ran_is_tried_three_times_in_all_and_any_other_once(
    server: FakeServer,
    connect: MakeClient,
    aborts: list[grpc.StatusCode],
    raised: type[DejavuClientError] | None,
    attempts: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.answers("Predict", *map(Abort, aborts))
    with nullcontext() if raised is None else pytest.raises(raised):
        await connect().call("predict", PATTERN)
    silences = caplog.text.count("silent_connection")  # on a busy machine the server may stand still for seconds
    assert attempts <= len(server.of("Predict")) <= attempts + silences


async def test_calls_errors_and_the_workers_that_answered_are_counted(server: FakeServer, connect: MakeClient) -> None:
    client = connect()
    server.answers("Predict", Abort(grpc.StatusCode.INTERNAL))
    with pytest.raises(InternalError):
        await client.call("predict", PATTERN)
    server.worker = "2"
    await client.call("predict", PATTERN)
    await client.call("health")
    stats = client.stats
    assert {name: (of.count, of.errors) for name, of in stats.methods.items()} == {"Predict": (2, 1), "Check": (1, 0)}
    assert stats.workers["2"] == 1
