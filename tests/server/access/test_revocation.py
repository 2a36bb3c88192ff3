from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from structlog.typing import EventDict
from tests.support.builders.calls import PATTERN, details
from tests.support.fakes.token_issuer import TokenIssuer
from tests.support.processes.servers import async_worker

from dejavu.v1.prediction_service_pb2 import PredictRequest, StreamPredictionsRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope

BOTH = (AccessScope.PREDICT, AccessScope.READ)


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


async def stream_end(stub: Any, token: str, change: Callable[[], object]) -> grpc.aio.AioRpcError:
    """Open a stream, change something while it is open, and return the error that ends it."""
    stream = stub.StreamPredictions(StreamPredictionsRequest(), metadata=bearer(token))
    assert (await stream.read()).HasField("heartbeat")
    change()
    return await refused(stream.read)


async def refused(call: Callable[[], Awaitable[object]]) -> grpc.aio.AioRpcError:
    """Repeat a call until it fails; return the error."""
    async with asyncio.timeout(20):
        while True:
            try:
                await call()
            except grpc.aio.AioRpcError as error:
                return error
            await asyncio.sleep(0.05)


async def test_a_revoked_token_ends_its_streams_and_is_refused_while_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    alice, bob = (token_file.create(path, name, BOTH, utc_now()) for name in ("alice", "bob"))
    async with (
        async_worker(tmp_path, tokens=str(path)) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        stub = PredictionServiceStub(channel)
        kept = stub.StreamPredictions(StreamPredictionsRequest(), metadata=bearer(bob))
        await kept.read()
        ended = details(await stream_end(stub, alice, lambda: token_file.revoke(path, "alice", utc_now())))
        assert (ended.code, ended.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        error = await refused(lambda: stub.Predict(PredictRequest(pattern=PATTERN), metadata=bearer(alice)))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        await stub.Predict(PredictRequest(pattern=PATTERN), metadata=bearer(bob))
        assert not kept.done()
        kept.cancel()


async def until_logged(logs: list[EventDict], event: str) -> None:
    async with asyncio.timeout(20):
        while not any(entry["event"] == event for entry in logs):  # noqa: ASYNC110 - a list
            await asyncio.sleep(0.05)


async def test_a_file_that_could_not_be_used_is_read_again_once_it_can(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    old = token_file.create(path, "alice", BOTH, utc_now())
    async with (
        async_worker(tmp_path, tokens=str(path)) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        stub: Any = PredictionServiceStub(channel)
        with structlog.testing.capture_logs() as logs:
            replacement = tmp_path / "new.json"
            new = token_file.create(replacement, "bob", BOTH, utc_now())
            replacement.chmod(0o666)
            replacement.rename(path)
            await until_logged(logs, "access_reload_failed")
            await stub.Predict(PredictRequest(pattern=PATTERN), metadata=bearer(old))
            path.chmod(0o600)
            await until_logged(logs, "access_reloaded")
        await stub.Predict(PredictRequest(pattern=PATTERN), metadata=bearer(new))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Predict(PredictRequest(pattern=PATTERN), metadata=bearer(old))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert [entry["event"] for entry in logs].count("access_reload_failed") == 1


async def test_a_stream_ends_with_the_json_web_token_of_its_caller_and_with_a_withdrawn_key(tmp_path: Path) -> None:
    issuer = TokenIssuer(tmp_path)
    settings: dict[str, Any] = {"jwks": str(issuer.jwks), "jwt_issuer": issuer.ISSUER, "jwt_audience": issuer.AUDIENCE}
    async with async_worker(tmp_path, **settings) as worker, grpc.aio.insecure_channel(worker.address) as channel:
        stub = PredictionServiceStub(channel)
        expiring, lasting = issuer.sign(seconds=-26), issuer.sign()  # 30 s of leeway: four are left
        for token, change in ((expiring, lambda: None), (lasting, lambda: TokenIssuer(tmp_path, "two"))):
            ended = await stream_end(stub, token, change)
            assert ended.code() is grpc.StatusCode.UNAUTHENTICATED
