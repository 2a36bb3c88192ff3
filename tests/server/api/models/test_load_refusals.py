"""LoadModel of a new version is refused with the reason if its bundle is not in the store, or damaged there."""

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


def rewrite(store: Path, part: Callable[[Any], dict[str, Any]], **changes: Any) -> None:
    """Change values of a part of the manifest."""
    manifest = json.loads(manifest_of(store).read_text())
    part(manifest).update(changes)
    manifest_of(store).write_text(json.dumps(manifest))


DAMAGES: list[tuple[Callable[[Path], object], str, str]] = [
    (lambda store: manifest_of(store).unlink(), "BUNDLE_NOT_FOUND", "has no model '"),
    (lambda store: linear_of(store).write_bytes(b"x"), "BUNDLE_CORRUPT", f"{LINEAR} does not match the manifest"),
    (lambda store: rewrite(store, lambda it: it["golden"][0], point_forecast=99.0), "BUNDLE_CORRUPT", "golden query"),
    (
        lambda store: rewrite(store, lambda it: it["verdict"], fit=False, reason="worse than persistence"),
        "BUNDLE_UNFIT",
        "worse than persistence",
    ),
]


async def test_a_bundle_that_is_not_sound_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    request = pb.LoadModelRequest(model_version=challenger_version())
    async with workers_with_store(tmp_path, 1) as (one,):
        store = tmp_path / "store"
        before = sorted(store.rglob("*"))
        sound = {file: file.read_bytes() for file in (manifest_of(store), linear_of(store))}
        for damage, reason, says in DAMAGES:
            damage(store)
            with pytest.raises(grpc.aio.AioRpcError) as caught:  # a verification takes seconds of a core
                await one.models.LoadModel(request)
            refused = details(caught.value)
            assert (refused.reason, says in refused.message) == (reason, True), f"{refused}"
            assert "checked-" not in refused.message
            for file, content in sound.items():
                file.write_bytes(content)
        for asked, reason in (
            (pb.LoadModelRequest(model_version=challenger_version(), reason="x" * 501), "INVALID_REASON"),
            (pb.LoadModelRequest(), "MODEL_NOT_REGISTERED"),
            (pb.LoadModelRequest(model_version="../../manifest"), "BUNDLE_NOT_FOUND"),
        ):
            assert (await refusal(one.models.LoadModel(asked))).reason == reason
        listed = (await one.models.ListModels(pb.ListModelsRequest())).models
        assert [each.version for each in listed] == [CHAMPION]
        assert sorted(store.rglob("*")) == before, "no leftovers"
        assert (await one.models.LoadModel(request)).model.stage == pb.MODEL_STAGE_STAGED
