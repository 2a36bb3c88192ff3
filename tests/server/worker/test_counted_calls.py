"""Which calls the metrics count, and under which labels: callers can't invent any."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry
from tests.support.builders.calls import PATTERN
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.waiting import until
from tests.support.processes.servers import settings_in

from dejavu_client import AsyncDejavuClient
from dejavu_client.errors import UnauthenticatedError
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope, CallerLabels
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.observability.metrics import Metrics
from dejavu_server.worker.worker import Worker


async def test_calls_of_methods_that_do_not_exist_are_counted_under_one_name(tmp_path: Path) -> None:
    figures = CollectorRegistry()
    async with (
        Worker(
            settings_in(tmp_path), registry=ServingModels([PersistenceForecaster()]), metrics=Metrics(figures)
        ) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        for number in range(3):
            method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/no.Such{number}/Method")
            assert await method(b"", timeout=30).code() is grpc.StatusCode.UNIMPLEMENTED
        labels = {"method": "unknown", "code": "UNIMPLEMENTED"}
        assert figures.get_sample_value("dejavu_calls_total", labels) == 3
        unknown = {"method": "unknown", "reason": "NO_REQUEST"}
        assert figures.get_sample_value("dejavu_calls_refused_total", unknown) is None, "their answer needs no request"
    methods = {
        sample.labels["method"]
        for family in figures.collect()
        for sample in family.samples
        if sample.labels.keys() >= {"method"}
    }
    assert methods == {"unknown"}


async def test_a_request_that_the_core_refuses_is_counted(tmp_path: Path) -> None:
    figures, path = CollectorRegistry(), "/dejavu.v1.PredictionService/Predict"
    async with (
        Worker(
            settings_in(tmp_path), registry=ServingModels([PersistenceForecaster()]), metrics=Metrics(figures)
        ) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        predict: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        assert await predict(b"\xff", timeout=30).code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await predict(bytes(5_000_000), timeout=30).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        labels = {"method": path, "reason": "NO_REQUEST"}
        await until(lambda: figures.get_sample_value("dejavu_calls_refused_total", labels) is not None)
        assert figures.get_sample_value("dejavu_calls_refused_total", labels) == 1
        assert figures.get_sample_value("dejavu_calls_total", {"method": path, "code": "INVALID_ARGUMENT"}) == 1


async def test_calls_are_counted_by_the_name_of_their_token(tmp_path: Path) -> None:
    figures, tokens = CollectorRegistry(), tmp_path / "tokens.json"
    token = token_file.create(tokens, "poller", (AccessScope.PREDICT,), utc_now())

    def value(caller: str, code: str) -> float | None:
        return figures.get_sample_value("dejavu_caller_calls_total", {"caller": caller, "code": code})

    settings = settings_in(tmp_path, tokens=str(tokens))
    async with Worker(settings, registry=ServingModels([PersistenceForecaster()]), metrics=Metrics(figures)) as worker:
        async with AsyncDejavuClient(worker.address, token=token) as client:
            await client.predict(PATTERN)
            await client.health()
        async with AsyncDejavuClient(worker.address) as client:
            with pytest.raises(UnauthenticatedError):
                await client.predict(PATTERN)
        await until(lambda: value("none", "UNAUTHENTICATED"))  # counted right after its caller has the answer
        assert value("none", "UNAUTHENTICATED") == 1
        assert value("poller", "OK") == 1
        assert value("none", "OK")  # health needs no token, so nobody is asked for one


def test_the_labels_of_callers_are_the_names_of_few_tokens() -> None:
    labels = CallerLabels(limit=2)
    assert [labels.of(f"token:{name}") for name in ("a", "b", "c", "a")] == ["a", "b", "other", "a"]
    assert labels.of("jwt:anybody") == "other"
    assert labels.of("") == "none"
