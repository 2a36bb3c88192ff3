"""Runs the Node example with TLS and tokens."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import grpc
from tests.support.fakes.access import SECRET
from tests.support.fakes.certificates import Authority
from tests.support.fakes.service import Abort, FakeServer, event, heartbeat
from tests.support.programs import examples
from tests.support.programs.examples import NODE_PROGRAMS

ALL = {"Predict", "PredictBatch", "StreamPredictions", "ListModels"}


def run(node: str, target: str, program: str, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    return examples.run(node, NODE_PROGRAMS / f"{program}.js", "--json", *args, address=target, seconds=100.0, **more)


def test_mutual_tls_and_a_token_by_the_environment(
    node: str, mutual: FakeServer, authority: Authority, token_file: Path
) -> None:
    mutual.tokens = {SECRET: ALL}
    own = authority.issue("client")
    files = {"DEJAVU_CA": str(authority.certificate), "DEJAVU_TOKEN_FILE": str(token_file)}
    done = run(node, mutual.target, "predict", **files, DEJAVU_CERT=str(own.certificate), DEJAVU_KEY=str(own.key))
    assert done.returncode == 0, done.stderr
    assert run(node, mutual.target, "predict", **files, DEJAVU_TIMEOUT="5").returncode == 1, "it has no certificate"


def test_a_token_is_not_sent_in_plain_text_to_another_machine(node: str) -> None:
    done = run(node, "forecasts.example.com:50051", "predict", DEJAVU_TOKEN=SECRET)
    assert done.returncode == 1
    assert "plain text" in done.stderr
    assert SECRET not in done.stderr


def test_refused_access_is_reported_by_code_and_reason(node: str) -> None:
    with FakeServer() as server:
        server.tokens = {SECRET: {"Predict"}}
        done = run(node, server.target, "predict", DEJAVU_TOKEN="djv_another")
        assert done.stderr.startswith("UNAUTHENTICATED: UNAUTHENTICATED:")
        done = run(node, server.target, "batch", DEJAVU_TOKEN=SECRET)
        assert done.stderr.startswith("PERMISSION_DENIED: SCOPE_MISSING:")


def test_a_stream_follows_a_rotated_token_and_keeps_the_pause_of_an_overloaded_server(
    node: str, token_file: Path
) -> None:
    with FakeServer() as server:
        server.tokens = {SECRET: ALL, "djv_next": ALL}

        def rotate(_: object) -> object:
            token_file.write_text("djv_next\n")
            return heartbeat("a")

        overloaded = Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "later", "OVERLOADED", retry_after=0.6)
        server.answers("StreamPredictions", [rotate, overloaded], [event(1)])
        done = run(node, server.target, "stream", "--count", "1", DEJAVU_TOKEN_FILE=str(token_file))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["sequence"] == "1"
        sent = [call.metadata["authorization"] for call in server.of("StreamPredictions")]
    assert sent == [f"Bearer {SECRET}", "Bearer djv_next"]
