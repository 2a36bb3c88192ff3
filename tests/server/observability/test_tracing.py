"""Traces of a real server, as a collector receives them."""

from __future__ import annotations

import gzip
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.servers import spawned_server
from tests.support.programs.commands import python_m

from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2 import PredictRequest, StreamPredictionsRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_common import tracing


class ReceivedSpan(NamedTuple):
    """A span as it was sent: the program, its name, its ids in hexadecimal, no parent for the first, its attributes."""

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
                service = attributes_of(resource.resource)["service.name"]
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                    self.spans.append(ReceivedSpan(service, span.name, *ids, attributes_of(span)))
            self._more.notify_all()

    def wait_for(self, name: str, count: int = 1) -> list[ReceivedSpan]:
        """Wait until `count` spans of a name have arrived; return all spans of that name."""

        def found() -> list[ReceivedSpan]:
            return [span for span in self.spans if span.name == name]

        with self._more:
            assert self._more.wait_for(lambda: len(found()) >= count, 30), [span.name for span in self.spans]
            return found()


def attributes_of(described: Any) -> dict[str, Any]:
    """Return the attributes of a span or a resource."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in described.attributes}


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


PREDICT = "dejavu.v1.PredictionService/Predict"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
METADATA = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "request-7"))


def test_a_named_call_has_a_span_below_its_caller_s_and_spans_of_its_parts(tmp_path: Path) -> None:
    with otlp_collector() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        ledger = f"sqlite:///{tmp_path}/l.db"
        arguments = ("--workers", "1", "--ledger", ledger, "--log-level", "debug")
        with spawned_server(*arguments, environment=environment) as server:
            with grpc.insecure_channel(server.address) as channel:
                stub = PredictionServiceStub(channel)
                stub.Predict(PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME), metadata=METADATA)
                with pytest.raises(grpc.RpcError):
                    stub.Predict(PredictRequest(), metadata=METADATA)
                stream = stub.StreamPredictions(StreamPredictionsRequest())
                next(stream)
                stream.cancel()
            calls = collector.wait_for(PREDICT, 2)
            [stream_span] = collector.wait_for("dejavu.v1.PredictionService/StreamPredictions")
            logged = server.wait_for("call")
    assert {span.service for span in collector.spans} == {"dejavu-server"}
    assert [(span.trace, span.parent) for span in calls] == [(TRACE, PARENT)] * 2
    assert [span.attributes["dejavu.request_id"] for span in calls] == ["request-7"] * 2
    assert [span.attributes["rpc.grpc.status_code"] for span in calls] == [0, 3]
    assert (logged["trace_id"], logged["request_id"]) == (TRACE, "request-7")
    parts = {span.name: span.parent for span in collector.spans if span.trace == TRACE and span not in calls}
    assert parts == {"forecast": calls[0].span, "ledger.commit": calls[0].span}
    assert stream_span.parent == ""


def test_without_an_endpoint_nothing_is_loaded_and_a_span_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tracing.ENDPOINT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert not tracing.configure("test", "1")
    assert not tracing.active()
    assert tracing.span("one") is tracing.span("two", games=3)
    assert tracing.with_trace(lambda: (("a", "b"),))() == (("a", "b"),)
    assert tracing.trace_id() == ""


def test_a_collector_that_is_gone_fails_no_call(tmp_path: Path) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    ledger = f"sqlite:///{tmp_path}/l.db"
    with (
        spawned_server("--workers", "1", "--ledger", ledger, environment=environment) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        for _ in range(3):
            PredictionServiceStub(channel).Predict(PredictRequest(pattern=PATTERN), timeout=10)


@pytest.mark.nightly
def test_a_command_and_the_server_share_a_trace(tmp_path: Path) -> None:
    with otlp_collector() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        ledger = f"sqlite:///{tmp_path}/l.db"
        with spawned_server("--workers", "1", "--ledger", ledger, environment=environment) as server:
            pattern = ",".join(map(str, PATTERN))
            command = [*python_m("dejavu_cli"), "predict", pattern, "--target", server.address]
            subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, timeout=60)
            [called] = collector.wait_for("call Predict")
            [answered] = collector.wait_for(PREDICT)
    assert (called.service, answered.service) == ("dejavu", "dejavu-server")
    assert (answered.trace, answered.parent) == (called.trace, called.span)
