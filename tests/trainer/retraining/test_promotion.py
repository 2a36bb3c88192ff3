"""`retrain --promote`: a server is asked to promote what is staged, and its "not proven" ends nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from tests.support.builders.bundles import SEASON_GAMES, simulated_seasons, small_bundle_folder
from tests.support.fakes.service import Abort, FakeServer
from tests.support.programs.model_servers import challenger_version, workers_with_store
from tests.trainer.harness import run

from dejavu.v1 import model_change_pb2 as change_pb
from dejavu.v1 import model_service_pb2 as pb
from dejavu_trainer import publish
from dejavu_trainer.client import CallFailed
from dejavu_trainer.publish import Promotion, promote_staged

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
NOT_PROVEN = {"reason": "MODEL_NOT_PROVEN", "message": "it is not proven: 12 games"}


class Server:
    """Stands in for the commands that call a server.

    Args:
        refusals: errors of promotions, by model.
    """

    def __init__(self, refusals: Mapping[str, Mapping[str, str]]) -> None:
        self.refusals = refusals
        self.asked: list[str] = []

    def run(self, _: str, command: str, *arguments: str, server: str) -> dict[str, Any]:
        assert server == "there:50051"
        if command == "list":
            return {"models": [MessageToDict(model) for model in MODELS]}
        if command == "history":
            return {"changes": [MessageToDict(change) for change in CHANGES]}
        version, *options = arguments
        assert (command, "--force" in options) == ("promote", False)
        self.asked.append(version)
        if version in self.refusals:
            raise CallFailed(f"refused: {self.refusals[version]}", self.refusals[version])
        return {}


def asked(monkeypatch: pytest.MonkeyPatch, **refusals: Mapping[str, str]) -> Server:
    server = Server(refusals)
    monkeypatch.setattr(publish, "run_client", server.run)
    return server


def test_challengers_are_asked_for_in_order_until_one_is_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    server = asked(monkeypatch, **{OLDER: NOT_PROVEN})
    older = Promotion(OLDER, promoted=False, reason="it is not proven: 12 games")
    assert promote_staged("there:50051") == [older, Promotion(NEWER, promoted=True)]
    assert server.asked == [OLDER, NEWER], "neither what served before nor another one after a promotion"


def test_another_refusal_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    server = asked(monkeypatch, **{OLDER: {"reason": "MODEL_LOAD_FAILED", "message": "worker 1 has not loaded it"}})
    with pytest.raises(CallFailed, match="worker 1 has not"):
        promote_staged("there:50051")
    assert server.asked == [OLDER]


@pytest.mark.nightly
async def test_a_server_without_evidence_refuses_and_who_served_before_is_not_asked_for(tmp_path: Path) -> None:
    version = challenger_version()
    async with workers_with_store(tmp_path, 1) as (one,):
        await one.models.LoadModel(pb.LoadModelRequest(model_version=version))
        [refused] = await asyncio.to_thread(promote_staged, one.worker.address)
        assert (refused.model_version, refused.promoted) == (version, False)
        assert refused.reason.startswith(f"model {version} is not proven against")
        await one.models.PromoteModel(pb.PromoteModelRequest(model_version=version, force=True))
        assert await asyncio.to_thread(promote_staged, one.worker.address) == []


def test_not_proven_is_an_answer_after_which_the_retrain_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = Abort(grpc.StatusCode.FAILED_PRECONDITION, NOT_PROVEN["message"], NOT_PROVEN["reason"])
    games = ("--from", simulated_seasons(), "--work", tmp_path, "--parent", small_bundle_folder())
    with FakeServer() as server:
        server.answers("ListModels", pb.ListModelsResponse(models=MODELS[:3]))
        server.answers("ListModelChanges", pb.ListModelChangesResponse(changes=CHANGES))
        server.answers("PromoteModel", refusal)
        more = (
            "--store",
            tmp_path / "store",
            "--target",
            server.target,
            "--promote",
            "--new-games",
            SEASON_GAMES + 1,
            "--json",
        )
        assert run("retrain", *games, *more) == 0
    document = json.loads(capsys.readouterr().out)
    told = {"model_version": OLDER, "promoted": False, "reason": NOT_PROVEN["message"]}
    assert document["promotions"] == [told]
    assert (document["due"], document["newer_games"]) == (False, SEASON_GAMES)


def test_without_a_server_there_is_nothing_to_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("retrain", "--from", simulated_seasons(), "--work", tmp_path, "--promote") == 2
    assert "--target" in capsys.readouterr().err
    options = ("--from", simulated_seasons(), "--work", tmp_path, "--target", "127.0.0.1:1", "--promote", "--check")
    assert run("retrain", *options) == 2
    assert "--check" in capsys.readouterr().err
