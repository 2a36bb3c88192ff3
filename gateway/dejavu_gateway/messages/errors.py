"""Errors with which the gateway answers requests that HTTP, the gateway or the server refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import grpc

from dejavu_client.errors import DejavuClientError, FieldViolation
from dejavu_gateway.messages.encode import JsonObject

REASONS: Final = {
    "ANSWER_TIMEOUT": (HTTPStatus.GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED"),
    "BODY_TOO_LARGE": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "INVALID_ARGUMENT"),
    "GATEWAY_ERROR": (HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL"),
    "INVALID_JSON": (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT"),
    "INVALID_REQUEST": (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT"),
    "INVALID_RESUME_TOKEN": (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT"),
    "METHOD_NOT_ALLOWED": (HTTPStatus.METHOD_NOT_ALLOWED, "UNIMPLEMENTED"),
    "NOT_RECORDED": (HTTPStatus.NOT_FOUND, "NOT_FOUND"),
    "NO_PARQUET": (HTTPStatus.NOT_IMPLEMENTED, "UNIMPLEMENTED"),
    "NO_PICTURE": (HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    "POSITION_UNKNOWN": (HTTPStatus.GONE, "OUT_OF_RANGE"),
    "RECORDING_NOT_ALLOWED": (HTTPStatus.FORBIDDEN, "PERMISSION_DENIED"),
    "SERVER_GONE": (HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    "TOO_MANY_FORECASTS": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "OUT_OF_RANGE"),
    "TOO_MANY_PARAMETERS": (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT"),
    "TOO_MANY_REQUESTS": (HTTPStatus.TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
    "TOO_MANY_STREAMS": (HTTPStatus.TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
    "UNKNOWN_HOST": (HTTPStatus.MISDIRECTED_REQUEST, "PERMISSION_DENIED"),
    "UNKNOWN_PATH": (HTTPStatus.NOT_FOUND, "NOT_FOUND"),
    "UNSUPPORTED_ENCODING": (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "INVALID_ARGUMENT"),
    "UNSUPPORTED_EXTENSION": (HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT"),
    "UNSUPPORTED_MEDIA_TYPE": (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "INVALID_ARGUMENT"),
    "WEB_BUILD_MISSING": (HTTPStatus.SERVICE_UNAVAILABLE, "UNAVAILABLE"),
}
"""Each reason for which the gateway itself refuses a request, with HTTP status and code (docs/calls.md)."""

STATUS_BY_CODE: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.CONFLICT,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.GONE,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.CANCELLED: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
"""HTTP status by status code of the server; BAD_GATEWAY for any other code. A refused token is the gateway's, not the
browser's: so UNAUTHENTICATED and PERMISSION_DENIED become neither 401, which would ask the browser for a password, nor
403."""

RETRY_STATUSES: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
DEFAULT_RETRY_SECONDS: Final = 1.0


@dataclass(eq=False)
class RequestRefused(Exception):
    """A request that is refused.

    Attributes:
        reason: a stable reason, for programs: one of REASONS, or the server's, which may be empty.
        message: description, for people.
        fields: the invalid fields.
        request_id: the server's id of the call; empty if it never reached the server.
        retry_after: seconds after which the same request may succeed; None if waiting does not help.
        headers: further headers of the answer.
        answer: HTTP status, and the name of the gRPC code; those of the reason by default.
    """

    reason: str
    message: str
    fields: tuple[FieldViolation, ...] = ()
    request_id: str = ""
    retry_after: float | None = None
    headers: dict[str, str] = field(default_factory=dict)
    answer: tuple[HTTPStatus, str] | None = None

    @property
    def status(self) -> HTTPStatus:
        """HTTP status."""
        return (self.answer or REASONS[self.reason])[0]

    @property
    def code(self) -> str:
        """Name of the status for programs: that of the gRPC code."""
        return (self.answer or REASONS[self.reason])[1]

    def as_json(self, request_id: str = "") -> JsonObject:
        """Return the body of the answer.

        Args:
            request_id: the gateway's id of the request, for requests that never reached the server.
        """
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "reason": self.reason,
                "fields": [{"field": each.field, "description": each.description} for each in self.fields],
                "requestId": self.request_id or request_id,
            }
        }


def of_server(error: DejavuClientError) -> RequestRefused:
    """Return the answer to a request that the server refused, or did not answer."""
    code = error.code or grpc.StatusCode.UNAVAILABLE
    status = STATUS_BY_CODE.get(code, HTTPStatus.BAD_GATEWAY)
    retry_after = error.retry_after
    if retry_after is None and status in RETRY_STATUSES:
        retry_after = DEFAULT_RETRY_SECONDS
    fields = tuple(FieldViolation(_json_name(each.field), each.description) for each in error.field_violations)
    reason, message = error.reason, error.message
    if code is grpc.StatusCode.UNAVAILABLE and not (error.request_id or reason):
        # The client's message has the server's address, which browsers must not see.
        reason, message = "SERVER_GONE", "the server cannot be reached; try again"
    return RequestRefused(reason, message, fields, error.request_id, retry_after, answer=(status, code.name))


def _json_name(path: str) -> str:
    """Return the path of a field in JSON: game_id becomes gameId."""
    return re.sub("_([a-z0-9])", lambda match: match[1].upper(), path)


def invalid(fields: Iterable[FieldViolation], reason: str = "INVALID_REQUEST") -> RequestRefused:
    """Return the answer to a request with invalid fields or parameters."""
    found = tuple(fields)
    message = "; ".join(f"{each.field}: {each.description}" for each in found[:3])
    if len(found) > 3:
        message += f"; and {len(found) - 3} more"
    return RequestRefused(reason, message, found)


def invalid_field(field: str, description: str, reason: str = "INVALID_REQUEST") -> RequestRefused:
    """Return the answer to a request with one invalid field or parameter."""
    return invalid([FieldViolation(field, description)], reason)


def too_many_requests(message: str) -> RequestRefused:
    """Return the answer to a request for which there is no room now."""
    return RequestRefused("TOO_MANY_REQUESTS", message, retry_after=DEFAULT_RETRY_SECONDS)
