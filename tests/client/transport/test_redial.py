"""A redial does not affect calls and streams. The server reports two workers but has one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from tests.support.fakes.service import FakeServer, event, heartbeat
from tests.support.harness.clients import AnyClient

from dejavu.v1.prediction_service_pb2 import PredictResponse
from dejavu_client import StreamPredictionsResponse

MakeClient = Callable[..., AnyClient]
PATTERN = [0.0, 2.0, -3.0]


async def peers(server: FakeServer, client: AnyClient, *, calls: int, until: int) -> set[str]:
    """Return the connections used by calls; end early once there are `until` of them."""
    seen = set[str]()
    for _ in range(calls):
        await client.call("predict", PATTERN)
        seen.add(server.of("Predict")[-1].peer)
        if len(seen) == until:
            break
        await asyncio.sleep(0.005)
    return seen


async def test_streams_and_calls_under_way_outlive_the_line_that_is_given_up(
    server: FakeServer, connect: MakeClient
) -> None:
    server.workers = 2
    asked, release = threading.Event(), threading.Event()

    def late(_: object) -> StreamPredictionsResponse:
        release.wait(20)
        return event(1)

    def late_answer(_: object) -> PredictResponse:
        asked.set()
        release.wait(20)
        return PredictResponse()

    server.answers("StreamPredictions", [heartbeat("a"), late], [heartbeat("a"), late])
    client = connect(channels=2, timeout=30.0)
    streams = [client.stream(heartbeats=True) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    server.answers("Predict", late_answer)
    call = asyncio.ensure_future(client.call("predict", PATTERN))
    assert await asyncio.to_thread(asked.wait, 10)

    assert len(await peers(server, client, calls=500, until=6)) == 6
    first = server.of("StreamPredictions")
    assert not any(under_way.gone.is_set() for under_way in first)

    release.set()
    for stream in streams:
        assert (await anext(stream)).forecast.sequence == 1
        await stream.aclose()
    await call
    assert len(server.of("StreamPredictions")) == 2
    assert client.stats.methods["Predict"].errors == 0
