"""Domain error → status code, reason and details. The one table, and how a row becomes a google.rpc.Status.

    domain error                               status code           reason
    InvalidInput and its kin                   INVALID_ARGUMENT      INVALID_…; InvalidResumeToken is one of them
    InvalidMessage                             INVALID_ARGUMENT      INVALID_MESSAGE
    Unsupported and its kin                    FAILED_PRECONDITION   UNSUPPORTED_…, ALPHA_TOO_SMALL and such
    UnknownModel, UnknownService, UnknownGame  NOT_FOUND             UNKNOWN_MODEL_VERSION and such
    OutcomeKnown                               FAILED_PRECONDITION   OUTCOME_KNOWN
    ResumeTokenExpired                         OUT_OF_RANGE          RESUME_TOKEN_EXPIRED
    Overloaded, SubscriberTooSlow              RESOURCE_EXHAUSTED    OVERLOADED, SUBSCRIBER_TOO_SLOW
    LedgerUnavailable, Draining                UNAVAILABLE           LEDGER_UNAVAILABLE, DRAINING
    LedgerCorrupt                              DATA_LOSS             LEDGER_CORRUPT
    LedgerSchemaError                          FAILED_PRECONDITION   LEDGER_SCHEMA
    DeadlinePassed                             DEADLINE_EXCEEDED     DEADLINE_PASSED
    StreamFailed                               INTERNAL              STREAM_FAILED
    whatever else                              INTERNAL              INTERNAL, without a word of the exception

The reason is the error class's own `reason`. Every status carries google.rpc.ErrorInfo; one that names a field carries
google.rpc.BadRequest too.
"""

from __future__ import annotations

from typing import NamedTuple

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_models.errors import DejavuError, FieldError, InvalidInput, UnknownModel, Unsupported
from dejavu_server.api.health import UnknownService
from dejavu_server.forecasting.batcher import Overloaded
from dejavu_server.ledger.errors import (
    LedgerCorrupt,
    LedgerSchemaError,
    LedgerUnavailable,
    OutcomeAlreadyRecorded,
    ResumeTokenExpired,
)
from dejavu_server.ledger.queries.predictions import UnknownGame
from dejavu_server.streaming.errors import ServerDraining, StreamFailed, SubscriberTooSlow

ERROR_DOMAIN = "dejavu"
"""Domain of every google.rpc.ErrorInfo that the server sends."""

MAX_TEXT = 256
"""Longest message or description sent, in bytes of UTF-8.

A status travels in HTTP/2 trailers, of which clients take 8 kB in all: the message percent-encoded, which triples what
is not ASCII, and once more with its description in the details, in Base64.
"""


class MalformedRequest(DejavuError):
    """What came is no message of the method that was called."""

    reason = "INVALID_MESSAGE"


class DeadlineExceeded(DejavuError):
    """A call came too late, or without a deadline of its own and ran into the server's."""

    reason = "DEADLINE_PASSED"


CODES: dict[type[DejavuError], grpc.StatusCode] = {
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    MalformedRequest: grpc.StatusCode.INVALID_ARGUMENT,
    Unsupported: grpc.StatusCode.FAILED_PRECONDITION,
    UnknownModel: grpc.StatusCode.NOT_FOUND,
    UnknownGame: grpc.StatusCode.NOT_FOUND,
    UnknownService: grpc.StatusCode.NOT_FOUND,
    OutcomeAlreadyRecorded: grpc.StatusCode.FAILED_PRECONDITION,
    ResumeTokenExpired: grpc.StatusCode.OUT_OF_RANGE,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    SubscriberTooSlow: grpc.StatusCode.RESOURCE_EXHAUSTED,
    LedgerUnavailable: grpc.StatusCode.UNAVAILABLE,
    ServerDraining: grpc.StatusCode.UNAVAILABLE,
    LedgerCorrupt: grpc.StatusCode.DATA_LOSS,
    LedgerSchemaError: grpc.StatusCode.FAILED_PRECONDITION,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    StreamFailed: grpc.StatusCode.INTERNAL,
}
"""The table. An error that is not in it answers like the nearest of its bases that is."""


INTERNAL = "INTERNAL"
"""The reason of what is not in the table."""


class Violation(NamedTuple):
    """What is wrong with a field."""

    field: str
    description: str


class Failure(NamedTuple):
    """What a caller is told about an error."""

    code: grpc.StatusCode
    reason: str
    message: str
    violations: tuple[Violation, ...] = ()
    """The offending fields, the one that the reason speaks of first; empty if the error names none."""


def describe(error: BaseException) -> Failure:
    """Looks an error up in the table; what is not in it becomes a bare INTERNAL."""
    code = next((CODES[base] for base in type(error).__mro__ if base in CODES), None)
    if code is None or not isinstance(error, DejavuError):
        return Failure(grpc.StatusCode.INTERNAL, INTERNAL, "internal error")
    faults = (error, *error.others) if isinstance(error, FieldError) else ()
    violations = tuple(Violation(fault.field, _short(fault.description)) for fault in faults)
    return Failure(code, error.reason, _short(str(error)), violations)


def status(failure: Failure) -> status_pb2.Status:
    """A failure as google.rpc.Status, with its details."""
    answer = status_pb2.Status(code=status_number(failure.code), message=failure.message)
    metadata = {"field": failure.violations[0].field} if failure.violations else {}
    info = error_details_pb2.ErrorInfo(reason=failure.reason, domain=ERROR_DOMAIN, metadata=metadata)
    answer.details.add().Pack(info)
    if failure.violations:
        bad = error_details_pb2.BadRequest()
        for field, description in failure.violations:
            bad.field_violations.add(field=field, description=description)
        answer.details.add().Pack(bad)
    return answer


def batch_error(failure: Failure) -> pb.PredictError:
    """A failure as the result of one request of a batch."""
    error = pb.PredictError(code=status_number(failure.code), reason=failure.reason, message=failure.message)
    for field, description in failure.violations:
        error.field_violations.add(field=field, description=description)
    return error


def status_number(code: grpc.StatusCode) -> int:
    """The google.rpc.Code of a status code: the same number under another type."""
    number: int = code_pb2.Code.Value(code.name)
    return number


def _short(text: str) -> str:
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= MAX_TEXT else data[: MAX_TEXT - 3].decode(errors="ignore") + "…"
