"""Distributed tracing with OpenTelemetry for all programs: off, and without its libraries, unless an endpoint is set.

`configure` reads OpenTelemetry's variables: OTEL_EXPORTER_OTLP_ENDPOINT switches tracing on, OTEL_TRACES_SAMPLER
selects traces, and so on (opentelemetry.io/docs/specs/otel/configuration). Spans are made here, because
opentelemetry-instrumentation-grpc breaks handlers that write to their context, and is slower than our interceptor.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

TRACE_HEADERS: Final = ("traceparent", "tracestate")
"""Metadata of a call that name the span of its caller (w3.org/TR/trace-context)."""

CallMetadata = tuple[tuple[str, str | bytes], ...]
"""Key–value pairs sent with a call."""

_NOTHING: Final = nullcontext()

_provider: TracerProvider | None = None
_tracer: Tracer | None = None


def requested() -> bool:
    """Return whether the environment names an endpoint, and does not switch OpenTelemetry off."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not off and any(os.environ.get(name) for name in ENDPOINT_VARIABLES)


def configure(service: str, version: str) -> bool:
    """Switch tracing on for this process, if an endpoint is set; call it once, before the first span.

    Args:
        service: name of the program in traces; OTEL_SERVICE_NAME replaces it.
        version: its version.

    Returns:
        Whether tracing is on.

    Raises:
        ModuleNotFoundError: if an endpoint is set and OpenTelemetry is not installed (extra `tracing`).
    """
    global _provider, _tracer  # noqa: PLW0603 - one for the process, as in OpenTelemetry
    if _tracer is not None or not requested():
        return _tracer is not None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    name = os.environ.get("OTEL_SERVICE_NAME") or service
    _provider = TracerProvider(resource=Resource.create({"service.name": name, "service.version": version}))
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("dejavu", version)
    return True


def shutdown() -> None:
    """Send the waiting spans, and switch tracing off."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        provider.shutdown()


def active() -> bool:
    """Return whether tracing is on."""
    return _tracer is not None


def span(name: str, **attributes: str | int | float | bool) -> AbstractContextManager[object]:
    """Return a span of work within this process, below the current one; an empty context if tracing is off."""
    return _NOTHING if _tracer is None else _tracer.start_as_current_span(name, attributes=attributes)


def client_span(method: str) -> AbstractContextManager[object]:
    """Return a span, named after the method, of a call that this process makes; an empty context if tracing is off."""
    if _tracer is None:
        return _NOTHING
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - optional

    return _tracer.start_as_current_span(
        f"call {method}", kind=SpanKind.CLIENT, attributes={"rpc.system": "grpc", "rpc.method": method}
    )


@contextlib.contextmanager
def server_span(method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Iterator[Span]:
    """Yield the span of a call that this process answers, below that of its caller; tracing must be on.

    Args:
        method: path of the method, /package.Service/Method.
        metadata: metadata of the call, which name the span of the caller.

    Raises:
        RuntimeError: if tracing is off.
    """
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - optional
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    if _tracer is None:
        raise RuntimeError("tracing is off")
    carrier = {key: value for key, value in metadata if key in TRACE_HEADERS and isinstance(value, str)}
    parent = TraceContextTextMapPropagator().extract(carrier) if carrier else None
    service, _, name = method.strip("/").rpartition("/")
    with _tracer.start_as_current_span(
        f"{service}/{name}",
        context=parent,
        kind=SpanKind.SERVER,
        attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
        record_exception=False,  # an attribute says how a call ended; errors of callers are not errors of the program
        set_status_on_exception=False,
    ) as current:
        yield current


def with_trace(metadata: Callable[[], CallMetadata]) -> Callable[[], CallMetadata]:
    """Return a function that returns the metadata of a call with the current span added, for the server.

    Args:
        metadata: returns the other metadata of the call.
    """

    def added() -> CallMetadata:
        if _tracer is None:
            return metadata()
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - optional
            TraceContextTextMapPropagator,
        )

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return (*metadata(), *carrier.items())

    return added


def trace_id() -> str:
    """Return the id of the current trace, 32 hexadecimal digits; empty if there is none."""
    if _tracer is None:
        return ""
    from opentelemetry.trace import get_current_span  # noqa: PLC0415 - optional

    number = get_current_span().get_span_context().trace_id
    return f"{number:032x}" if number else ""
