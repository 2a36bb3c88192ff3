"""Runs the Node example on scripted servers: retries, reported errors, silence, another server, TLS and tokens."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.support.fakes.certificates import Authority
from tests.support.fakes.service import SECRET, Abort, Ended, FakeServer, Silence, event, heartbeat, result
from tests.support.programs import examples
from tests.support.programs.examples import NODE_PROGRAMS

from dejavu.v1.forecast_pb2 import LATE_REASON_TIME

Code = grpc.StatusCode


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


def run(node: str, target: str, program: str, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    return examples.run(node, NODE_PROGRAMS / f"{program}.js", "--json", *args, address=target, seconds=100.0, **more)


def sequences(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [json.loads(line)["sequence"] for line in done.stdout.splitlines()]


def test_a_call_is_tried_three_times_on_the_documented_codes_within_one_deadline(node: str, server: FakeServer) -> None:
    server.answers("Predict", Abort(Code.UNAVAILABLE, reason="DRAINING"), Abort(Code.CANCELLED))
    done = run(node, server.target, "predict")
    assert done.returncode == 0, done.stderr
    first, _, last = [call.time_remaining or 0.0 for call in server.of("Predict")]
    assert 20.0 >= first > last > 0.0


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(Abort(Code.RESOURCE_EXHAUSTED, reason="OVERLOADED"), marks=pytest.mark.nightly),
        Abort(Code.FAILED_PRECONDITION, reason="UNSUPPORTED_HORIZON", violations=[("horizon", "HORIZON_FINAL")]),
    ],
)
def test_nothing_else_is_tried_again(node: str, server: FakeServer, refused: Abort) -> None:
    server.answers("Predict", refused)
    done = run(node, server.target, "predict")
    assert done.returncode == 1
    summary, *fields = done.stderr.splitlines()
    assert summary == f"{refused.code.name}: {refused.reason}: {refused.message}"
    assert fields == [f"  {field}: {description}" for field, description in refused.violations]
    assert len(server.of("Predict")) == 1


def test_an_outcome_that_is_withdrawn_is_not_shown_and_a_late_forecast_is_marked(node: str, server: FakeServer) -> None:
    taken_back, late = result(2, differential=-4, withdrawn=True), event(3)
    late.forecast.late = LATE_REASON_TIME
    server.answers("StreamPredictions", [heartbeat("now"), result(1, differential=-4), taken_back, late, Silence()])
    done = examples.run(node, NODE_PROGRAMS / "stream.js", "--count", "3", address=server.target)
    first, second, third = done.stdout.splitlines()
    assert first.endswith("outcome −4.0 at the half")
    assert second.endswith("outcome withdrawn at the half")
    assert third.endswith("at the half (late: not the current forecast)")


def test_calls_and_streams_go_on_with_another_server(node: str, server: FakeServer) -> None:
    with FakeServer() as other, FakeServer() as gone:
        targets = ",".join((gone.target, server.target, other.target))
        gone.stop()
        for each in (server, other):  # whichever is asked first ends after one event
            each.answers("StreamPredictions", [heartbeat("start"), event(1), Ended()], [event(2)])
        done = examples.run(node, NODE_PROGRAMS / "stream.js", "--json", "--count", "2", address=targets)
        assert done.returncode == 0, done.stderr
        streams = server.of("StreamPredictions") + other.of("StreamPredictions")
        assert "after-1" in {call.request.resume_token for call in streams}
        done = examples.run(node, NODE_PROGRAMS / "predict.js", "--json", address=targets)
        assert done.returncode == 0, done.stderr


ALL = {"Predict", "PredictBatch", "StreamPredictions", "ListModels"}


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


def test_a_stream_follows_a_rotated_token_and_keeps_the_pause_of_an_overloaded_server(
    node: str, token_file: Path, server: FakeServer
) -> None:
    server.tokens = {SECRET: ALL, "djv_next": ALL}

    def rotate(_: object) -> object:
        token_file.write_text("djv_next\n")
        return heartbeat("a")

    overloaded = Abort(Code.RESOURCE_EXHAUSTED, "later", "OVERLOADED", retry_after=0.6)
    server.answers("StreamPredictions", [rotate, overloaded], [event(1)])
    done = run(node, server.target, "stream", "--count", "1", DEJAVU_TOKEN_FILE=str(token_file))
    assert (done.returncode, sequences(done)) == (0, ["1"]), done.stderr
    sent = [call.metadata["authorization"] for call in server.of("StreamPredictions")]
    assert sent == [f"Bearer {SECRET}", "Bearer djv_next"]
