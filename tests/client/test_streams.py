"""Streams on a real server that breaks them: events seen by the reader, and reconnection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import pytest
from tests.support.fakes.service import Abort, Ended, FakeServer, Silence, event, heartbeat
from tests.support.harness.clients import AnyClient

from dejavu_client import DejavuClientError, InvalidArgumentError, OutOfRangeError, UnavailableError

MakeClient = Callable[..., AnyClient]
BREAKS = {
    "lost": Abort(grpc.StatusCode.UNAVAILABLE),
    "cancelled": Abort(grpc.StatusCode.CANCELLED),
    "too slow": Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="SUBSCRIBER_TOO_SLOW"),
    "reset": Abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
    "ended": Ended(),
}


async def sequences(client: AnyClient, count: int, **options: object) -> list[int]:
    """Return the sequences of the first forecasts of a stream."""
    got = list[int]()
    stream = client.stream(**options)
    async with asyncio.timeout(20):
        async for response in stream:
            got.append(response.forecast.sequence)
            if len(got) == count:
                break
    await stream.aclose()
    return got


@pytest.mark.parametrize("end", BREAKS.values(), ids=BREAKS)
async def test_a_broken_stream_goes_on_with_its_token(server: FakeServer, connect: MakeClient, end: object) -> None:
    server.answers("StreamPredictions", [heartbeat("now"), event(1), event(2), end], [heartbeat("x"), event(3)])
    assert await sequences(connect(), 3, game_ids=["0022000001"]) == [1, 2, 3]
    first, second = (call.request for call in server.of("StreamPredictions"))
    assert (first.resume_token, second.resume_token) == ("", "after-2")
    assert list(first.game_ids) == list(second.game_ids) == ["0022000001"]


async def test_a_stream_begins_where_its_caller_says_and_hands_heartbeats_on_where_wanted(
    server: FakeServer, connect: MakeClient
) -> None:
    server.answers("StreamPredictions", [heartbeat("a"), event(8)])
    stream = connect().stream(resume_token="after-7", include_current=True, heartbeats=True)
    assert [(await anext(stream)).WhichOneof("event") for _ in range(2)] == ["heartbeat", "forecast"]
    await stream.aclose()
    request = server.next_call().request
    assert (request.resume_token, request.include_current) == ("after-7", True)


async def test_a_heartbeat_moves_the_token_along_unseen(server: FakeServer, connect: MakeClient) -> None:
    server.answers("StreamPredictions", [heartbeat("a"), heartbeat("b"), Ended()], [event(9)])
    assert await sequences(connect(), 1) == [9]
    assert server.of("StreamPredictions")[1].request.resume_token == "b"


@pytest.mark.parametrize(
    ("code", "exception"),
    [(grpc.StatusCode.OUT_OF_RANGE, OutOfRangeError), (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgumentError)],
)
async def test_a_token_that_is_refused_ends_the_stream(
    server: FakeServer, connect: MakeClient, code: grpc.StatusCode, exception: type[DejavuClientError]
) -> None:
    server.answers("StreamPredictions", [event(1), Ended()], [Abort(code)])
    stream = connect().stream()
    assert (await anext(stream)).forecast.sequence == 1
    with pytest.raises(exception):
        await anext(stream)
    assert len(server.calls) == 2


async def test_a_server_that_never_was_there_is_told_after_three_attempts(
    server: FakeServer, connect: MakeClient
) -> None:
    server.answers("StreamPredictions", *[[Abort(grpc.StatusCode.UNAVAILABLE)]] * 4)
    with pytest.raises(UnavailableError):
        await anext(connect().stream())
    assert len(server.calls) == 3


async def test_a_stream_survives_a_restart_of_the_server(server: FakeServer, connect: MakeClient) -> None:
    server.answers("StreamPredictions", [event(1)], [event(2)])
    stream = connect(channels=1).stream()
    async with asyncio.timeout(20):
        assert (await anext(stream)).forecast.sequence == 1
        await asyncio.to_thread(server.stop)
        server.start()
        assert (await anext(stream)).forecast.sequence == 2
    await stream.aclose()
    assert server.of("StreamPredictions")[-1].request.resume_token == "after-1"


async def test_a_stream_that_falls_silent_is_made_again(server: FakeServer, connect: MakeClient) -> None:
    server.answers("StreamPredictions", [event(1), Silence()], [event(2)])
    assert await sequences(connect(silence=2.0), 2) == [1, 2]
    assert server.of("StreamPredictions")[0].gone.wait(10)


async def test_closing_the_client_ends_its_streams(server: FakeServer, connect: MakeClient) -> None:
    client = connect()
    stream = client.stream(heartbeats=True)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream, None))
    await asyncio.to_thread(server.next_call)
    await client.close()
    async with asyncio.timeout(10):
        assert await waiting is None
    assert await asyncio.to_thread(server.calls[0].gone.wait, 10)


async def test_closing_the_client_ends_the_wait_before_another_attempt(server: FakeServer, connect: MakeClient) -> None:
    server.answers("StreamPredictions", [heartbeat("a")], *[[Abort(grpc.StatusCode.UNAVAILABLE)]] * 50)
    client = connect()
    stream = client.stream(heartbeats=True)
    await anext(stream)
    await asyncio.to_thread(server.stop)
    waiting = asyncio.ensure_future(anext(stream, None))
    await asyncio.sleep(0)
    await client.close()
    async with asyncio.timeout(5):
        assert await waiting is None


async def test_leaving_a_stream_ends_it_on_the_server(server: FakeServer, connect: MakeClient) -> None:
    stream = connect().stream(heartbeats=True)
    await anext(stream)
    await stream.aclose()
    assert await asyncio.to_thread(server.next_call().gone.wait, 10)
