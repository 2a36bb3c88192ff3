"""The life of a model over gRPC, on real workers with one ledger and one store, and loads that are refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.builders.calls import PATTERN, current_game, details, refusal
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.waiting import until
from tests.support.processes.servers import worker_and_channel
from tests.support.programs.model_servers import CHAMPION, ServedModels, challenger_version, workers_with_store

from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_models.manifest import LINEAR
from dejavu_store.bundle_store import ModelStore

GAMES = ("9900000000", "9900000001")


async def test_without_a_store_models_do_not_change(tmp_path: Path) -> None:
    async with worker_and_channel(tmp_path, PersistenceForecaster("one"), PersistenceForecaster("two")) as (_, channel):
        models = ModelServiceStub(channel)
        listed = (await models.ListModels(pb.ListModelsRequest())).models
        assert [(each.version, each.active, each.stage) for each in listed] == [("one", True, 0), ("two", False, 0)]
        for call in (
            models.LoadModel(pb.LoadModelRequest(model_version="two")),
            models.UnloadModel(pb.UnloadModelRequest(model_version="two")),
            models.PromoteModel(pb.PromoteModelRequest(model_version="two")),
            models.RollbackModel(pb.RollbackModelRequest()),
            models.RetireModel(pb.RetireModelRequest(model_version="two")),
            models.CompareModels(pb.CompareModelsRequest(horizon=HORIZON_HALFTIME)),
            models.ListModelChanges(pb.ListModelChangesRequest()),
        ):
            refused = await refusal(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_MODEL_STORE")


async def test_the_life_of_a_model(tmp_path: Path) -> None:
    new = challenger_version()
    async with workers_with_store(tmp_path) as (one, other):
        of_new = PredictRequest(pattern=PATTERN, model_version=new)
        assert (await refusal(one.predictions.Predict(of_new))).reason == "UNKNOWN_MODEL_VERSION"
        loaded = await one.models.LoadModel(pb.LoadModelRequest(model_version=new, reason="try it"))
        assert (loaded.model.stage, loaded.change.reason) == (pb.MODEL_STAGE_STAGED, "try it")
        assert not (await other.models.LoadModel(pb.LoadModelRequest(model_version=new))).HasField("change")

        unloaded = await one.models.UnloadModel(pb.UnloadModelRequest(model_version=new))
        assert unloaded.model.stage == pb.MODEL_STAGE_NONE
        listed = await models_when(other, lambda models: not models[new].loaded)
        assert (listed[CHAMPION].stage, list(listed[CHAMPION].aliases)) == (pb.MODEL_STAGE_SERVING, ["champion"])
        # Formerly, 44 of them with long texts made the list too large for everybody, for ever.
        whole = (await other.models.GetModel(pb.GetModelRequest(model_version=new))).model
        assert not any((listed[new].metrics, listed[new].verdict_reason, listed[new].HasField("lineage")))
        assert all((whole.lineage.manifest_sha256, whole.verdict_reason))
        assert (await refusal(other.predictions.Predict(of_new))).reason == "MODEL_NOT_LOADED"

        await one.models.LoadModel(pb.LoadModelRequest(model_version=new))
        for each in (one, other):
            what_if = PredictRequest(pattern=PATTERN, model_version="challenger")
            assert (await each.predictions.Predict(what_if)).forecast.model_version == new
            assert (await each.predictions.Predict(PredictRequest(pattern=PATTERN))).forecast.model_version == CHAMPION
        assert (await one.predictions.Predict(named(current_game(1)))).forecast.model_version == CHAMPION
        figure = one.worker.metrics.registry.get_sample_value
        await until(lambda: figure("dejavu_shadows_total", {"outcome": "recorded"}) == 1)

        promotion = pb.PromoteModelRequest(model_version=new)
        assert (await refusal(one.models.PromoteModel(promotion))).reason == "MODEL_NOT_PROVEN"
        promotion.force = True
        promoted = await one.models.PromoteModel(promotion)
        assert (promoted.change.forced, promoted.change.from_version) == (True, CHAMPION)
        for number, each in enumerate((other, one)):  # at once: the ledger tells a worker that has not read it
            answer = (await each.predictions.Predict(named(GAMES[number]))).forecast
            assert (answer.model_version, answer.sequence > promoted.change.sequence) == (new, True)
            unnamed = await each.predictions.Predict(PredictRequest(pattern=PATTERN))
            assert unnamed.forecast.model_version == new  # that of the old champion was in the cache
            old = await each.predictions.Predict(PredictRequest(pattern=PATTERN, model_version="previous"))
            assert old.forecast.model_version == CHAMPION

        retirement = one.models.RetireModel(pb.RetireModelRequest(model_version=new))
        assert (await refusal(retirement)).reason == "MODEL_IN_USE"
        back = await other.models.RollbackModel(pb.RollbackModelRequest(from_version=new))
        assert back.model.version == CHAMPION
        assert not (await one.models.RollbackModel(pb.RollbackModelRequest(from_version=new))).HasField("change")
        page = await one.models.ListModelChanges(pb.ListModelChangesRequest(page_size=4))
        rest = pb.ListModelChangesRequest(page_size=4, page_token=page.next_page_token)
        last = await one.models.ListModelChanges(rest)
        assert [change.action for change in (*page.changes, *last.changes)] == [5, 4, 2, 3, 2, 1, 4, 1]


def named(game_id: str) -> PredictRequest:
    return PredictRequest(pattern=PATTERN, game_id=game_id, horizon=HORIZON_HALFTIME)


async def models_when(served: ServedModels, holds: Callable[[dict[str, pb.Model]], bool]) -> dict[str, pb.Model]:
    """List the models until a condition holds for them; return them by version."""
    async with asyncio.timeout(20):
        while True:
            listed = {each.version: each for each in (await served.models.ListModels(pb.ListModelsRequest())).models}
            if holds(listed):
                return listed
            await asyncio.sleep(0.05)


async def test_a_restarted_worker_goes_on_with_the_champion_of_the_ledger(tmp_path: Path) -> None:
    new = challenger_version()
    async with workers_with_store(tmp_path, 1) as (one,):
        await one.models.LoadModel(pb.LoadModelRequest(model_version=new))
        await one.models.PromoteModel(pb.PromoteModelRequest(model_version=new, force=True))
    async with workers_with_store(tmp_path, 1) as (one,):
        assert (await one.predictions.Predict(named(GAMES[0]))).forecast.model_version == new
        await models_when(one, lambda models: models[CHAMPION].loaded and models[new].loaded)  # loaded beside
        replicas = (await one.models.GetModel(pb.GetModelRequest())).replicas
        assert len(replicas) == 1


def alter(store: Path, part: str, **changes: Any) -> None:
    """Change values of a part of the challenger's manifest."""
    path = store / "manifests" / f"{challenger_version()}.json"
    manifest = json.loads(path.read_text())
    values = manifest[part][0] if isinstance(manifest[part], list) else manifest[part]
    values.update(changes)
    path.write_text(json.dumps(manifest))


async def test_a_bundle_that_is_not_sound_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    new = challenger_version()
    async with workers_with_store(tmp_path, 1) as (one,):
        store = tmp_path / "store"
        before = sorted(store.rglob("*"))
        manifest = store / "manifests" / f"{new}.json"
        weights = store / "files" / ModelStore.open(store).manifest(new).files[LINEAR]
        sound = {file: file.read_bytes() for file in (manifest, weights)}
        damages: list[tuple[Callable[[], object], str]] = [
            (manifest.unlink, "BUNDLE_NOT_FOUND"),
            (lambda: weights.write_bytes(b"x"), "BUNDLE_CORRUPT"),
            (lambda: alter(store, "golden", point_forecast=99.0), "BUNDLE_CORRUPT"),
            (lambda: alter(store, "verdict", fit=False, reason="worse than persistence"), "BUNDLE_UNFIT"),
        ]
        for damage, reason in damages:
            damage()
            with pytest.raises(grpc.aio.AioRpcError) as caught:  # a verification takes seconds of a core
                await one.models.LoadModel(pb.LoadModelRequest(model_version=new))
            assert details(caught.value).reason == reason
            for file, content in sound.items():
                file.write_bytes(content)
        path = pb.LoadModelRequest(model_version="../../manifest")
        assert (await refusal(one.models.LoadModel(path))).reason == "BUNDLE_NOT_FOUND"
        listed = (await one.models.ListModels(pb.ListModelsRequest())).models
        assert [each.version for each in listed] == [CHAMPION]
        assert sorted(store.rglob("*")) == before, "no leftovers"
        assert (await one.models.LoadModel(pb.LoadModelRequest(model_version=new))).model.stage == pb.MODEL_STAGE_STAGED
