"""Conversion of gRPC errors to client exceptions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.support.fakes.service import Abort

from dejavu.v1.prediction_service_pb2 import FieldViolation as PredictFieldViolation
from dejavu.v1.prediction_service_pb2 import PredictError
from dejavu_client import config, errors
from dejavu_client.errors import (
    EXCEPTIONS,
    DejavuClientError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    UnavailableError,
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


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_code_has_an_exception(code: grpc.StatusCode) -> None:
    error = from_rpc_error(FakeError(code, "why"), "host:1")
    assert type(error) is EXCEPTIONS.get(code, InternalError)
    assert error.code is code
    assert "why" in str(error)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_refusal_within_a_batch_is_the_exception_of_a_call_of_its_own(code: grpc.StatusCode) -> None:
    violations = [PredictFieldViolation(field="alpha", description="2; expected less")]
    refused = PredictError(code=code.value[0], reason="WHY", message="no", field_violations=violations)
    error = from_predict_error(refused)
    assert type(error) is type(from_rpc_error(FakeError(code, "no"), "host:1"))
    assert (error.code, error.reason, error.message) == (code, "WHY", "no")
    assert error.field_violations == (FieldViolation("alpha", "2; expected less"),)


def test_a_refusal_within_a_batch_of_a_code_that_is_none_is_internal() -> None:
    error = from_predict_error(PredictError(code=99))
    assert isinstance(error, InternalError)
    assert error.message == "UNKNOWN"


def test_the_table_is_the_one_in_the_docstring() -> None:
    listed = re.findall(r"[├└]── (\w+) +([A-Z_]+|any other code|–) ", errors.__doc__ or "")
    named = {getattr(grpc.StatusCode, code): name for name, code in listed if code.isupper()}
    assert named == {code: exception.__name__ for code, exception in EXCEPTIONS.items()}
    classes = {c.__name__ for c in vars(errors).values() if isinstance(c, type) and issubclass(c, DejavuClientError)}
    assert {name for name, _ in listed} == classes - {"DejavuClientError"}


def test_a_status_without_a_message_says_its_name() -> None:
    assert str(from_rpc_error(FakeError(grpc.StatusCode.ABORTED, None, None), "host:1")) == "ABORTED"


def test_a_server_that_says_to_come_again_is_quoted_without_the_hint_that_it_may_not_run() -> None:
    abort = Abort(grpc.StatusCode.UNAVAILABLE, "the disk is full", "LEDGER_UNAVAILABLE")
    error = from_rpc_error(FakeError(abort.code, abort.message, abort.details()), "host:1")
    assert isinstance(error, UnavailableError)
    assert (str(error), error.reason) == ("the disk is full", "LEDGER_UNAVAILABLE")


def test_a_refusal_that_may_pass_says_after_how_many_seconds() -> None:
    abort = Abort(grpc.StatusCode.UNAVAILABLE, "the disk is full", "LEDGER_UNAVAILABLE", retry_after=1.5)
    assert from_rpc_error(FakeError(abort.code, abort.message, abort.details()), "host:1").retry_after == 1.5
    of_batch = PredictError(code=14, reason="LEDGER_UNAVAILABLE", retry_delay=Duration(seconds=1, nanos=500_000_000))
    assert from_predict_error(of_batch).retry_after == 1.5
    assert from_predict_error(PredictError(code=3)).retry_after is None
    assert from_rpc_error(FakeError(grpc.StatusCode.UNAVAILABLE, "lost"), "host:1").retry_after is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "failed to connect to all addresses",
            "cannot reach host:1: is a dejavu-server running there? (failed to connect to all addresses)",
        ),
        (
            "DNS resolution failed for host:1",
            "cannot reach host:1: is a dejavu-server running there? (DNS resolution failed for host:1)",
        ),
        (
            "last error: UNKNOWN: ipv4:[::1]:1: Failed to connect to remote host: Connection refused",
            "cannot reach host:1: is a dejavu-server running there? (Connection refused)",
        ),
        (
            "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Failed parsing HTTP/2",
            "cannot reach host:1: is a dejavu-server running there? (ipv4:127.0.0.1:1: Failed parsing HTTP/2)",
        ),
        (
            "errors resolving host:1: [Domain name not found]",
            "cannot reach host:1: is a dejavu-server running there? (errors resolving host:1: [Domain name not found])",
        ),
        ("Stream removed (Socket closed)", "lost host:1 (Stream removed (Socket closed))"),
    ],
)
def test_a_server_that_was_never_there_is_told_from_one_that_went(said: str, told: str) -> None:
    assert str(from_rpc_error(FakeError(grpc.StatusCode.UNAVAILABLE, said), "host:1")) == told


@pytest.mark.parametrize(
    ("code", "said"), [(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"), (grpc.StatusCode.NOT_FOUND, None)]
)
def test_another_program_at_the_address_is_told_from_a_dejavu_server(code: grpc.StatusCode, said: str | None) -> None:
    told = f"host:1 does not know this call: an older dejavu-server, or another program ({said or 'NOT_FOUND'})"
    assert str(from_rpc_error(FakeError(code, said, None), "host:1")) == told
    abort = Abort(code, "no such model", "MODEL_NOT_FOUND")
    assert str(from_rpc_error(FakeError(code, abort.message, abort.details()), "host:1")) == "no such model"


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


def test_only_what_is_safe_to_repeat_is_retried() -> None:
    (method_config,) = json.loads(config.service_config())["methodConfig"]
    names = [f"{name['service']}/{name.get('method', '*')}" for name in method_config["name"]]
    assert names == [
        "dejavu.v1.PredictionService/Predict",
        "dejavu.v1.PredictionService/PredictBatch",
        "dejavu.v1.PredictionService/PredictColumns",
        "dejavu.v1.PredictionService/AssessRisk",
        "dejavu.v1.RecordService/*",
        "dejavu.v1.ModelService/*",
        "dejavu.v1.OperationsService/*",
        "dejavu.v1.LeaseService/*",
        "dejavu.v1.CacheService/*",
        "inference.GRPCInferenceService/*",
    ]
    assert method_config["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"]
    of_several = json.loads(config.service_config(several=True))
    assert of_several["methodConfig"] == [method_config]
