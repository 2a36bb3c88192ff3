"""Client exceptions and the mapping from status codes to exceptions.

DejavuClientError
├── InvalidArgumentError      INVALID_ARGUMENT     a request field is invalid: see field_violations
├── NotFoundError             NOT_FOUND            no such model version or service, no forecast of the game
├── FailedPreconditionError   FAILED_PRECONDITION  well-formed, but the model can't do it, or the outcome is known
├── OutOfRangeError           OUT_OF_RANGE         the resume token's position is gone: start a new stream
├── ResourceExhaustedError    RESOURCE_EXHAUSTED   the server is overloaded, or a subscriber reads too slowly
├── DeadlineExceededError     DEADLINE_EXCEEDED    no answer within the timeout
├── UnavailableError          UNAVAILABLE          the server can't be reached, or asks to retry later
├── CallCancelledError        CANCELLED            the server ended the call without an answer
├── UnauthenticatedError      UNAUTHENTICATED      no credentials, or invalid ones
├── PermissionDeniedError     PERMISSION_DENIED    the credentials do not allow the call
├── UnimplementedError        UNIMPLEMENTED        the server does not have the method: it is not Dejavu
├── InternalError             any other code       an error in the server, or in something in between
└── ClientClosedError         –                    the client was closed, before the call or during it

Calls never raise grpc.RpcError; the original error is the exception's `__cause__`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, cast

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status

from dejavu.v1.prediction_service_pb2 import PredictError

SUBSCRIBER_TOO_SLOW = "SUBSCRIBER_TOO_SLOW"
"""Reason of the RESOURCE_EXHAUSTED that ends a stream whose reader fell behind. The stream can be resumed."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A request field that the server rejected.

    Attributes:
        field: field name, with the index for repeated fields (`pattern[3]`).
        description: the value received and the value expected.
    """

    field: str
    description: str


EXCEPTIONS: dict[grpc.StatusCode, type[DejavuClientError]] = {}
"""Maps status codes to exceptions. Any other code becomes an InternalError."""


@dataclass(eq=False, repr=False)
class DejavuClientError(Exception):
    """Base class of all client errors.

    Attributes:
        message: human-readable description.
        code: status code of the call; None if no call was made.
        reason: stable machine-readable code, e.g. INVALID_PATTERN; empty if the server gave none.
        field_violations: the rejected fields.
        request_id: the server's id of the call, as in its log; empty if the call never reached the server.
        retry_after: seconds to wait before sending the same request again; None if the server did not suggest that.
        metadata: further data for programs, by name; for the reason OUTCOME_STANDS the current outcome: differential,
            revision, sequence, observed_time, and home_team and away_team if it has teams.
    """

    message: str
    _: KW_ONLY
    code: grpc.StatusCode | None = None
    reason: str = ""
    field_violations: tuple[FieldViolation, ...] = ()
    request_id: str = ""
    retry_after: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __init_subclass__(cls, status: grpc.StatusCode | None = None) -> None:
        if status is not None:
            EXCEPTIONS[status] = cls


class InvalidArgumentError(DejavuClientError, status=grpc.StatusCode.INVALID_ARGUMENT):
    """A request field is invalid; see `field_violations`."""


class NotFoundError(DejavuClientError, status=grpc.StatusCode.NOT_FOUND):
    """The requested resource does not exist."""


class FailedPreconditionError(DejavuClientError, status=grpc.StatusCode.FAILED_PRECONDITION):
    """The request is well-formed, but the model can't serve it, or the outcome is already known."""


class OutOfRangeError(DejavuClientError, status=grpc.StatusCode.OUT_OF_RANGE):
    """The resume token's position is no longer available; start a new stream without a token."""


class ResourceExhaustedError(DejavuClientError, status=grpc.StatusCode.RESOURCE_EXHAUSTED):
    """The server is overloaded, or a subscriber reads too slowly."""


class DeadlineExceededError(DejavuClientError, status=grpc.StatusCode.DEADLINE_EXCEEDED):
    """No answer came within the timeout."""


class UnavailableError(DejavuClientError, status=grpc.StatusCode.UNAVAILABLE):
    """The server can't be reached, or asks to retry later."""


class CallCancelledError(DejavuClientError, status=grpc.StatusCode.CANCELLED):
    """The server ended the call without an answer."""


class UnauthenticatedError(DejavuClientError, status=grpc.StatusCode.UNAUTHENTICATED):
    """The call has no credentials, or invalid ones."""


class PermissionDeniedError(DejavuClientError, status=grpc.StatusCode.PERMISSION_DENIED):
    """The credentials do not allow the call."""

    @property
    def scope(self) -> str:
        """The scope that the token lacks: read, predict, record, outcome or admin; empty if the server did not say."""
        return self.metadata.get("scope", "")


class UnimplementedError(DejavuClientError, status=grpc.StatusCode.UNIMPLEMENTED):
    """The server does not have the method."""


class InternalError(DejavuClientError):
    """An error in the server, or between it and the client."""


class ClientClosedError(DejavuClientError):
    """The client was closed."""


_UNREACHABLE: Final = ("connect to", "resolution", "resolving")
"""Texts in gRPC's messages about a connection that was never established."""

PUSHBACK_KEY = "grpc-retry-pushback-ms"
"""Metadata key with which a server says when to retry (gRFC A6); gRPC itself obeys it for the codes that it retries."""

PASSING = (CallCancelledError, DeadlineExceededError, ResourceExhaustedError, UnavailableError)
"""Transient errors: the same call may succeed later."""


def from_rpc_error(error: grpc.RpcError, target: str, timeout: float | None = None) -> DejavuClientError:
    """Convert a gRPC error to the client's exception.

    Args:
        error: error raised by a synchronous or asynchronous call.
        target: server address, for the message.
        timeout: deadline of the call, in seconds, for the message.
    """
    call = cast("grpc.Call", error)  # asynchronous errors have these methods too
    code = call.code()
    message = call.details() or code.name
    details = _details(call)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and timeout is not None:
        message = f"no answer from {target} within {timeout:g} s"
    elif code is grpc.StatusCode.UNAVAILABLE and not details.get("reason"):
        # Without a reason, the message comes from gRPC, not from the server: a socket error alone does not help the
        # user.
        unreachable = any(sign in message for sign in _UNREACHABLE)
        hint = _reach_hint(message, target) if unreachable else f"lost {target}"
        message = f"{hint} ({_cause(message)})"
    elif not details.get("reason") and (
        code is grpc.StatusCode.UNIMPLEMENTED or (code is grpc.StatusCode.NOT_FOUND and not call.details())
    ):
        # gRPC gives this answer if the peer is another program, or a release without the method or the service.
        message = f"{target} does not know this call: an older dejavu-server, or another program ({message})"
    trailing = call.trailing_metadata()
    request_id = metadata_value(trailing, "x-request-id")
    if "retry_after" not in details and (pushback := _pushback(metadata_value(trailing, PUSHBACK_KEY))) is not None:
        details["retry_after"] = pushback
    return EXCEPTIONS.get(code, InternalError)(message, code=code, request_id=request_id, **details)


def _reach_hint(message: str, target: str) -> str:
    """Describe the likely cause of a failure to connect."""
    if "WRONG_VERSION_NUMBER" in message:
        return f"cannot reach {target} by TLS: it answers in plain text"
    if "CERTIFICATE_VERIFY_FAILED" in message:
        return f"cannot trust {target}: no known authority signed its certificate for this name, or it has expired"
    if "Socket closed" in message or "reset by peer" in message:
        return f"{target} closed the connection: does it expect TLS, or a client certificate?"
    return f"cannot reach {target}: is a dejavu-server running there?"


def _cause(message: str) -> str:
    """Shorten gRPC's message about a failed connection to the last error, which names the cause."""
    _, found, last = message.rpartition("last error: ")
    cause = last.partition(": ")[2] if found else message  # without the code in front
    return cause.rpartition("Failed to connect to remote host: ")[2]


def from_predict_error(error: PredictError) -> DejavuClientError:
    """Convert the error of one request of a batch to the exception that a single call would have raised.

    Args:
        error: the error of the request.
    """
    code = next((code for code in grpc.StatusCode if code.value[0] == error.code), grpc.StatusCode.UNKNOWN)
    return EXCEPTIONS.get(code, InternalError)(
        error.message or code.name,
        code=code,
        reason=error.reason,
        field_violations=_violations(error.field_violations),
        retry_after=error.retry_delay_seconds if error.HasField("retry_delay_seconds") else None,
    )


def metadata_value(metadata: Iterable[tuple[str, str | bytes]] | None, key: str) -> str:
    """Return the first text value under a metadata key, or an empty string."""
    return next((value for name, value in metadata or () if name == key and isinstance(value, str)), "")


def _details(error: grpc.Call) -> dict[str, Any]:
    """Return the content of an error's google.rpc details, as arguments of `DejavuClientError`."""
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # the details contradict the status: use the status alone
        return {}
    found: dict[str, Any] = {}
    for detail in status.details if status is not None else ():
        info, bad_request, retry = ErrorInfo(), BadRequest(), RetryInfo()
        if detail.Unpack(info):
            found["reason"] = info.reason
            found["metadata"] = dict(info.metadata)
        elif detail.Unpack(bad_request):
            found["field_violations"] = (*found.get("field_violations", ()), *_violations(bad_request.field_violations))
        elif detail.Unpack(retry):
            found["retry_after"] = retry.retry_delay.ToNanoseconds() / 1e9
    return found


def _pushback(text: str) -> float | None:
    """Return the wait before a retry that a server requests, in seconds; None without one, or if it forbids retries."""
    return int(text) / 1e3 if text.isascii() and text.isdigit() and len(text) < len("2147483647") else None


def _violations(violations: Iterable[BadRequest.FieldViolation]) -> tuple[FieldViolation, ...]:
    return tuple(FieldViolation(each.field, each.description) for each in violations)
