"""Maps domain errors to status codes, reasons and details of a google.rpc.Status.

The code is the `category` of the error, the reason its `reason`. Any other exception, and an error without category, is
INTERNAL without its text. Every status carries google.rpc.ErrorInfo, whose metadata give the outcome that stands
(OutcomeStands), the missing scope (ScopeMissing) or the name of the limit (CallerLimit). A status that names a field
has it as metadata and also carries google.rpc.BadRequest; a status whose cause may be temporary also carries
google.rpc.RetryInfo.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import grpc
import structlog
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_common.clock import rfc3339
from dejavu_ledger.errors import OutcomeStands
from dejavu_ledger.records import ReportedOutcome
from dejavu_models.errors import DejavuError, FieldError
from dejavu_server.access.caller import ScopeMissing
from dejavu_server.limits import CallerLimit

ERROR_DOMAIN = "dejavu"
"""Domain of every google.rpc.ErrorInfo that the server sends."""

MAX_TEXT = 256
"""Maximum length of a message or description, in bytes of UTF-8.

A status is sent in HTTP/2 trailers, which clients limit to 8 kB in total. The trailers contain the message twice:
percent-encoded, which triples non-ASCII text, and again in the Base64-encoded details, together with the description.
"""

RETRY_SECONDS = {grpc.StatusCode.UNAVAILABLE: 0.5, grpc.StatusCode.RESOURCE_EXHAUSTED: 1.0}
"""Codes of refusals that may be temporary, and seconds to wait before sending the same request again."""

PUSHBACK = "grpc-retry-pushback-ms"
"""Key of the trailing metadata with the milliseconds after which gRPC's own retries may try again."""

_log = structlog.get_logger(__name__)

INTERNAL = "INTERNAL"
"""Reason of errors without category."""


Trailers = tuple[tuple[str, str | bytes], ...]
"""Trailing metadata of a call."""


class Violation(NamedTuple):
    """An invalid field with a description of the error."""

    field: str
    description: str


class Failure(NamedTuple):
    """The code, reason, message and field violations sent to a caller."""

    code: grpc.StatusCode
    reason: str
    message: str
    violations: tuple[Violation, ...] = ()
    """Invalid fields; the reason belongs to the first. Empty if the error names no field."""
    metadata: tuple[tuple[str, str], ...] = ()
    """Further values for programs, sent as the metadata of google.rpc.ErrorInfo."""
    retry_seconds: float | None = None
    """Seconds to wait before the same request, a whole number of milliseconds; None if it would fail again."""


def describe(error: BaseException) -> Failure:
    """Describe an error that has a category; return INTERNAL without details for others."""
    if not isinstance(error, DejavuError) or error.category is None:
        return Failure(grpc.StatusCode.INTERNAL, INTERNAL, "internal error")
    code = grpc.StatusCode[error.category]
    faults = (error, *error.others) if isinstance(error, FieldError) else ()
    violations = tuple(Violation(fault.field, _short(fault.description)) for fault in faults)
    delay = RETRY_SECONDS.get(code)
    if isinstance(error, CallerLimit) and delay is not None:
        delay = max(1, math.ceil(error.retry_seconds * 1000)) / 1000
    return Failure(code, error.reason, _short(str(error)), violations, tuple(_metadata(error).items()), delay)


def status(failure: Failure) -> status_pb2.Status:
    """Convert a failure to google.rpc.Status with details."""
    answer = status_pb2.Status(code=status_number(failure.code), message=failure.message)
    metadata = dict(failure.metadata)
    if failure.violations:
        metadata["field"] = failure.violations[0].field
    info = error_details_pb2.ErrorInfo(reason=failure.reason, domain=ERROR_DOMAIN, metadata=metadata)
    answer.details.add().Pack(info)
    if failure.violations:
        bad = error_details_pb2.BadRequest()
        for field, description in failure.violations:
            bad.field_violations.add(field=field, description=description)
        answer.details.add().Pack(bad)
    if failure.retry_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(failure.retry_seconds * 1000))
        answer.details.add().Pack(retry)
    return answer


def trailers(failure: Failure) -> Trailers:
    """Return the trailing metadata of a failure: its details, and when gRPC's own retries may try again.

    UNAVAILABLE does not say when: clients retry it with a back-off of their own.
    """
    details: Trailers = rpc_status.to_status(status(failure)).trailing_metadata
    if failure.code is not grpc.StatusCode.RESOURCE_EXHAUSTED or failure.retry_seconds is None:
        return details
    return ((PUSHBACK, str(round(failure.retry_seconds * 1000))), *details)


def item_error(error: BaseException) -> pb.PredictError:
    """Return the error result of one request of many; log an error without category."""
    failure = describe(error)
    if failure.reason == INTERNAL:
        _log.error("batch_item_failed", exc_info=error)
    answer = pb.PredictError(
        code=status_number(failure.code),
        reason=failure.reason,
        message=failure.message,
        retry_delay_seconds=failure.retry_seconds,
    )
    for field, description in failure.violations:
        answer.field_violations.add(field=field, description=description)
    return answer


def status_number(code: grpc.StatusCode) -> int:
    """Return the google.rpc.Code of a gRPC status code, which has the same number."""
    number: int = code_pb2.Code.Value(code.name)
    return number


def _metadata(error: DejavuError) -> dict[str, str]:
    """Return the metadata of an error for programs, in addition to its reason."""
    match error:
        case OutcomeStands(outcome=ReportedOutcome() as outcome):
            return _outcome_metadata(outcome)
        case CallerLimit():
            return {"limit": error.limit}
        case ScopeMissing():
            return {"scope": error.scope}
    return {}


def _outcome_metadata(outcome: ReportedOutcome) -> dict[str, str]:
    """Return the fields of an outcome as texts: numbers in decimal, the time as RFC 3339, teams if reported."""
    teams = {"home_team": outcome.home_team, "away_team": outcome.away_team} if outcome.home_team else {}
    return {
        "differential": str(outcome.differential),
        "revision": str(outcome.revision),
        "sequence": str(outcome.sequence),
        "observed_time": rfc3339(outcome.observed_time, "microseconds"),
        **teams,
    }


def _short(text: str) -> str:
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= MAX_TEXT else data[: MAX_TEXT - 3].decode(errors="ignore") + "…"
