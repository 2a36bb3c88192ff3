"""LoadModel of a version that is new: refused with the reason if its bundle is not in the store, or damaged there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.builders.calls import details, refusal
from tests.support.programs.model_servers import CHAMPION, challenger_version, workers_with_store

from dejavu.v1 import model_service_pb2 as pb
from dejavu_models.manifest import LINEAR
from dejavu_store.bundle_store import ModelStore


def manifest_of(store: Path) -> Path:
    return store / "manifests" / f"{challenger_version()}.json"


def linear_of(store: Path) -> Path:
    manifest = ModelStore.open(store).manifest(challenger_version())
    return store / "files" / manifest.files[LINEAR]


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Return a damage to a store: a manifest with changed values."""

    def damage(store: Path) -> None:
        manifest = json.loads(manifest_of(store).read_text())
        change(manifest)
        manifest_of(store).write_text(json.dumps(manifest))

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no manifest": (
        lambda store: manifest_of(store).unlink(),
        "BUNDLE_NOT_FOUND",
        "has no model '",
    ),
    "a manifest that is none": (lambda store: manifest_of(store).write_text("{"), "BUNDLE_CORRUPT", "JSON"),
    "a missing file": (lambda store: linear_of(store).unlink(), "BUNDLE_INCOMPLETE", f"{LINEAR} is missing"),
    "an altered file": (
        lambda store: linear_of(store).write_bytes(b"other bytes"),
        "BUNDLE_CORRUPT",
        f"{LINEAR} does not match the manifest",
    ),
    "another answer": (
        rewritten(lambda manifest: manifest["golden"][0].update(point_forecast=99.0)),
        "BUNDLE_CORRUPT",
        "golden query",
    ),
    "the files of a path": (
        rewritten(lambda manifest: manifest["files"].update({"../../linear.npz": "0" * 64})),
        "BUNDLE_CORRUPT",
        "not a valid manifest",
    ),
    "unfit": (
        rewritten(lambda manifest: manifest["verdict"].update(fit=False, reason="worse than persistence")),
        "BUNDLE_UNFIT",
        "worse than persistence",
    ),
}


async def test_a_bundle_that_is_not_sound_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    request = pb.LoadModelRequest(model_version=challenger_version())
    async with workers_with_store(tmp_path, 1) as (one,):
        store = tmp_path / "store"
        before = sorted(store.rglob("*"))
        sound = {file: file.read_bytes() for file in (manifest_of(store), linear_of(store))}
        for name, (damage, reason, says) in DAMAGES.items():
            damage(store)
            with pytest.raises(grpc.aio.AioRpcError) as caught:  # a verification takes seconds of a core
                await one.models.LoadModel(request)
            refused = details(caught.value)
            assert (refused.reason, says in refused.message) == (reason, True), f"{name}: {refused}"
            assert "checked-" not in refused.message
            for file, content in sound.items():
                file.write_bytes(content)
        listed = (await one.models.ListModels(pb.ListModelsRequest())).models
        assert [each.version for each in listed] == [CHAMPION]
        assert sorted(store.rglob("*")) == before, "no leftovers"
        assert (await one.models.LoadModel(request)).model.stage == pb.MODEL_STAGE_STAGED


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.LoadModelRequest(model_version="0123456789abcdef", reason="x" * 501), "INVALID_REASON"),
        (pb.LoadModelRequest(model_version="challenger"), "MODEL_NOT_REGISTERED"),
        (pb.LoadModelRequest(), "MODEL_NOT_REGISTERED"),
        (pb.LoadModelRequest(model_version="../../manifest"), "BUNDLE_NOT_FOUND"),
    ],
)
async def test_a_request_that_cannot_be_one_is_refused(
    tmp_path: Path, request_: pb.LoadModelRequest, reason: str
) -> None:
    async with workers_with_store(tmp_path, 1) as (one,):
        assert (await refusal(one.models.LoadModel(request_))).reason == reason
