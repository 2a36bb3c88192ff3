"""A revoked or expired token ends its streams; whoever keeps a server finds who was refused, and what expires."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from structlog.testing import capture_logs
from tests.support.builders.calls import PATTERN, details
from tests.support.fakes.certificates import Authority
from tests.support.fakes.token_issuer import TokenIssuer
from tests.support.harness.waiting import until
from tests.support.processes.servers import async_worker, worker_and_channel

from dejavu.v1.prediction_service_pb2 import PredictRequest, StreamPredictionsRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ListPredictionsRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope
from dejavu_server.observability.refusal_log import LINES

Log = list[MutableMapping[str, Any]]
BOTH = (AccessScope.PREDICT, AccessScope.READ)


@pytest.fixture
def log() -> Iterator[Log]:
    with capture_logs() as captured:
        yield captured


def events(log: Log) -> list[str]:
    return [entry["event"] for entry in log]


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def settings_of(issuer: TokenIssuer) -> dict[str, Any]:
    """Return the settings of a server that trusts an issuer."""
    return {"jwks": str(issuer.jwks), "jwt_issuer": issuer.ISSUER, "jwt_audience": issuer.AUDIENCE}


async def test_a_refused_call_is_logged_with_who_where_and_what_and_a_flood_of_them_is_not(
    tmp_path: Path, log: Log
) -> None:
    path = tmp_path / "tokens.json"
    reader = token_file.create(path, "reader", (AccessScope.READ,), utc_now())
    ago = utc_now() - timedelta(days=1)
    old = token_file.create(path, "old", (AccessScope.READ,), ago, ago + timedelta(hours=1))
    issuer = TokenIssuer(tmp_path)
    signed = issuer.sign(scope="read")
    async with worker_and_channel(tmp_path, tokens=str(path), **settings_of(issuer)) as (worker, channel):
        stub = PredictionServiceStub(channel)

        async def refused(request_id: str, token: str, code: grpc.StatusCode) -> None:
            metadata = [("x-request-id", request_id), *bearer(token)]
            assert await stub.Predict(PredictRequest(pattern=PATTERN), metadata=metadata).code() is code

        await RecordServiceStub(channel).ListPredictions(ListPredictionsRequest(), metadata=bearer(reader))
        await refused("guess", "djv_guess", grpc.StatusCode.UNAUTHENTICATED)
        await refused("scope", reader, grpc.StatusCode.PERMISSION_DENIED)
        await refused("old", old, grpc.StatusCode.UNAUTHENTICATED)
        await refused("signed", signed, grpc.StatusCode.PERMISSION_DENIED)
        await refused("forged", signed[:-4], grpc.StatusCode.UNAUTHENTICATED)
        for _ in range(2 * LINES):
            await refused("flood", "djv_guess", grpc.StatusCode.UNAUTHENTICATED)
    guess, scope, expired, _, _, *flood = (line for line in log if line["event"] == "call_refused")
    method = "/dejavu.v1.PredictionService/Predict"
    assert {"method": method, "address": "127.0.0.1", "request_id": "guess"}.items() <= guess.items()
    assert "not known to this server" in guess["reason"]
    assert {"method": method, "address": "127.0.0.1", "caller": "token:reader"}.items() <= scope.items()
    assert "predict" in scope["reason"]
    assert {"reason": "the token has expired", "caller": "token:old"}.items() <= expired.items()
    assert len(flood) == LINES - 3
    assert "djv_" not in str(log), "no line has a token"
    assert signed.split(".")[2][:-4] not in str(log)
    calls = {("reader", "PERMISSION_DENIED"): 1, ("reader", "OK"): 1, ("none", "UNAUTHENTICATED"): 2 * LINES + 3}
    for (caller, code), number in calls.items():
        labels = {"caller": caller, "code": code}
        assert worker.metrics.registry.get_sample_value("dejavu_caller_calls_total", labels) == number


async def test_metrics_say_when_tokens_and_certificates_expire_and_when_the_last_backup_was_made(
    tmp_path: Path,
) -> None:
    path, now = tmp_path / "tokens.json", utc_now()
    for name, days in (("gone", -1), ("soon", 3), ("later", 90)):
        token_file.create(path, name, (AccessScope.READ,), now, now + timedelta(days=days))
    token_file.create(path, "always", (AccessScope.READ,), now)
    pair = Authority(tmp_path).issue("server")
    backups = tmp_path / "backups"
    backups.mkdir()
    for number, written in (("1", 1_000_000_000), ("2", 1_700_000_000)):
        (backups / number).write_text("a backup")
        os.utime(backups / number, (written, written))
    (backups / "failed").touch()  # as a failed pg_dump leaves it
    files: dict[str, Any] = {"tokens": str(path), "tls_cert": str(pair.certificate), "tls_key": str(pair.key)}
    async with async_worker(tmp_path, **files, backup_folder=str(backups)) as worker:

        def value(name: str, **labels: str) -> float | None:
            return worker.metrics.registry.get_sample_value(f"dejavu_{name}_timestamp_seconds", labels)

        await until(lambda: value("access_expires", file="tls"))
        assert value("access_expires", file="tokens") == pytest.approx((now + timedelta(days=3)).timestamp(), abs=1)
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        assert value("access_expires", file="tls") == certificate.not_valid_after_utc.timestamp()
        await until(lambda: value("backup") == 1_700_000_000)


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
    async with worker_and_channel(tmp_path, tokens=str(path)) as (_, channel):
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


async def test_a_file_that_could_not_be_used_is_read_again_once_it_can(tmp_path: Path, log: Log) -> None:
    path = tmp_path / "tokens.json"
    old = token_file.create(path, "alice", BOTH, utc_now())
    async with worker_and_channel(tmp_path, tokens=str(path)) as (worker, channel):

        def outdated() -> float | None:
            return worker.metrics.registry.get_sample_value("dejavu_access_file_outdated", {"file": "tokens"})

        stub: Any = PredictionServiceStub(channel)
        replacement = tmp_path / "new.json"
        new = token_file.create(replacement, "bob", BOTH, utc_now())
        replacement.chmod(0o666)
        replacement.rename(path)
        await until(lambda: outdated() == 1)
        await stub.Predict(PredictRequest(pattern=PATTERN), metadata=bearer(old))
        path.chmod(0o600)
        await until(lambda: outdated() == 0)
        await stub.Predict(PredictRequest(pattern=PATTERN), metadata=bearer(new))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Predict(PredictRequest(pattern=PATTERN), metadata=bearer(old))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert events(log).count("access_reload_failed") == 1


async def test_a_stream_ends_with_the_json_web_token_of_its_caller_and_with_a_withdrawn_key(tmp_path: Path) -> None:
    issuer = TokenIssuer(tmp_path)
    async with worker_and_channel(tmp_path, **settings_of(issuer)) as (_, channel):
        stub = PredictionServiceStub(channel)
        expiring, lasting = issuer.sign(seconds=-26), issuer.sign()  # 30 s of leeway: four are left
        for token, change in ((expiring, lambda: None), (lasting, lambda: TokenIssuer(tmp_path, "two"))):
            ended = await stream_end(stub, token, change)
            assert ended.code() is grpc.StatusCode.UNAUTHENTICATED
