"""The span of every call, if tracing is on: method, request id, caller and how the call ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import structlog

from dejavu_common import tracing
from dejavu_server.api.admissions import Arrival
from dejavu_server.api.handlers import Context

Behaviour = Callable[..., Any]


def traced(method: str, behaviour: Behaviour) -> Behaviour:
    """Wrap the behaviour of a method in a span below that of its caller; return it unchanged if tracing is off.

    The span and every log line of the call have the same request id and trace id.
    """
    if not tracing.active():
        return behaviour

    async def call(arrival: Arrival, request: Any, context: Context) -> Any:
        with tracing.server_span(method, context.invocation_metadata() or ()) as span:
            span.set_attribute("dejavu.request_id", arrival.caller.request_id)
            structlog.contextvars.bind_contextvars(trace_id=tracing.trace_id())
            try:
                return await behaviour(arrival, request, context)
            finally:
                if caller := arrival.caller.identity:
                    span.set_attribute("enduser.id", caller)
                span.set_attribute("rpc.grpc.status_code", _number(context.code()))

    return call


def _number(code: Any) -> int:
    """Return the number of a status code; 0, OK, if none was set."""
    value = code.value[0] if isinstance(code, grpc.StatusCode) else code
    return int(value or 0)
