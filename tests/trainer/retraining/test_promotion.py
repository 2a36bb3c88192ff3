"""`retrain --promote`: a server is asked to promote what is staged, and its "not proven" ends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from tests.support.builders.bundles import SEASON_GAMES, simulated_seasons, small_bundle_folder
from tests.support.fakes.service import Abort, FakeServer
from tests.trainer.harness import told

from dejavu.v1 import model_change_pb2 as change_pb
from dejavu.v1 import model_service_pb2 as pb
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
NOT_PROVEN = Abort(grpc.StatusCode.FAILED_PRECONDITION, "it is not proven: 12 games", "MODEL_NOT_PROVEN")


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server of MODELS."""
    with FakeServer() as made:
        made.answers("ListModels", pb.ListModelsResponse(models=MODELS))
        made.answers("ListModelChanges", pb.ListModelChangesResponse(changes=CHANGES))
        yield made


def asked(server: FakeServer) -> list[str]:
    """Return the versions that the server was asked to promote, none by force."""
    requests = [call.request for call in server.calls if call.method == "PromoteModel"]
    assert not any(request.force for request in requests)
    return [request.model_version for request in requests]


def test_challengers_are_asked_for_in_order_until_one_is_promoted(server: FakeServer) -> None:
    server.answers("PromoteModel", NOT_PROVEN, pb.PromoteModelResponse())
    older = Promotion(OLDER, promoted=False, reason=NOT_PROVEN.message)
    assert promote_staged(server.target) == [older, Promotion(NEWER, promoted=True)]
    assert asked(server) == [OLDER, NEWER], "neither what served before nor another one after a promotion"


def test_another_refusal_is_an_error(server: FakeServer) -> None:
    server.answers(
        "PromoteModel", replace(NOT_PROVEN, message="worker 1 has not loaded it", reason="MODEL_LOAD_FAILED")
    )
    with pytest.raises(CallFailed, match="worker 1 has not"):
        promote_staged(server.target)
    assert asked(server) == [OLDER]


def test_not_proven_is_an_answer_after_which_the_retrain_goes_on(server: FakeServer, tmp_path: Path) -> None:
    server.answers("PromoteModel", NOT_PROVEN, NOT_PROVEN, NOT_PROVEN)
    games = ("--from", simulated_seasons(), "--work", tmp_path, "--parent", small_bundle_folder())
    target = ("--store", tmp_path / "store", "--target", server.target, "--promote")
    document = told("retrain", *games, *target, "--new-games", SEASON_GAMES + 1, "--json").document
    answer = {"promoted": False, "reason": NOT_PROVEN.message}
    assert document["promotions"] == [{"model_version": each, **answer} for each in (OLDER, NEWER, NEWEST)]
    assert (document["due"], document["newer_games"]) == (False, SEASON_GAMES)
