"""A collector of OpenTelemetry spans for tests: receives them over HTTP as a real one does."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class ReceivedSpan(NamedTuple):
    """A span as it was sent.

    Attributes:
        service: the program that sent it.
        name: its name.
        trace, span, parent: ids in hexadecimal; `parent` is empty for the first span of a trace.
        attributes: its attributes.
    """

    service: str
    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]


class Collector:
    """Keeps the spans that it receives.

    Attributes:
        endpoint: value of OTEL_EXPORTER_OTLP_ENDPOINT.
        spans: the spans so far.
    """

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.spans: list[ReceivedSpan] = []
        self._more = threading.Condition()

    def add(self, body: bytes) -> None:
        """Add the spans of a request."""
        with self._more:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                named = {each.key: each.value.string_value for each in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        attributes = {
                            each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
                            for each in span.attributes
                        }
                        ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                        self.spans.append(ReceivedSpan(named["service.name"], span.name, *ids, attributes))
            self._more.notify_all()

    def wait_for(self, name: str, count: int = 1) -> list[ReceivedSpan]:
        """Wait until `count` spans of a name have arrived; return all spans of that name.

        Raises:
            TimeoutError: if they do not arrive.
        """
        with self._more:
            if not self._more.wait_for(lambda: sum(span.name == name for span in self.spans) >= count, 30):
                raise TimeoutError(f"no {count} spans {name!r} in {[span.name for span in self.spans]}")
            return [span for span in self.spans if span.name == name]


@contextmanager
def otlp_collector() -> Iterator[Collector]:
    """Run a collector."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.add(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, name="collector")
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
