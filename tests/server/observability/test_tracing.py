"""Traces of a real server, as a collector receives them."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.receiver import Post, Receiver
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


class Collector(Receiver):
    """Keeps the spans that it receives."""

    @property
    def spans(self) -> list[ReceivedSpan]:
        return [span for post in [*self.posts] for span in spans_of(post)]

    def named(self, name: str, count: int = 1) -> list[ReceivedSpan]:
        """Wait until `count` spans of a name have arrived; return all spans of that name."""
        found, posts = list[ReceivedSpan](), 0
        while len(found) < count:
            posts += 1
            self.wait_for(posts)
            found = [span for span in self.spans if span.name == name]
        return found


def spans_of(post: Post) -> Iterator[ReceivedSpan]:
    body = gzip.decompress(post.body) if post.headers.get("content-encoding") == "gzip" else post.body
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = attributes_of(resource.resource)["service.name"]
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
            yield ReceivedSpan(service, span.name, *ids, attributes_of(span))


def attributes_of(described: Any) -> dict[str, Any]:
    """Return the attributes of a span or a resource."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in described.attributes}


PREDICT = "dejavu.v1.PredictionService/Predict"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
METADATA = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "request-7"))


def test_a_named_call_has_a_span_below_its_caller_s_and_spans_of_its_parts(tmp_path: Path) -> None:
    with Collector() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
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
            calls = collector.named(PREDICT, 2)
            [stream_span] = collector.named("dejavu.v1.PredictionService/StreamPredictions")
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
    with Collector() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        ledger = f"sqlite:///{tmp_path}/l.db"
        with spawned_server("--workers", "1", "--ledger", ledger, environment=environment) as server:
            pattern = ",".join(map(str, PATTERN))
            command = [*python_m("dejavu_cli"), "predict", pattern, "--target", server.address]
            subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, timeout=60)
            [called] = collector.named("call Predict")
            [answered] = collector.named(PREDICT)
    assert (called.service, answered.service) == ("dejavu", "dejavu-server")
    assert (answered.trace, answered.parent) == (called.trace, called.span)
