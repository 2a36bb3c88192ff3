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
        status: HTTP status.
        code: name of the status for programs: the name of the gRPC code if there is one.
        message: description, for people.
        reason: a stable reason, for programs; empty if there is none.
        fields: the invalid fields.
        request_id: the server's id of the call; empty if it never reached the server.
        retry_after: seconds after which the same request may succeed; None if waiting does not help.
        headers: further headers of the answer.
    """

    status: HTTPStatus
    code: str
    message: str
    reason: str = ""
    fields: tuple[FieldViolation, ...] = ()
    request_id: str = ""
    retry_after: float | None = None
    headers: dict[str, str] = field(default_factory=dict)

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
    # The client's message about an unreachable server contains the server's address, which browsers must not see.
    unreached = code is grpc.StatusCode.UNAVAILABLE and not (error.request_id or error.reason)
    message = "the server cannot be reached; try again" if unreached else error.message
    return RequestRefused(status, code.name, message, error.reason, fields, error.request_id, retry_after)


def _json_name(path: str) -> str:
    """Return the path of a field in JSON: game_id becomes gameId."""
    return re.sub("_([a-z0-9])", lambda match: match[1].upper(), path)


def invalid(fields: Iterable[FieldViolation], reason: str = "INVALID_REQUEST") -> RequestRefused:
    """Return the answer to a request with invalid fields or parameters."""
    found = tuple(fields)
    message = "; ".join(f"{each.field}: {each.description}" for each in found[:3])
    if len(found) > 3:
        message += f"; and {len(found) - 3} more"
    return RequestRefused(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", message, reason, found)


def invalid_field(field: str, description: str, reason: str = "INVALID_REQUEST") -> RequestRefused:
    """Return the answer to a request with one invalid field or parameter."""
    return invalid([FieldViolation(field, description)], reason)


def too_many_requests(message: str) -> RequestRefused:
    """Return the answer to a request for which there is no room now."""
    code, reason = HTTPStatus.TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS"
    return RequestRefused(code, "RESOURCE_EXHAUSTED", message, reason, retry_after=DEFAULT_RETRY_SECONDS)


def not_found(message: str) -> RequestRefused:
    """Return the answer to a request for something that does not exist, such as a file or a game."""
    return RequestRefused(HTTPStatus.NOT_FOUND, "NOT_FOUND", message)
