"""Commands that change models, against a fake server: their requests, output and refusals."""

from __future__ import annotations

import json

import grpc
import pytest
from google.protobuf.message import Message
from tests.support.fakes.service import Abort, FakeServer
from tests.support.harness.clients import Output, Run

from dejavu.v1 import model_change_pb2 as change_pb
from dejavu.v1 import model_service_pb2 as pb

VERSION, CHAMPION = "b" * 16, "a" * 16


def change(action: change_pb.ModelAction.ValueType, **fields: object) -> change_pb.ModelChange:
    return change_pb.ModelChange(action=action, model_version=VERSION, sequence=7, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("command", "method", "answer", "says"),
    [
        ("load", "LoadModel", pb.LoadModelResponse(change=change(change_pb.MODEL_ACTION_LOAD)), "staged"),
        ("unload", "UnloadModel", pb.UnloadModelResponse(change=change(change_pb.MODEL_ACTION_UNLOAD)), "unloaded"),
        ("promote", "PromoteModel", pb.PromoteModelResponse(change=change(change_pb.MODEL_ACTION_PROMOTE)), "promoted"),
        ("retire", "RetireModel", pb.RetireModelResponse(change=change(change_pb.MODEL_ACTION_RETIRE)), "retired"),
    ],
)
def test_a_change_is_asked_for_and_told(
    server: FakeServer, run: Run, command: str, method: str, answer: Message, says: str
) -> None:
    server.answers(method, answer)
    shown = run("models", command, VERSION, "--reason", "new season")
    assert (shown.exit_code, shown.stdout) == (0, f"{says} {VERSION} (sequence 7)\n")
    request = server.calls[-1].request
    assert (request.model_version, request.reason) == (VERSION, "new season")
    again = run("models", command, VERSION)
    assert again.stdout == "no change: already in this state\n"


def test_an_alias_is_looked_up_once_so_that_a_repeated_request_means_the_same_model(
    server: FakeServer, run: Run
) -> None:
    server.answers("GetModel", pb.GetModelResponse(model=pb.Model(version=VERSION)))
    server.answers("PromoteModel", Abort(grpc.StatusCode.UNAVAILABLE), pb.PromoteModelResponse())
    assert run("models", "promote", "challenger", "--force").exit_code == 0
    promotions = [call.request for call in server.calls if call.method == "PromoteModel"]
    assert [(each.model_version, each.force) for each in promotions] == [(VERSION, True)] * 2


def test_a_rollback_names_the_champion_that_it_replaces(server: FakeServer, run: Run, output: Output) -> None:
    done = change_pb.ModelChange(
        action=change_pb.MODEL_ACTION_ROLLBACK, model_version=CHAMPION, from_version=VERSION, sequence=9
    )
    server.answers("GetModel", pb.GetModelResponse(model=pb.Model(version=VERSION)))
    assert (
        output(pb.RollbackModelResponse(change=done), "models", "rollback")
        == f"rolled back to {CHAMPION}, instead of {VERSION} (sequence 9)\n"
    )
    assert server.calls[-1].request.from_version == VERSION
    run("models", "rollback", "--from", CHAMPION)
    assert server.calls[-1].request.from_version == CHAMPION


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("MODEL_NOT_PROVEN", "--force promotes without it"),
        ("MODEL_NOT_REGISTERED", "dejavu models list"),
        ("MODEL_IN_USE", "promote another model"),
    ],
)
def test_a_refusal_says_what_to_do(server: FakeServer, run: Run, reason: str, advice: str) -> None:
    server.answers("PromoteModel", *[Abort(grpc.StatusCode.FAILED_PRECONDITION, "after 12 games E is 3", reason)] * 2)
    shown = run("models", "promote", VERSION)
    assert shown.exit_code == 4
    assert "after 12 games E is 3" in shown.stderr
    assert advice in shown.stderr
    told = json.loads(run("models", "promote", VERSION, "--json").stderr)["error"]
    assert (told["reason"], advice in told["advice"]) == (reason, True)


@pytest.mark.parametrize("option", [("--target", "127.0.0.1:1"), ("--timeout", "1"), ("--json",), ("--tls",)])
def test_an_option_before_the_command_is_refused_rather_than_ignored(
    server: FakeServer, run: Run, option: tuple[str, ...]
) -> None:
    shown = run("models", *option, "promote", VERSION)
    assert shown.exit_code == 2
    assert "give it after the command: dejavu models promote" in " ".join(shown.stderr.split())
    assert not server.calls
