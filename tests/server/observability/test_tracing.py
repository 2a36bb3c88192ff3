"""Traces of a real server, as a collector receives them."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.receiver import Receiver
from tests.support.processes.servers import spawned_server
from tests.support.programs.commands import python_m

from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub


class Collector(Receiver):
    """Keeps the spans that it receives."""

    @property
    def spans(self) -> list[Span]:
        found = []
        for post in [*self.posts]:
            body = gzip.decompress(post.body) if post.headers.get("content-encoding") == "gzip" else post.body
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                assert attributes_of(resource.resource)["service.name"] in {"dejavu", "dejavu-server"}
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return found

    def named(self, name: str, count: int) -> list[Span]:
        """Wait until `count` spans of a name have arrived; return all spans of that name."""
        found, posts = list[Span](), 0
        while len(found) < count:
            posts += 1
            self.wait_for(posts)
            found = [span for span in self.spans if span.name == name]
        return found


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
        with (
            spawned_server(
                "--workers", "1", "--ledger", ledger, "--log-level", "debug", environment=environment
            ) as server,
            grpc.insecure_channel(server.address) as channel,
        ):
            stub = PredictionServiceStub(channel)
            stub.Predict(PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME), metadata=METADATA)
            with pytest.raises(grpc.RpcError):
                stub.Predict(PredictRequest(), metadata=METADATA)
            calls = collector.named(PREDICT, 2)
            logged = server.wait_for("call")
    assert (logged["trace_id"], logged["request_id"]) == (TRACE, "request-7")
    assert [(span.trace_id.hex(), span.parent_span_id.hex()) for span in calls] == [(TRACE, PARENT)] * 2
    attributes = [attributes_of(span) for span in calls]
    assert [each["dejavu.request_id"] for each in attributes] == ["request-7"] * 2
    assert [each["rpc.grpc.status_code"] for each in attributes] == [0, 3]
    parts = {span.name: span.parent_span_id for span in collector.spans if span.name != PREDICT}
    assert parts == {"forecast": calls[0].span_id, "ledger.commit": calls[0].span_id}


@pytest.mark.nightly
def test_a_command_and_the_server_share_a_trace(tmp_path: Path) -> None:
    with Collector() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        ledger = f"sqlite:///{tmp_path}/l.db"
        with spawned_server("--workers", "1", "--ledger", ledger, environment=environment) as server:
            pattern = ",".join(map(str, PATTERN))
            command = [*python_m("dejavu_cli"), "predict", pattern, "--target", server.address]
            subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, timeout=60)
            [called] = collector.named("call Predict", 1)
            [answered] = collector.named(PREDICT, 1)
    assert (answered.trace_id, answered.parent_span_id) == (called.trace_id, called.span_id)


def test_a_collector_that_is_gone_fails_no_call(tmp_path: Path) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    ledger = f"sqlite:///{tmp_path}/l.db"
    with (
        spawned_server("--workers", "1", "--ledger", ledger, environment=environment) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        for _ in range(3):
            PredictionServiceStub(channel).Predict(PredictRequest(pattern=PATTERN), timeout=10)
