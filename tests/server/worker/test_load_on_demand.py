"""Models that are asked for by name: loaded on demand; the least recently used is evicted."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

import grpc
import pytest
from tests.support.builders.bundles import store_variants
from tests.support.builders.calls import PATTERN, refusal
from tests.support.processes.servers import settings_in
from tests.support.programs.model_servers import CHAMPION, ServedModels, register

from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_server.forecasting.lifecycle import follower, loader
from dejavu_server.worker.worker import Worker

_LEADS = count(-20.0)


async def answered_by(served: ServedModels, version: str) -> str:
    pattern = [*PATTERN[:-1], next(_LEADS)]  # another one each time: an answer of the cache needs no model
    answer = await served.predictions.Predict(PredictRequest(pattern=pattern, model_version=version))
    return answer.forecast.model_version


async def until_loaded(served: ServedModels, *versions: str) -> None:
    async with asyncio.timeout(20):
        while {  # noqa: ASYNC110 - a model is given up beside, within a second
            each.version for each in (await served.models.ListModels(pb.ListModelsRequest())).models if each.loaded
        } != {CHAMPION, *versions}:
            await asyncio.sleep(0.02)


async def test_the_model_asked_least_recently_makes_room_and_is_loaded_again_when_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.05)  # models are given up when it looks
    stored = store_variants(tmp_path / "store", 3)
    one, two, three = (each.version for each in stored)
    settings = settings_in(tmp_path, model_store=str(tmp_path / "store"), load_on_demand="on")
    settings = settings.model_copy(update={"max_models": 3})  # fewer than users may set, to take less time
    async with Worker(settings, name="0") as worker, grpc.aio.insecure_channel(worker.address) as channel:
        served = ServedModels(worker, channel)
        for each in stored:
            await register(served.models, each.to_json().encode())
        assert await answered_by(served, one) == one
        too_soon = await refusal(served.predictions.Predict(PredictRequest(pattern=PATTERN, model_version=two)))
        assert too_soon.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        monkeypatch.setattr(loader, "DEMAND_SECONDS", 0.0)
        assert await answered_by(served, two) == two
        assert await answered_by(served, one) == one
        assert await answered_by(served, three) == three
        await until_loaded(served, one, three)
        assert await answered_by(served, two) == two
        await until_loaded(served, two, three)
        assert await answered_by(served, "") == CHAMPION
