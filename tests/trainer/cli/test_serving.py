"""Commands that bring a model to a server: publish, retrain and its promotions."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.store.conftest import rewrite
from tests.support.builders.bundles import (
    SEASON_GAMES,
    simulated_seasons,
    small_bundle,
    small_bundle_folder,
    stored_versions,
)
from tests.support.fakes.service import Abort, FakeServer
from tests.support.harness.documents import ROOT
from tests.support.processes.servers import running_worker
from tests.trainer.harness import run, told

from dejavu.v1 import model_change_pb2 as change_pb
from dejavu.v1 import model_service_pb2 as pb
from dejavu_client import DejavuClient
from dejavu_store.bundle_store import ModelStore
from dejavu_trainer.publish import CallFailed, promote_staged


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    small_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_server_of_the_store_stages_it_once_with_the_reason_of_its_lineage(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lineage = {"parent_version": "", "reason": "new season", "code_version": ""}
    rewrite(bundle, lambda manifest: manifest.update(lineage=lineage))
    store, documents = str(tmp_path / "store"), list[dict[str, Any]]()
    with running_worker(tmp_path, shipped=True, model_store=store) as address:
        for _ in range(2):
            assert run("publish", bundle, "--store", store, "--target", address, "--json") == 0
            told = capsys.readouterr().out  # after the log of the server
            documents.append(json.loads(told[told.index("{\n") :]))
        version = documents[0]["model_version"]
        with DejavuClient(address) as client:
            changes = client.list_model_changes(model_version=version).changes
            assert [each.reason for each in changes] == ["new season"] * 2
            assert client.get_model("challenger").model.version == version
    assert [(each["added"], each["staged"]) for each in documents] == [(True, True), (False, False)]
    assert version in stored_versions(ModelStore.open(store))


def options(work: Path) -> tuple[object, ...]:
    return ("--from", simulated_seasons(), "--work", work, "--parent", small_bundle_folder())


def test_check_names_the_met_trigger_and_exits_as_grep_does(tmp_path: Path) -> None:
    due = told("retrain", *options(tmp_path), "--check", "--new-games", SEASON_GAMES)
    assert (due.code, "kind new games" in due.out) == (0, True)
    not_due = told("retrain", *options(tmp_path), "--check", "--new-games", SEASON_GAMES + 1, "--json")
    document = not_due.document
    assert not_due.code == 1
    assert (document["due"], document["newer_games"], document["triggers"]) == (False, SEASON_GAMES, [])


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("--from", "nowhere", "--check"), 2, "nowhere: cannot be read"),
        (("--from", "x", "--target", "127.0.0.1:1"), 2, "needs --store"),
        (("--from", "x", "--promote"), 2, "--target"),
    ],
)
def test_a_refusal_is_told_in_a_line(tmp_path: Path, arguments: tuple[str, ...], code: int, complaint: str) -> None:
    refused = told("retrain", "--work", tmp_path, *arguments)
    assert refused.code == code
    assert complaint in " ".join(refused.err.split())


@pytest.mark.nightly
def test_a_watch_ends_with_sigterm(tmp_path: Path) -> None:
    arguments = [str(each) for each in (*options(tmp_path), "--watch", "--new-games", SEASON_GAMES + 1, "--json")]
    command = [sys.executable, "-u", "-m", "dejavu_trainer", "retrain", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "{\n"  # it has looked once
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            assert process.wait(30) == 0
        finally:
            process.kill()


SERVED, OLDER, NEWER, NEWEST = (letter * 16 for letter in "abcd")


MODELS = [
    pb.Model(version="e" * 16, active=True, stage=pb.MODEL_STAGE_SERVING),
    *(pb.Model(version=version, stage=pb.MODEL_STAGE_STAGED) for version in (SERVED, OLDER, NEWER, NEWEST)),
]


CHANGES = [
    change_pb.ModelChange(action=change_pb.MODEL_ACTION_LOAD, model_version=NEWEST),
    change_pb.ModelChange(action=change_pb.MODEL_ACTION_PROMOTE, model_version="e" * 16, from_version=SERVED),
    change_pb.ModelChange(action=change_pb.MODEL_ACTION_PROMOTE, model_version=SERVED),
]


NOT_PROVEN = Abort(grpc.StatusCode.FAILED_PRECONDITION, "it is not proven: 12 games", "MODEL_NOT_PROVEN")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server of MODELS."""
    with FakeServer() as made:
        made.answers("ListModels", pb.ListModelsResponse(models=MODELS))
        made.answers("ListModelChanges", pb.ListModelChangesResponse(changes=CHANGES))
        yield made


def test_challengers_are_asked_for_in_order_until_one_is_promoted_and_the_retrain_goes_on(
    server: FakeServer, tmp_path: Path
) -> None:
    """Neither what served before nor another one after a promotion is asked for, and none by force."""
    server.answers("PromoteModel", NOT_PROVEN, pb.PromoteModelResponse())
    games = ("--from", simulated_seasons(), "--work", tmp_path, "--parent", small_bundle_folder())
    target = ("--store", tmp_path / "store", "--target", server.target, "--promote")
    document = told("retrain", *games, *target, "--new-games", SEASON_GAMES + 1, "--json").document
    asked = [call.request for call in server.calls if call.method == "PromoteModel"]
    assert [(each.model_version, each.force) for each in asked] == [(OLDER, False), (NEWER, False)]
    assert [(each["model_version"], each["promoted"]) for each in document["promotions"]] == [
        (OLDER, False),
        (NEWER, True),
    ]
    assert document["promotions"][0]["reason"] == NOT_PROVEN.message
    assert (document["due"], document["newer_games"]) == (False, SEASON_GAMES)


def asked(server: FakeServer) -> list[str]:
    """Return the versions that the server was asked to promote, none by force."""
    requests = [call.request for call in server.calls if call.method == "PromoteModel"]
    assert not any(request.force for request in requests)
    return [request.model_version for request in requests]


def test_another_refusal_is_an_error(server: FakeServer) -> None:
    server.answers(
        "PromoteModel", replace(NOT_PROVEN, message="worker 1 has not loaded it", reason="MODEL_LOAD_FAILED")
    )
    with pytest.raises(CallFailed, match="worker 1 has not"):
        promote_staged(server.target)
    assert asked(server) == [OLDER]
