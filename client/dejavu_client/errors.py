"""What a call can end with other than an answer, and the one table from status code to exception.

DejavuClientError
├── InvalidArgumentError      INVALID_ARGUMENT     a field of the request is wrong: see field_violations
├── NotFoundError             NOT_FOUND            no such model version, no such service, no forecast of the game
├── FailedPreconditionError   FAILED_PRECONDITION  well-formed, but the model asked can't do it, or the outcome is known
├── OutOfRangeError           OUT_OF_RANGE         the resume token's place is gone: begin a new stream without it
├── ResourceExhaustedError    RESOURCE_EXHAUSTED   the server has too much to do, or a subscriber read too slowly
├── DeadlineExceededError     DEADLINE_EXCEEDED    no answer within the timeout
├── UnavailableError          UNAVAILABLE          the server can't be reached, or says to come again later
├── CallCancelledError        CANCELLED            the server ended the call without an answer
├── UnauthenticatedError      UNAUTHENTICATED      no credentials, or not valid ones
├── PermissionDeniedError     PERMISSION_DENIED    the credentials do not allow it
├── UnimplementedError        UNIMPLEMENTED        the server does not know the call: it is older, or another service
├── InternalError             any other code       a fault of the server's, or of something in between
└── ClientClosedError         –                    the client was closed, before the call or during it

No grpc.RpcError reaches a caller; the one behind an exception is its `__cause__`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, cast

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status

from dejavu.v1.prediction_service_pb2 import PredictError

SUBSCRIBER_TOO_SLOW = "SUBSCRIBER_TOO_SLOW"
"""Reason of the RESOURCE_EXHAUSTED that ends a stream whose reader fell behind; it can be resumed."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field that the server refused.

    Attributes:
        field: its name, with its index where it repeats (`pattern[3]`).
        description: what was found and what was expected.
    """

    field: str
    description: str


class DejavuClientError(Exception):
    """Base of all errors of the client.

    Attributes:
        message: what is wrong, for people.
        code: the call's status code; None where no call was made.
        reason: a stable name for programs, for instance INVALID_PATTERN; empty if the server gave none.
        field_violations: the fields that were refused.
        request_id: the server's name for the call, to be found in its log; empty if the call never reached it.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str = "",
        field_violations: tuple[FieldViolation, ...] = (),
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.field_violations = field_violations
        self.request_id = request_id


class InvalidArgumentError(DejavuClientError):
    """A field of the request is wrong; `field_violations` names it."""


class NotFoundError(DejavuClientError):
    """What the request names does not exist."""


class FailedPreconditionError(DejavuClientError):
    """The request is well-formed, but can't be honoured: by the model asked, or because the outcome is known."""


class OutOfRangeError(DejavuClientError):
    """The resume token's place is gone; a new stream has to begin without it."""


class ResourceExhaustedError(DejavuClientError):
    """The server has too much to do, or a subscriber read too slowly."""


class DeadlineExceededError(DejavuClientError):
    """No answer came within the timeout."""


class UnavailableError(DejavuClientError):
    """The server can't be reached, or says to come again later."""


class CallCancelledError(DejavuClientError):
    """The server ended the call without an answer."""


class UnauthenticatedError(DejavuClientError):
    """The call carried no credentials, or not valid ones."""


class PermissionDeniedError(DejavuClientError):
    """The credentials do not allow the call."""


class UnimplementedError(DejavuClientError):
    """The server does not know the call."""


class InternalError(DejavuClientError):
    """A fault of the server's, or of something between it and the client."""


class ClientClosedError(DejavuClientError):
    """The client was closed."""


EXCEPTIONS: dict[grpc.StatusCode, type[DejavuClientError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRangeError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.CANCELLED: CallCancelledError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
}
"""Status code → exception; any other code is an InternalError."""

PASSING = (CallCancelledError, DeadlineExceededError, ResourceExhaustedError, UnavailableError)
"""No answer for a reason that may pass: the same call may have one later."""


class FailedCall(Protocol):
    """What the synchronous and the asynchronous gRPC errors have in common; grpc.RpcError itself promises nothing."""

    def code(self) -> grpc.StatusCode:
        """The status code."""

    def details(self) -> str | None:
        """The status message."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What the server sent with the status."""


def from_rpc_error(error: grpc.RpcError, target: str, timeout: float | None = None) -> DejavuClientError:
    """The client's exception for a gRPC error.

    Args:
        error: as raised by a call, synchronous or asynchronous.
        target: the address called, for the message.
        timeout: the deadline that the call was given, in seconds, for the message.
    """
    call = cast("FailedCall", error)
    code = call.code()
    message = call.details() or code.name
    reason, violations = _details(call)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and timeout is not None:
        message = f"no answer from {target} within {timeout:g} s"
    elif code is grpc.StatusCode.UNAVAILABLE and not reason:
        # Without details it is gRPC that speaks, not the server: what it says about sockets helps nobody alone.
        never_there = "connect to" in message or "resolution" in message
        hint = f"cannot reach {target}: is a dejavu-server running there?" if never_there else f"lost {target}"
        message = f"{hint} ({message})"
    return EXCEPTIONS.get(code, InternalError)(
        message,
        code=code,
        reason=reason,
        field_violations=violations,
        request_id=metadata_value(call.trailing_metadata(), "x-request-id"),
    )


def from_predict_error(error: PredictError) -> DejavuClientError:
    """The exception that a call of its own would have raised for one request of a batch.

    Args:
        error: why that request was refused.
    """
    code = next((code for code in grpc.StatusCode if code.value[0] == error.code), grpc.StatusCode.UNKNOWN)
    return EXCEPTIONS.get(code, InternalError)(
        error.message or code.name,
        code=code,
        reason=error.reason,
        field_violations=tuple(FieldViolation(v.field, v.description) for v in error.field_violations),
    )


def metadata_value(metadata: Iterable[tuple[str, str | bytes]] | None, key: str) -> str:
    """The first text under a key of a call's metadata; empty if there is none."""
    for name, value in metadata or ():
        if name == key and isinstance(value, str):
            return value
    return ""


def _details(error: FailedCall) -> tuple[str, tuple[FieldViolation, ...]]:
    """Reason and field violations from the google.rpc details of an error."""
    try:
        status = rpc_status.from_call(cast("grpc.Call", error))
    except ValueError:  # the details contradict the status they came with: trust the status alone
        return "", ()
    reason = ""
    violations = list[FieldViolation]()
    for detail in status.details if status is not None else ():
        info, bad_request = ErrorInfo(), BadRequest()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad_request):
            violations += (FieldViolation(v.field, v.description) for v in bad_request.field_violations)
    return reason, tuple(violations)
