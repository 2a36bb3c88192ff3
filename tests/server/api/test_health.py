from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.builders.calls import refusal

from dejavu_server.api.health import LEDGER, HealthService
from dejavu_server.api.prediction_service import PREDICTION_SERVICE
from dejavu_server.limits import SERVER
from dejavu_server.worker.worker import Worker

SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
NOT_SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)


@pytest.fixture
def health(channel: grpc.aio.Channel) -> Any:  # its type stubs accept only the synchronous channel
    return health_pb2_grpc.HealthStub(channel)


async def test_the_server_and_all_that_belongs_to_it_serve(health: Any) -> None:
    """A service that is not here can only be watched."""
    for name in ("", PREDICTION_SERVICE.full_name, LEDGER):
        assert await health.Check(health_pb2.HealthCheckRequest(service=name)) == SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(service="x"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def test_a_watcher_is_told_of_a_drain_and_let_go(health: Any, worker: Worker) -> None:
    watches = [health.Watch(health_pb2.HealthCheckRequest(service=service)) for service in ("", LEDGER)]
    assert [await watch.read() for watch in watches] == [SERVING] * 2
    async with asyncio.timeout(4):  # less than the grace time, 5 s
        draining = asyncio.create_task(worker.drain())
        assert [await watch.read() for watch in watches] == [NOT_SERVING] * 2
        for watch in watches:
            assert (await refusal(watch.read())).reason == "DRAINING"
        await draining


async def test_health_follows_the_server_its_threads_its_models_and_its_parts() -> None:
    service = HealthService(["a"], parts=["part"])
    steps: list[tuple[Callable[[], None], list[bool]]] = [
        (partial(service.set_part, "part", serving=True), [False] * 3),
        (service.serve, [True] * 3),
        (partial(service.set_part, "part", serving=False), [True, True, False]),
        (partial(service.set_ready, False), [False] * 3),
        (partial(service.set_ready, True), [True, True, False]),
        (partial(service.set_models_loaded, False), [False] * 3),
        (partial(service.set_models_loaded, True), [True, True, False]),
        (service.drain, [False] * 3),
        (partial(service.set_ready, True), [False] * 3),
    ]
    for step, serving in steps:
        step()
        requests = (health_pb2.HealthCheckRequest(service=name) for name in ("", "a", "part"))
        assert [await service.check(each, SERVER) == SERVING for each in requests] == serving
