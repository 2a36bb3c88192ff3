"""Shared helpers for tests of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

PATTERN = (0, 2, 4, 3, 5, 7, 6, 4, 4, 6, 8, 9, 11, 10, 8, 7, 9, 11)
"""18 slots; the last one is 11."""


def current_game(number: int) -> str:
    """Return the NBA's id of a game of the newest season: without a date, it can be forecast and reported now."""
    today = datetime.now(UTC)
    return f"002{(today.year - (today.month < 9)) % 100:02d}{number:05d}"


GAME = current_game(90001)
"""A game that can take place today."""

MAY_PASS = {
    "MODELS_CHANGED",
    "MODEL_STORE_UNAVAILABLE",
    "OVERLOADED",
    "CALLER_LIMIT",
    "SUBSCRIBER_TOO_SLOW",
    "LEDGER_UNAVAILABLE",
    "LEDGER_REPLACED",
    "LEDGER_CLOCK",
    "DISK_RESERVE",
    "SIGNING_UNAVAILABLE",
    "DRAINING",
    "SHARED_CACHE_UNAVAILABLE",
}
"""Reasons of temporary refusals: the same request can succeed later."""


class Refusal(NamedTuple):
    """Details of a failed call."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    metadata: Mapping[str, str]
    violations: Mapping[str, str]
    """Field → description."""
    retry_seconds: float | None = None
    """How long to wait before sending the same request again; None if the refusal is permanent."""


async def refusal(call: Awaitable[Any]) -> Refusal:
    """Await a grpc.aio call that must fail with google.rpc details; return them."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(10):
            await call
    return details(caught.value)


def details(error: grpc.aio.AioRpcError) -> Refusal:
    """Decode an error of grpc.aio with its details; they have a retry delay if and only if it is temporary."""
    status = rpc_status.from_call(cast("grpc.Call", error))  # it uses only methods that both kinds of error have
    assert isinstance(status, status_pb2.Status), "no google.rpc details"
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        assert any(map(detail.Unpack, (info, bad, retry))), f"an unexpected detail: {detail.type_url}"
    retry_seconds = retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None
    assert (retry_seconds is not None) == (info.reason in MAY_PASS)
    violations = {violation.field: violation.description for violation in bad.field_violations}
    assert error.details() == status.message
    return Refusal(
        error.code(), status.message, info.reason, info.domain, dict(info.metadata), violations, retry_seconds
    )
