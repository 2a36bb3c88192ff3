"""Access of callers: every method with every scope, revoked and expired tokens, and what a keeper is told of them."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

import grpc
import pytest
from cryptography import x509
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs
from tests.support.builders.calls import GAME, PATTERN, details
from tests.support.fakes.certificates import Authority
from tests.support.fakes.token_issuer import TokenIssuer
from tests.support.harness.waiting import until
from tests.support.processes.servers import async_worker, worker_and_channel

from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictRequest, StreamPredictionsRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ListPredictionsRequest, ReportOutcomeRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_client import AsyncDejavuClient, market
from dejavu_client.requests import HALFTIME
from dejavu_common.clock import utc_now
from dejavu_ledger import verify
from dejavu_server.access import token_file
from dejavu_server.access.authenticator import Authenticator
from dejavu_server.access.caller import AccessScope, MethodDenied, Unauthenticated
from dejavu_server.access.policy import POLICY, PUBLIC
from dejavu_server.observability.refusal_log import LINES
from dejavu_server.worker.worker import Worker

CODES = grpc.StatusCode
REFUSED = {CODES.UNAUTHENTICATED, CODES.PERMISSION_DENIED}

PREDICT = "/dejavu.v1.PredictionService/Predict"
REQUESTS: dict[str, Any] = {
    PREDICT: PredictRequest(pattern=PATTERN),
    "/dejavu.v1.RecordService/ReportOutcome": ReportOutcomeRequest(
        game_id=GAME, horizon=HORIZON_HALFTIME, differential=7
    ),
}
"""Requests that succeed if they are allowed; for other methods an empty message is enough to show a refusal."""


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


class Guarded(NamedTuple):
    """A worker that requires tokens, a channel to it, and a token for each scope."""

    worker: Worker
    channel: grpc.aio.Channel
    tokens: dict[AccessScope, str]


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    path = tmp_path / "tokens.json"
    tokens = {scope: token_file.create(path, scope.value, (scope,), utc_now()) for scope in AccessScope}
    async with worker_and_channel(tmp_path, tokens=str(path)) as (worker, channel):
        yield Guarded(worker, channel, tokens)


async def methods(guarded: Guarded) -> list[str]:
    """Return the paths of all methods of the services that the server lists."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", guarded.channel))
    listing = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([listing]), metadata=bearer(guarded.tokens[AccessScope.READ]))
    listed = (await call.read()).list_services_response
    services = [descriptor_pool.Default().FindServiceByName(each.name) for each in listed.service]
    return [f"/{service.full_name}/{method.name}" for service in services for method in service.methods]


async def answer(channel: grpc.aio.Channel, path: str, token: str | None) -> CODES:
    """Call a method, unary or streaming: on the wire, all send a request; return the code, OK after a first message.

    A call that lacks a scope is told which.
    """
    request, opened = REQUESTS.get(path), cast("Any", channel.unary_stream(path))
    stream = opened(b"" if request is None else request.SerializeToString(), metadata=token and bearer(token))
    try:
        async with asyncio.timeout(5):
            await stream.read()
    except grpc.aio.AioRpcError as error:
        if error.code() is CODES.PERMISSION_DENIED:
            told = details(error)
            assert told.reason == "SCOPE_MISSING"
            assert told.metadata["scope"] in {each.value for each in POLICY[path].scopes or ()}
        return error.code()
    stream.cancel()
    return CODES.OK


def test_tokens_in_another_form_and_methods_outside_the_policy_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = token_file.create(path, "owner", tuple(AccessScope), utc_now())
    access = Authenticator(path, None)
    for value in (token, f"Basic {token}", "Bearer ", f"Bearer  {token}", f"Bearer {token}x", "x" * 9000):
        with pytest.raises(Unauthenticated) as refused:
            access.authorize(PREDICT, value)
        assert token not in str(refused.value)
    assert access.authorize(PREDICT, f"bearer {token}").identity == "token:owner"
    with pytest.raises(MethodDenied):
        access.authorize(f"{PREDICT}Other", f"bearer {token}")


async def test_every_method_is_served_with_the_scope_that_it_needs_and_refused_without(guarded: Guarded) -> None:
    listed = await methods(guarded)
    assert {*listed, "/grpc.health.v1.Health/List"} == set(POLICY)  # which newer releases of the health package have
    for path in listed:
        needed = POLICY[path].scopes
        strangers = {await answer(guarded.channel, path, token) for token in (None, "djv_unknown")}
        if needed is PUBLIC:
            assert not strangers & REFUSED, path
            continue
        assert strangers == {CODES.UNAUTHENTICATED}, path
        for scope, token in guarded.tokens.items():
            code = await answer(guarded.channel, path, token)
            if needed == frozenset({scope}):
                assert code not in {*REFUSED, CODES.UNIMPLEMENTED}, (path, scope)
            else:
                assert code is CODES.PERMISSION_DENIED, (path, scope)


async def test_a_batch_of_named_forecasts_records_nothing_without_the_scope(guarded: Guarded) -> None:
    """A token that may predict gets a batch of what-ifs; each request that would record fails on its own."""
    named = PredictRequest(game_id=GAME, pattern=PATTERN, horizon=HORIZON_HALFTIME)
    batch = PredictBatchRequest(requests=[named, PredictRequest(pattern=PATTERN)])
    predict, read = (bearer(guarded.tokens[scope]) for scope in (AccessScope.PREDICT, AccessScope.READ))
    results = (await PredictionServiceStub(guarded.channel).PredictBatch(batch, metadata=predict)).results
    assert [result.error.reason for result in results] == ["SCOPE_MISSING", ""]
    listed = await RecordServiceStub(guarded.channel).ListPredictions(ListPredictionsRequest(), metadata=read)
    assert not listed.predictions


async def test_every_kind_of_entry_names_its_maker_and_the_record_shows_it(tmp_path: Path) -> None:
    path, ledger = tmp_path / "tokens.json", tmp_path / "ledger.sqlite3"
    poller, clerk = (token_file.create(path, name, tuple(AccessScope), utc_now()) for name in ("poller", "clerk"))
    even = market(-2.5, home_odds=1.9, away_odds=1.9)
    async with (
        async_worker(tmp_path, tokens=str(path)) as worker,
        AsyncDejavuClient(worker.address, token=poller) as polls,
        AsyncDejavuClient(worker.address, token=clerk) as reports,
    ):
        await polls.predict(PATTERN, horizon=HALFTIME, game_id=GAME)
        await reports.quote([*PATTERN[:-1], 40.0], even, horizon=HALFTIME, game_id=GAME)
        listed = [each async for each in reports.list_predictions(game_id=GAME)]
        reported = await reports.report_outcome(GAME, 3, horizon=HALFTIME)
        withdrawn = await polls.withdraw_outcome(GAME, horizon=HALFTIME)
    with closing(sqlite3.connect(ledger)) as connection:
        rows = connection.execute("SELECT canonical FROM entries WHERE kind != 'checkpoint' ORDER BY sequence")
        made = [(entry["kind"], entry["made_by"]) for entry in (json.loads(text) for (text,) in rows)]
    by = {"forecast": ["poller", "clerk"], "market": ["clerk"], "outcome": ["clerk", "poller"]}
    assert made == [(kind, f"token:{name}") for kind, names in by.items() for name in names]
    assert (reported.outcome.recorded_by, withdrawn.outcome.recorded_by) == ("token:clerk", "token:poller")
    assert {each.recorded_by: each.superseded for each in listed} == {"token:poller": False, "token:clerk": False}
    assert verify(f"sqlite:///{ledger}").sequence == 5


Log = list[MutableMapping[str, Any]]
BOTH = (AccessScope.PREDICT, AccessScope.READ)


@pytest.fixture
def log() -> Iterator[Log]:
    with capture_logs() as captured:
        yield captured


def settings_of(issuer: TokenIssuer) -> dict[str, Any]:
    """Return the settings of a server that trusts an issuer."""
    return {"jwks": str(issuer.jwks), "jwt_issuer": issuer.ISSUER, "jwt_audience": issuer.AUDIENCE}


async def test_refused_calls_are_logged_with_their_caller_and_a_flood_is_not(tmp_path: Path, log: Log) -> None:
    path, ago = tmp_path / "tokens.json", utc_now() - timedelta(days=1)
    reader = token_file.create(path, "reader", (AccessScope.READ,), utc_now())
    old = token_file.create(path, "old", (AccessScope.READ,), ago, ago + timedelta(hours=1))
    issuer = TokenIssuer(tmp_path)
    signed = issuer.sign(scope="read")
    async with worker_and_channel(tmp_path, tokens=str(path), **settings_of(issuer)) as (worker, channel):
        stub = PredictionServiceStub(channel)
        await RecordServiceStub(channel).ListPredictions(ListPredictionsRequest(), metadata=bearer(reader))
        for token, code in (
            ("djv_guess", CODES.UNAUTHENTICATED),
            (reader, CODES.PERMISSION_DENIED),
            (old, CODES.UNAUTHENTICATED),
            (signed, CODES.PERMISSION_DENIED),
            (signed[:-4], CODES.UNAUTHENTICATED),
            *[("djv_guess", CODES.UNAUTHENTICATED)] * (2 * LINES),
        ):
            assert await stub.Predict(PredictRequest(pattern=PATTERN), metadata=bearer(token)).code() is code
    guess, scope, expired, *others = (line for line in log if line["event"] == "call_refused")
    assert (guess["method"], guess["address"]) == (PREDICT, "127.0.0.1")
    assert (scope["caller"], expired["caller"]) == ("token:reader", "token:old")
    for line, reason in ((guess, "not known to this server"), (scope, "predict"), (expired, "the token has expired")):
        assert reason in line["reason"]
    assert len(others) == LINES - 1, "the flood is not told call by call"
    assert "djv_" not in str(log), "no line has a token"
    assert signed.split(".")[2][:-4] not in str(log)
    calls = {("reader", "PERMISSION_DENIED"): 1, ("reader", "OK"): 1, ("none", "UNAUTHENTICATED"): 2 * LINES + 3}
    for (caller, status), number in calls.items():
        labels = {"caller": caller, "code": status}
        assert worker.metrics.registry.get_sample_value("dejavu_caller_calls_total", labels) == number


async def test_metrics_tell_expiries_of_tokens_and_certificates_and_the_last_backup(tmp_path: Path) -> None:
    path, now, backups = tmp_path / "tokens.json", utc_now(), tmp_path / "backups"
    for name, days in (("gone", -1), ("soon", 3), ("later", 90)):
        token_file.create(path, name, (AccessScope.READ,), now, now + timedelta(days=days))
    token_file.create(path, "always", (AccessScope.READ,), now)
    pair = Authority(tmp_path).issue("server")
    backups.mkdir()
    for number, written in (("1", 1_000_000_000), ("2", 1_700_000_000)):
        (backups / number).write_text("a backup")
        os.utime(backups / number, (written, written))
    (backups / "failed").touch()  # as a failed pg_dump leaves it
    files: dict[str, Any] = {"tokens": str(path), "tls_cert": str(pair.certificate), "tls_key": str(pair.key)}
    async with async_worker(tmp_path, **files, backup_folder=str(backups)) as worker:

        def value(name: str, **labels: str) -> float | None:
            return worker.metrics.registry.get_sample_value(f"dejavu_{name}_timestamp_seconds", labels)

        await until(lambda: value("access_expires", file="tls") and value("backup") == 1_700_000_000)
        assert value("access_expires", file="tokens") == pytest.approx((now + timedelta(days=3)).timestamp(), abs=1)
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        assert value("access_expires", file="tls") == certificate.not_valid_after_utc.timestamp()


async def stream_end(stub: Any, token: str, change: Callable[[], object]) -> grpc.aio.AioRpcError:
    """Open a stream, change something while it is open, and return the error that ends it."""
    stream = stub.StreamPredictions(StreamPredictionsRequest(), metadata=bearer(token))
    assert (await stream.read()).HasField("heartbeat")
    change()
    async with asyncio.timeout(20):
        while True:
            try:
                await stream.read()
            except grpc.aio.AioRpcError as error:
                return error


async def test_a_revoked_token_ends_its_streams_and_is_refused_while_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    alice, bob = (token_file.create(path, name, BOTH, utc_now()) for name in ("alice", "bob"))
    async with worker_and_channel(tmp_path, tokens=str(path)) as (_, channel):
        stub = PredictionServiceStub(channel)
        kept = stub.StreamPredictions(StreamPredictionsRequest(), metadata=bearer(bob))
        await kept.read()
        ended = details(await stream_end(stub, alice, lambda: token_file.revoke(path, "alice", utc_now())))
        assert (ended.code, ended.reason) == (CODES.UNAUTHENTICATED, "UNAUTHENTICATED")
        calls = [stub.Predict(PredictRequest(pattern=PATTERN), metadata=bearer(token)) for token in (alice, bob)]
        assert [await call.code() for call in calls] == [CODES.UNAUTHENTICATED, CODES.OK]
        assert not kept.done()
        kept.cancel()


async def test_a_file_that_could_not_be_used_is_read_again_once_it_can(tmp_path: Path, log: Log) -> None:
    path, replacement = tmp_path / "tokens.json", tmp_path / "new.json"
    old, new = (token_file.create(each, "alice", BOTH, utc_now()) for each in (path, replacement))
    async with worker_and_channel(tmp_path, tokens=str(path)) as (worker, channel):

        def outdated() -> float | None:
            return worker.metrics.registry.get_sample_value("dejavu_access_file_outdated", {"file": "tokens"})

        async def code(token: str) -> grpc.StatusCode:
            stub = PredictionServiceStub(channel)
            return await stub.Predict(PredictRequest(pattern=PATTERN), metadata=bearer(token)).code()

        replacement.chmod(0o666)
        replacement.rename(path)
        await until(lambda: outdated() == 1)
        assert await code(old) is CODES.OK
        path.chmod(0o600)
        await until(lambda: outdated() == 0)
        assert [await code(new), await code(old)] == [CODES.OK, CODES.UNAUTHENTICATED]
    assert [entry["event"] for entry in log].count("access_reload_failed") == 1, "told once, not at each try"


async def test_a_stream_ends_with_the_json_web_token_of_its_caller_and_with_a_withdrawn_key(tmp_path: Path) -> None:
    issuer = TokenIssuer(tmp_path)
    async with worker_and_channel(tmp_path, **settings_of(issuer)) as (_, channel):
        stub = PredictionServiceStub(channel)
        expiring, lasting = issuer.sign(seconds=-26), issuer.sign()  # 30 s of leeway: four are left
        for token, change in ((expiring, lambda: None), (lasting, lambda: TokenIssuer(tmp_path, "two"))):
            ended = await stream_end(stub, token, change)
            assert ended.code() is grpc.StatusCode.UNAUTHENTICATED
