"""Whoever keeps a server finds who was refused, and what is about to expire or is too old."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from structlog.testing import capture_logs
from tests.support.builders.calls import PATTERN
from tests.support.fakes.certificates import Authority
from tests.support.fakes.token_issuer import TokenIssuer
from tests.support.harness.waiting import until
from tests.support.processes.servers import async_worker

from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope
from dejavu_server.observability.refusal_log import LINES

Log = list[MutableMapping[str, Any]]


@pytest.fixture
def log() -> Iterator[Log]:
    with capture_logs() as captured:
        yield captured


async def test_a_refused_call_is_logged_with_who_where_and_what_and_a_flood_of_them_is_not(
    tmp_path: Path, log: Log
) -> None:
    path = tmp_path / "tokens.json"
    reader = token_file.create(path, "reader", (AccessScope.READ,), utc_now())
    ago = utc_now() - timedelta(days=1)
    old = token_file.create(path, "old", (AccessScope.READ,), ago, ago + timedelta(hours=1))
    issuer = TokenIssuer(tmp_path)
    jwt: dict[str, Any] = {"jwks": str(issuer.jwks), "jwt_issuer": issuer.ISSUER, "jwt_audience": issuer.AUDIENCE}
    signed = issuer.sign(scope="read")
    async with (
        async_worker(tmp_path, tokens=str(path), **jwt) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        stub = PredictionServiceStub(channel)

        async def refused(request_id: str, token: str, code: grpc.StatusCode) -> None:
            metadata = [("x-request-id", request_id), ("authorization", f"Bearer {token}")]
            assert await stub.Predict(PredictRequest(pattern=PATTERN), metadata=metadata).code() is code

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
    counted = worker.metrics.registry.get_sample_value(
        "dejavu_caller_calls_total", {"caller": "reader", "code": "PERMISSION_DENIED"}
    )
    assert counted == 1


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
