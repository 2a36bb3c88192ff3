"""Conversion of gRPC errors to client exceptions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from tests.support.fakes.service import Abort

from dejavu.v1.prediction_service_pb2 import FieldViolation as PredictFieldViolation
from dejavu.v1.prediction_service_pb2 import PredictError
from dejavu_client import config
from dejavu_client.errors import (
    EXCEPTIONS,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    from_predict_error,
    from_rpc_error,
)


class FakeError(grpc.RpcError):
    """An error as raised by a gRPC call."""

    def __init__(
        self, code: grpc.StatusCode, details: str | None, metadata: Sequence[tuple[str, str | bytes]] | None = ()
    ) -> None:
        self._code, self._details, self._metadata = code, details, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._metadata


def test_details_that_contradict_their_status_are_left_aside() -> None:
    others = Abort(grpc.StatusCode.NOT_FOUND, "another message", "OTHER").details()
    error = from_rpc_error(FakeError(grpc.StatusCode.INVALID_ARGUMENT, "a message", others), "host:1")
    assert isinstance(error, InvalidArgumentError)
    assert (error.message, error.reason, error.field_violations) == ("a message", "", ())


def test_the_retries_end_within_the_default_deadline() -> None:
    (policy,) = (entry["retryPolicy"] for entry in json.loads(config.service_config())["methodConfig"])
    waits, backoff = 0.0, float(policy["initialBackoff"].rstrip("s"))
    assert backoff == 0.5
    for _ in range(policy["maxAttempts"] - 1):
        waits += 1.2 * backoff  # gRPC varies each wait by 20 %
        backoff = min(backoff * policy["backoffMultiplier"], float(policy["maxBackoff"].rstrip("s")))
    assert waits < config.DEFAULT_TIMEOUT - 1.0


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_code_has_an_exception_in_a_call_and_within_a_batch(code: grpc.StatusCode) -> None:
    abort = Abort(code, "no", "WHY", [("alpha", "2; expected less")], retry_after=1.5)
    of_call = from_rpc_error(FakeError(code, "no", abort.details()), "host:1")
    of_batch = from_predict_error(
        PredictError(
            code=code.value[0],
            reason="WHY",
            message="no",
            field_violations=[PredictFieldViolation(field="alpha", description="2; expected less")],
            retry_delay_seconds=1.5,
        )
    )
    for error in (of_call, of_batch):
        assert type(error) is EXCEPTIONS.get(code, InternalError)
        assert (error.code, error.reason, error.message, error.retry_after) == (code, "WHY", "no", 1.5)
        assert error.field_violations == (FieldViolation("alpha", "2; expected less"),)


def test_a_refusal_within_a_batch_of_a_code_that_is_none_is_internal() -> None:
    error = from_predict_error(PredictError(code=99))
    assert isinstance(error, InternalError)
    assert (error.message, error.retry_after) == ("UNKNOWN", None)


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        ("UNIMPLEMENTED", "Method not found!", "does not know this call"),
        ("UNAVAILABLE", "Stream removed (Socket closed)", "lost host:1"),
        ("UNAVAILABLE", "DNS resolution failed for host:1", "cannot reach host:1"),
    ],
)
def test_what_grpc_says_is_put_into_words_unless_a_dejavu_server_said_it(
    code: str, said: str | None, told: str
) -> None:
    status = grpc.StatusCode[code]
    assert told in str(from_rpc_error(FakeError(status, said, None), "host:1"))
    abort = Abort(status, "the disk is full", "LEDGER_UNAVAILABLE")
    assert str(from_rpc_error(FakeError(status, abort.message, abort.details()), "host:1")) == "the disk is full"
