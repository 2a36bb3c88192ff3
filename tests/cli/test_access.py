"""TLS and tokens on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
import typer
from tests.support.fakes.certificates import Authority, KeyPair
from tests.support.fakes.service import SECRET, Abort, FakeServer, heartbeat
from tests.support.harness.clients import Run

from dejavu_cli.main import COMMANDS, app

PATTERN = ("1", "2", "3")
ELSEWHERE = "forecasts.example.com:50051"


@pytest.fixture
def own(authority: Authority) -> KeyPair:
    return authority.issue("client")


@pytest.mark.parametrize("command", [("models",), ("predict", *PATTERN)])
def test_the_token_of_a_file_or_of_the_environment_is_sent(
    server: FakeServer, run: Run, token_file: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    assert run(*command, "--token-file", str(token_file)).exit_code == 0
    monkeypatch.setenv("DEJAVU_TOKEN", SECRET)
    assert run(*command).exit_code == 0
    monkeypatch.setenv("DEJAVU_TOKEN", "djv_another")
    monkeypatch.setenv("DEJAVU_TOKEN_FILE", str(token_file))
    assert run(*command).exit_code == 0
    assert {call.metadata["authorization"] for call in server.calls} == {f"Bearer {SECRET}"}
    server.calls.clear()
    monkeypatch.delenv("DEJAVU_TOKEN")
    monkeypatch.delenv("DEJAVU_TOKEN_FILE")
    run(*command)
    assert not [call for call in server.calls if "authorization" in call.metadata], "nothing is left of earlier runs"


def test_mutual_tls_by_options_and_by_the_environment(
    mutual: FakeServer, run: Run, authority: Authority, own: KeyPair, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutual.tokens = {SECRET: {"Predict"}}
    call = ("predict", *PATTERN, "--timeout", "20")
    files = {"CA": authority.certificate, "CERT": own.certificate, "KEY": own.key, "TOKEN_FILE": token_file}
    options = [f"--{name.lower().replace('_', '-')}={path}" for name, path in files.items()]
    assert run(*call, *options, target=mutual.target).exit_code == 0
    for name, path in files.items():
        monkeypatch.setenv(f"DEJAVU_{name}", str(path))
    assert run(*call, target=mutual.target).exit_code == 0


def test_refused_access_says_what_to_do_and_ends_like_every_refusal(
    server: FakeServer, run: Run, token_file: Path
) -> None:
    server.tokens = {SECRET: {"Predict"}}
    anonymous = run("predict", *PATTERN)
    assert anonymous.exit_code == 4
    assert "--token-file" in anonymous.stderr
    report = ("report", "0022300001", "4", "--horizon", "final", "--token-file", str(token_file))
    lacking = run(*report)
    assert lacking.exit_code == 4
    assert "needs scope outcome: ask the operator for a token with it" in lacking.stderr
    error = json.loads(run(*report, "--json").stderr)["error"]
    assert (error["code"], error["reason"]) == ("PERMISSION_DENIED", "SCOPE_MISSING")
    assert "scope outcome" in error["advice"]
    assert SECRET not in anonymous.output + lacking.output + str(error)


@pytest.mark.parametrize("option", ["--ca", "--token-file"])
def test_a_file_that_is_missing_or_of_another_kind_is_named_by_its_option(
    run: Run, tmp_path: Path, option: str
) -> None:
    (tmp_path / "empty").touch()
    for path, problem in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory"), (tmp_path / "empty", "")):
        ended = run("models", option, str(path))
        assert ended.exit_code == 2
        assert option in ended.stderr
        assert problem in ended.stderr


def test_a_token_goes_to_another_machine_only_encrypted_or_if_that_is_asked_for(
    run: Run, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ("models", "--timeout", "0.2")
    told = run(*call, "--token-file", str(token_file), target=ELSEWHERE)
    assert told.exit_code == 2
    assert "--tls" in told.stderr
    monkeypatch.setenv("DEJAVU_TOKEN", SECRET)
    told = run(*call, target=ELSEWHERE)
    assert told.exit_code == 2
    assert "DEJAVU_TOKEN" in told.stderr
    assert SECRET not in told.output
    assert run("poll", "--feed-url", "http://127.0.0.1:1", target=ELSEWHERE).exit_code == 2
    for allowed in ("--tls", "--allow-plaintext-token"):
        assert run(*call, allowed, target=ELSEWHERE).exit_code == 3


def test_a_stream_resumes_with_the_newest_token(server: FakeServer, run: Run, token_file: Path) -> None:
    server.tokens = {SECRET: {"StreamPredictions"}, "djv_next": {"StreamPredictions"}}

    def rotate(_: object) -> object:
        token_file.write_text("djv_next")
        return heartbeat("a")

    server.answers("StreamPredictions", [rotate, _lost()], [heartbeat("b"), _expired()])
    ended = run("stream", "--heartbeats", "--token-file", str(token_file))
    assert ended.exit_code == 4
    sent = [call.metadata["authorization"] for call in server.of("StreamPredictions")]
    assert sent == [f"Bearer {SECRET}", "Bearer djv_next"]


def _lost() -> Abort:
    return Abort(grpc.StatusCode.UNAVAILABLE, "restarting", "DRAINING", retry_after=0.01)


def _expired() -> Abort:
    return Abort(grpc.StatusCode.OUT_OF_RANGE)


def test_every_command_that_calls_a_server_takes_the_options_and_no_token() -> None:
    """Every user of the machine can read a token on a command line. The token of `stream` is only a position."""
    root: Any = typer.main.get_command(app)
    for name in sorted(COMMANDS.keys() - {"demo", "replay"}):
        command = root.get_command(None, name)
        commands = list(command.commands.values()) if hasattr(command, "commands") else [command]
        for each in commands:
            options = {option for parameter in each.params for option in parameter.opts}
            assert {"--tls", "--ca", "--cert", "--key", "--token-file"} <= options, each.name
            assert ("--token" in options) == (name == "stream"), each.name


def test_a_token_in_the_environment_that_is_none_is_refused_without_repeating_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEJAVU_TOKEN", "two words")
    told = run("models")
    assert told.exit_code == 2
    assert "DEJAVU_TOKEN" in told.stderr
    assert "words" not in told.output
