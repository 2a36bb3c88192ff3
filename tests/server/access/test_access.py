"""Access of callers: every method with every scope, revoked and expired tokens, and what a keeper is told of them."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
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

from dejavu.v1 import prediction_service_pb2, record_service_pb2
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2 import PredictRequest, StreamPredictionsRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ListPredictionsRequest
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

REQUESTS: dict[str, Any] = {
    "/dejavu.v1.PredictionService/Predict": prediction_service_pb2.PredictRequest(pattern=PATTERN),
    "/dejavu.v1.RecordService/ReportOutcome": record_service_pb2.ReportOutcomeRequest(
        game_id=GAME, horizon=HORIZON_HALFTIME, differential=7
    ),
}
"""Requests that succeed if they are allowed; for other methods an empty message is enough to show a refusal."""


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


class Guarded(NamedTuple):
    """A worker that requires tokens, and a token for each scope."""

    worker: Worker
    tokens: dict[AccessScope, str]
    owner: str
    """A token with all scopes."""


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    path = tmp_path / "tokens.json"
    tokens = {scope: token_file.create(path, scope.value, (scope,), utc_now()) for scope in AccessScope}
    owner = token_file.create(path, "owner", tuple(AccessScope), utc_now())
    async with async_worker(tmp_path, tokens=str(path)) as worker:
        yield Guarded(worker, tokens, owner)


async def methods(guarded: Guarded) -> list[str]:
    """Return the paths of all methods of the services that the server lists."""
    async with grpc.aio.insecure_channel(guarded.worker.address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", channel))
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
            told, scopes = details(error), {each.value for each in POLICY[path].scopes or ()}
            assert (told.reason, "token:" in told.message) == ("SCOPE_MISSING", True)
            assert told.metadata["scope"] in scopes
        return error.code()
    stream.cancel()
    return CODES.OK


async def test_the_policy_names_every_method_of_the_server_and_no_other(guarded: Guarded) -> None:
    # Newer releases of the health package have List.
    assert {*await methods(guarded), "/grpc.health.v1.Health/List"} == set(POLICY)


async def test_tokens_in_another_form_and_methods_outside_the_policy_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = token_file.create(path, "owner", tuple(AccessScope), utc_now())
    access = Authenticator(path, None)
    for value in (token, f"Basic {token}", "Bearer", "Bearer ", f"Bearer  {token}", f"Bearer {token}x", "x" * 9000):
        with pytest.raises(Unauthenticated) as refused:
            access.authorize("/dejavu.v1.PredictionService/Predict", value)
        assert token not in str(refused.value)
    assert access.authorize("/dejavu.v1.PredictionService/Predict", f"bearer {token}").identity == "token:owner"
    with pytest.raises(MethodDenied):
        access.authorize("/dejavu.v1.PredictionService/Other", f"bearer {token}")


async def test_every_method_is_served_with_the_scope_that_it_needs_and_refused_without(guarded: Guarded) -> None:
    async with grpc.aio.insecure_channel(guarded.worker.address) as channel:
        for path in await methods(guarded):
            needed = POLICY[path].scopes
            anonymous = await answer(channel, path, None)
            unknown = await answer(channel, path, "djv_unknown")
            if needed is PUBLIC:
                assert not {anonymous, unknown} & REFUSED, path
                continue
            assert (anonymous, unknown) == (CODES.UNAUTHENTICATED, CODES.UNAUTHENTICATED), path
            for scope in AccessScope:
                code = await answer(channel, path, guarded.tokens[scope])
                if needed == frozenset({scope}):
                    assert code not in {*REFUSED, CODES.UNIMPLEMENTED}, (path, scope)
                else:
                    assert code is CODES.PERMISSION_DENIED, (path, scope)


async def test_a_batch_of_named_forecasts_records_nothing_without_the_scope(guarded: Guarded) -> None:
    """A token that may predict gets a batch of what-ifs; each request that would record fails on its own."""
    named = prediction_service_pb2.PredictRequest(game_id=GAME, pattern=PATTERN, horizon=HORIZON_HALFTIME)
    what_if = prediction_service_pb2.PredictRequest(pattern=PATTERN)
    batch = prediction_service_pb2.PredictBatchRequest(requests=[named, what_if])
    metadata = bearer(guarded.tokens[AccessScope.PREDICT])
    async with (
        grpc.aio.insecure_channel(guarded.worker.address) as channel,
        AsyncDejavuClient(guarded.worker.address, token=guarded.owner) as owner,
    ):
        results = (await PredictionServiceStub(channel).PredictBatch(batch, metadata=metadata)).results
        assert [result.error.reason for result in results] == ["SCOPE_MISSING", ""]
        assert (await owner.get_checkpoint()).sequence == 0


def recorded_entries(path: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT canonical FROM entries WHERE kind != 'checkpoint' ORDER BY sequence")
        return [json.loads(text) for (text,) in rows]


async def test_every_kind_of_entry_names_its_maker_and_the_record_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    poller, clerk = (token_file.create(path, name, tuple(AccessScope), utc_now()) for name in ("poller", "clerk"))
    ledger = tmp_path / "ledger.sqlite3"
    async with async_worker(tmp_path, tokens=str(path)) as worker:
        address = worker.address
        async with (
            AsyncDejavuClient(address, token=poller) as polls,
            AsyncDejavuClient(address, token=clerk) as reports,
        ):
            await polls.predict(PATTERN, horizon=HALFTIME, game_id=GAME)
            await polls.predict(PATTERN, horizon=HALFTIME, game_id=GAME)  # recorded already
            await reports.quote(
                [*PATTERN[:-1], 40.0], market(-2.5, home_odds=1.9, away_odds=1.9), horizon=HALFTIME, game_id=GAME
            )
            of_minute = [each async for each in reports.list_predictions(game_id=GAME)]
            reported = await reports.report_outcome(GAME, 3, horizon=HALFTIME)
            withdrawn = await polls.withdraw_outcome(GAME, horizon=HALFTIME)
    made = [(entry["kind"], entry["made_by"].removeprefix("token:")) for entry in recorded_entries(ledger)]
    assert made[:2] == [("forecast", "poller"), ("forecast", "clerk")], "and no correction of the poller's"
    assert made[2:] == [("market", "clerk"), ("outcome", "clerk"), ("outcome", "poller")]
    assert (reported.outcome.recorded_by, withdrawn.outcome.recorded_by) == ("token:clerk", "token:poller")
    assert {(each.recorded_by, each.superseded) for each in of_minute} == {
        ("token:poller", False),
        ("token:clerk", False),
    }
    assert verify(f"sqlite:///{ledger}").sequence == 5


Log = list[MutableMapping[str, Any]]
BOTH = (AccessScope.PREDICT, AccessScope.READ)


@pytest.fixture
def log() -> Iterator[Log]:
    with capture_logs() as captured:
        yield captured


def events(log: Log) -> list[str]:
    return [entry["event"] for entry in log]


def settings_of(issuer: TokenIssuer) -> dict[str, Any]:
    """Return the settings of a server that trusts an issuer."""
    return {"jwks": str(issuer.jwks), "jwt_issuer": issuer.ISSUER, "jwt_audience": issuer.AUDIENCE}


async def test_refused_calls_are_logged_with_their_caller_and_a_flood_is_not(tmp_path: Path, log: Log) -> None:
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


async def test_metrics_tell_expiries_of_tokens_and_certificates_and_the_last_backup(tmp_path: Path) -> None:
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
