from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.builders.calls import refusal

from dejavu_server.api.health import HEALTH_SERVICE, LEDGER, HealthService
from dejavu_server.api.model_service import MODEL_SERVICE
from dejavu_server.api.prediction_service import PREDICTION_SERVICE
from dejavu_server.limits import SERVER
from dejavu_server.worker.worker import Worker

SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
NOT_SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)


@pytest.fixture
def health(channel: grpc.aio.Channel) -> Any:  # its type stubs accept only the synchronous channel
    return health_pb2_grpc.HealthStub(channel)


async def test_the_server_and_all_that_belongs_to_it_serve(health: Any) -> None:
    """A service that is not here can only be watched."""
    for name in ("", *(each.full_name for each in (PREDICTION_SERVICE, MODEL_SERVICE, HEALTH_SERVICE)), LEDGER):
        assert await health.Check(health_pb2.HealthCheckRequest(service=name)) == SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(service="x"))
    assert await watch.read() == SERVICE_UNKNOWN
    watch.cancel()


@pytest.mark.parametrize("service", ["", LEDGER])
async def test_a_watcher_is_told_of_a_drain_and_let_go(health: Any, worker: Worker, service: str) -> None:
    watch = health.Watch(health_pb2.HealthCheckRequest(service=service))
    assert await watch.read() == SERVING
    async with asyncio.timeout(4):  # less than the grace time, 5 s
        draining = asyncio.create_task(worker.drain())
        assert await watch.read() == NOT_SERVING
        refused = await refusal(watch.read())
        await draining
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def test_health_follows_the_server_its_threads_its_models_and_its_parts() -> None:
    service = HealthService(["a"], parts=["part"])

    async def answers() -> list[bool]:
        requests = (health_pb2.HealthCheckRequest(service=name) for name in ("", "a", "part"))
        return [await service.check(each, SERVER) == SERVING for each in requests]

    service.set_part("part", serving=True)
    assert await answers() == [False] * 3
    service.serve()
    assert await answers() == [True] * 3
    service.set_part("part", serving=False)
    assert await answers() == [True, True, False]
    service.set_ready(False)
    assert await answers() == [False] * 3
    service.set_ready(True)
    assert await answers() == [True, True, False]
    service.set_models_loaded(False)
    assert await answers() == [False] * 3
    service.set_models_loaded(True)
    service.drain()
    service.set_ready(True)
    assert await answers() == [False] * 3
