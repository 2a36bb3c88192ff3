"""Every method of every service with every scope: allowed or refused, and recorded with its maker."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.support.builders.calls import GAME, PATTERN, details
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2, record_service_pb2
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import AsyncDejavuClient, market
from dejavu_client.requests import HALFTIME
from dejavu_common.clock import utc_now
from dejavu_ledger import verify
from dejavu_server.access import token_file
from dejavu_server.access.authenticator import Authenticator
from dejavu_server.access.caller import AccessScope, MethodDenied, Unauthenticated
from dejavu_server.access.policy import POLICY, PUBLIC
from dejavu_server.api.interceptors import WORKER
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


async def methods(guarded: Guarded) -> dict[str, MethodDescriptor]:
    """Return the methods of the services that the server lists, by path."""
    async with grpc.aio.insecure_channel(guarded.worker.address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", channel))
        listing = reflection_pb2.ServerReflectionRequest(list_services="")
        owned = [("authorization", f"Bearer {guarded.tokens[AccessScope.READ]}")]
        listed = (await stub.ServerReflectionInfo(iter([listing]), metadata=owned).read()).list_services_response
    services = [descriptor_pool.Default().FindServiceByName(each.name) for each in listed.service]
    return {f"/{service.full_name}/{method.name}": method for service in services for method in service.methods}


async def answer(channel: Any, path: str, handler: MethodDescriptor, token: str | None) -> CODES:
    """Call a method and return the code; OK for a stream that sends its first message, or stays open.

    A call that lacks a scope is told which.
    """
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    request = REQUESTS.get(path)
    data = b"" if request is None else request.SerializeToString()
    try:
        if handler.client_streaming:
            stream = channel.stream_stream(path)(metadata=metadata)
            async with asyncio.timeout(5):
                # Write only once it is accepted: grpc.aio reports a write to a call that was just refused as INTERNAL.
                if WORKER in dict(await stream.initial_metadata()):
                    with suppress(asyncio.InvalidStateError):  # refused meanwhile
                        await stream.write(data)
                await stream.read()
            stream.cancel()
        elif handler.server_streaming:
            streaming = channel.unary_stream(path)(data, metadata=metadata)
            async with asyncio.timeout(5):
                await streaming.read()
            streaming.cancel()
        else:
            await channel.unary_unary(path)(data, metadata=metadata, timeout=5)
    except grpc.aio.AioRpcError as error:
        if error.code() is CODES.PERMISSION_DENIED:
            told, scopes = details(error), {each.value for each in POLICY[path].scopes or ()}
            assert (told.reason, told.metadata["scope"] in scopes, "token:" in told.message) == (
                "SCOPE_MISSING",
                True,
                True,
            )
        return error.code()
    return CODES.OK


async def test_the_policy_names_every_method_of_the_server_and_no_other(guarded: Guarded) -> None:
    # Newer releases of the health package have List.
    assert {*await methods(guarded), "/grpc.health.v1.Health/List"} == set(POLICY)


async def test_a_token_in_another_form_is_refused_and_a_method_that_the_policy_does_not_have_is_nobodys(
    tmp_path: Path,
) -> None:
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
        for path, handler in (await methods(guarded)).items():
            needed = POLICY[path].scopes
            anonymous = await answer(channel, path, handler, None)
            unknown = await answer(channel, path, handler, "djv_unknown")
            if needed is PUBLIC:
                assert not {anonymous, unknown} & REFUSED, path
                continue
            assert (anonymous, unknown) == (CODES.UNAUTHENTICATED, CODES.UNAUTHENTICATED), path
            for scope in AccessScope:
                code = await answer(channel, path, handler, guarded.tokens[scope])
                if needed == frozenset({scope}):
                    assert code not in {*REFUSED, CODES.UNIMPLEMENTED}, (path, scope)
                else:
                    assert code is CODES.PERMISSION_DENIED, (path, scope)


async def test_a_batch_of_named_forecasts_records_nothing_without_the_scope(guarded: Guarded) -> None:
    """A token that may predict gets a batch of what-ifs; each request that would record fails on its own."""
    named = prediction_service_pb2.PredictRequest(game_id=GAME, pattern=PATTERN, horizon=HORIZON_HALFTIME)
    what_if = prediction_service_pb2.PredictRequest(pattern=PATTERN)
    batch = prediction_service_pb2.PredictBatchRequest(requests=[named, what_if])
    metadata = [("authorization", f"Bearer {guarded.tokens[AccessScope.PREDICT]}")]
    owned = [("authorization", f"Bearer {guarded.owner}")]
    async with (
        grpc.aio.insecure_channel(guarded.worker.address) as channel,
        AsyncDejavuClient(guarded.worker.address, metadata=owned) as owner,
    ):
        results = (await PredictionServiceStub(channel).PredictBatch(batch, metadata=metadata)).results
        assert [result.error.reason for result in results] == ["SCOPE_MISSING", ""]
        assert (await owner.get_checkpoint()).sequence == 0


def recorded_entries(path: Path) -> list[dict[str, object]]:
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
    assert [(entry["kind"], entry["made_by"]) for entry in recorded_entries(ledger)] == [
        ("forecast", "token:poller"),
        ("forecast", "token:clerk"),  # and no correction of the poller's
        ("market", "token:clerk"),
        ("outcome", "token:clerk"),
        ("outcome", "token:poller"),
    ]
    assert (reported.outcome.recorded_by, withdrawn.outcome.recorded_by) == ("token:clerk", "token:poller")
    assert {(each.recorded_by, each.superseded) for each in of_minute} == {
        ("token:poller", False),
        ("token:clerk", False),
    }
    assert verify(f"sqlite:///{ledger}").sequence == 5
