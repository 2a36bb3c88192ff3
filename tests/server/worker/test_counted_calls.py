"""Which calls the metrics count, and under which labels: callers can't invent any."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.waiting import until
from tests.support.processes.servers import async_worker

from dejavu_client import HALFTIME, AsyncDejavuClient, predict_request
from dejavu_client.errors import UnauthenticatedError
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope, CallerLabels


async def test_calls_of_methods_that_do_not_exist_are_counted_under_one_name(tmp_path: Path) -> None:
    async with (
        async_worker(tmp_path) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        figures = worker.metrics.registry
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
    assert {method for method in methods if not method.startswith(("/dejavu.", "/grpc."))} == {"unknown"}


async def test_a_request_that_the_core_refuses_is_counted(tmp_path: Path) -> None:
    path = "/dejavu.v1.PredictionService/Predict"
    async with (
        async_worker(tmp_path) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        figures = worker.metrics.registry
        predict: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        assert await predict(b"\xff", timeout=30).code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await predict(bytes(5_000_000), timeout=30).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        labels = {"method": path, "reason": "NO_REQUEST"}
        await until(lambda: figures.get_sample_value("dejavu_calls_refused_total", labels) is not None)
        assert figures.get_sample_value("dejavu_calls_refused_total", labels) == 1
        assert figures.get_sample_value("dejavu_calls_total", {"method": path, "code": "INVALID_ARGUMENT"}) == 1


async def test_calls_are_counted_by_the_name_of_their_token(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    token = token_file.create(tokens, "poller", (AccessScope.PREDICT,), utc_now())

    def value(caller: str, code: str) -> float | None:
        return figures.get_sample_value("dejavu_caller_calls_total", {"caller": caller, "code": code})

    async with async_worker(tmp_path, tokens=str(tokens)) as worker:
        figures = worker.metrics.registry
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


async def test_equal_requests_use_the_quota_of_one(tmp_path: Path) -> None:
    """A MiB of entries a day is less than the 1,600 requests have, and far more than the 50 entries."""
    async with (
        async_worker(tmp_path, caller_ledger_mib=1, caller_loopback="on") as worker,
        AsyncDejavuClient(worker.address, timeout=30.0) as client,
    ):
        for number in range(50):
            same = predict_request(PATTERN, horizon=HALFTIME, game_id=current_game(number))
            results = await client.predict_batch([same] * 32)
            assert {each.forecast.sequence for each in results} == {number + 1}


def test_the_labels_of_callers_are_the_names_of_few_tokens() -> None:
    labels = CallerLabels(limit=2)
    assert [labels.of(f"token:{name}") for name in ("a", "b", "c", "a")] == ["a", "b", "other", "a"]
    assert labels.of("jwt:anybody") == "other"
    assert labels.of("") == "none"
