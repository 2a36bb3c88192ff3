"""The streams of the examples in TypeScript, Go and C++ follow the rules of docs/clients.md on scripted failures."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from tests.support.fakes.service import Abort, Ended, FakeServer, Silence, event, heartbeat, result
from tests.support.programs import examples

from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse

Code = grpc.StatusCode

COMPILED = [pytest.param(each, marks=pytest.mark.nightly) for each in ("go", "cpp")]
in_each = pytest.mark.parametrize("stream_program", ["node", *COMPILED], indirect=True)
in_each_nightly = pytest.mark.parametrize(
    "stream_program", [pytest.param("node", marks=pytest.mark.nightly), *COMPILED], indirect=True
)
in_go_and_cpp = pytest.mark.parametrize("stream_program", COMPILED, indirect=True)


def named(end: object) -> str:
    """Return the name of a test's case."""
    return f"{end.code.name} {end.reason or end.message}" if isinstance(end, Abort) else "OK"


OF_A_LATER_RELEASE = StreamPredictionsResponse(resume_token="after-9")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@contextmanager
def started(program: Sequence[str | Path], server: FakeServer, *args: str | Path) -> Iterator[subprocess.Popen[str]]:
    with examples.started(*program, *args, address=server.target, seconds=120) as process:
        yield process


def read(process: subprocess.Popen[str], count: int) -> list[int]:
    """Return the sequences of the next events."""
    assert process.stdout is not None
    return [int(json.loads(process.stdout.readline())["sequence"]) for _ in range(count)]


def tokens(server: FakeServer) -> list[str]:
    return [call.request.resume_token for call in server.of("StreamPredictions")]


@in_each
@pytest.mark.parametrize(
    "end",
    [
        Abort(Code.UNAVAILABLE, reason="DRAINING"),
        Abort(Code.CANCELLED),
        Abort(Code.DEADLINE_EXCEEDED),
        Abort(Code.RESOURCE_EXHAUSTED, reason="SUBSCRIBER_TOO_SLOW"),
        Abort(Code.RESOURCE_EXHAUSTED, reason="CALLER_LIMIT", retry_after=0.5),
        Abort(Code.INTERNAL, "Received RST_STREAM with code 2"),
        Abort(Code.UNKNOWN, "Stream removed"),
        Ended(),
    ],
    ids=named,
)
def test_it_resumes_with_its_token_and_prints_nothing_twice(
    stream_program: Sequence[str | Path], server: FakeServer, end: object
) -> None:
    script = [heartbeat("now"), event(1), result(2), end]
    server.answers("StreamPredictions", script, [event(2), OF_A_LATER_RELEASE, end], [event(3), Silence()])
    with started(stream_program, server) as process:
        assert read(process, 3) == [1, 2, 3]
    assert tokens(server) == ["", "after-2", "after-9"]


@in_each
@pytest.mark.parametrize(
    "end",
    [
        Abort(Code.INVALID_ARGUMENT, reason="INVALID_GAME_IDS"),
        Abort(Code.UNAUTHENTICATED, reason="UNAUTHENTICATED"),
        Abort(Code.RESOURCE_EXHAUSTED, "a message larger than allowed"),
        Abort(Code.RESOURCE_EXHAUSTED, reason="CALLER_LIMIT", retry_after=61.0),
        Abort(Code.INTERNAL, reason="STREAM_FAILED"),
    ],
    ids=named,
)
def test_it_ends_where_another_connection_would_not_help(
    stream_program: Sequence[str | Path], server: FakeServer, end: Abort
) -> None:
    server.answers("StreamPredictions", [heartbeat("now"), event(1), end])
    with started(stream_program, server) as process:
        output, log = process.communicate()
    assert (process.returncode, output.count("\n"), len(server.of("StreamPredictions"))) == (1, 1, 1)
    assert end.message in log


@in_each
def test_it_gives_up_a_server_that_is_not_there(stream_program: Sequence[str | Path], server: FakeServer) -> None:
    server.stop()
    with started(stream_program, server) as process:
        output, log = process.communicate()
    assert (process.returncode, output, log.count("lost the stream")) == (1, "", 2)


@in_each
def test_it_waits_as_long_as_it_is_told(stream_program: Sequence[str | Path], server: FakeServer) -> None:
    server.answers("StreamPredictions", [Abort(Code.UNAVAILABLE, reason="DRAINING", retry_after=1.5)], [event(1)])
    with started(stream_program, server) as process:
        assert read(process, 1) == [1]
        process.kill()
        _, log = process.communicate()
    assert "retrying in 1.5" in log


@in_go_and_cpp
@pytest.mark.parametrize(
    "refused",
    [
        Abort(Code.OUT_OF_RANGE, reason="RESUME_TOKEN_EXPIRED"),
        Abort(Code.INVALID_ARGUMENT, reason="INVALID_RESUME_TOKEN"),
    ],
    ids=named,
)
def test_it_starts_again_where_the_ledger_does_not_know_the_token(
    stream_program: Sequence[str | Path], server: FakeServer, refused: Abort
) -> None:
    script = [heartbeat("now"), event(7), Ended()]
    server.answers("StreamPredictions", script, [refused], [event(1), Silence()])
    with started(stream_program, server) as process:
        assert read(process, 2) == [7, 1]  # a restored ledger counts from a lower sequence
        process.kill()
        _, log = process.communicate()
    assert tokens(server) == ["", "after-7", ""]
    assert "starting without the token: events may be missing" in log


@in_go_and_cpp
def test_it_resumes_after_a_restart_with_the_token_of_its_file(
    stream_program: Sequence[str | Path], server: FakeServer, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    server.answers("StreamPredictions", [heartbeat("now"), event(1), event(2), Silence()], [event(3), Silence()])
    with started(stream_program, server, file) as process:
        assert read(process, 2) == [1, 2]
        while file.read_text() != "after-2":
            assert process.poll() is None
    with started(stream_program, server, file) as process:
        assert read(process, 1) == [3]
    assert tokens(server) == ["", "after-2"]


@in_each_nightly
def test_a_stream_without_a_message_for_a_minute_is_dead(
    stream_program: Sequence[str | Path], server: FakeServer
) -> None:
    server.answers("StreamPredictions", [heartbeat("now"), Silence()], [event(1), Silence()])
    with started(stream_program, server) as process:
        assert read(process, 1) == [1]
    first, second = server.of("StreamPredictions")
    assert first.gone.wait(10)
    assert second.request.resume_token == "now"
