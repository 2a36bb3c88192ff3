"""Readers of models take one thread of the worker while the model store stalls, however many they are."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from tests.server.forecasting.lifecycle.models_in_memory import ModelsInMemory
from typing_extensions import override

from dejavu.v1 import model_service_pb2 as pb
from dejavu_models.manifest import Manifest
from dejavu_server.api.models.service import ModelService, StoredModels
from dejavu_server.forecasting.lifecycle.changes import ModelLifecycle
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_store.stages import ModelStage, Roster

VERSIONS = ("a", "b", "c", "d")
CALLERS = 20


class StallingStore(ModelsInMemory):
    """A store whose manifests cannot be read before `answers` is set."""

    def __init__(self, *versions: str) -> None:
        super().__init__(*versions)
        self.answers = threading.Event()
        self.stalled = threading.Event()
        self.reads: list[str] = []

    @override
    def manifest(self, version: str) -> Manifest:
        self.reads.append(version)
        self.stalled.set()
        self.answers.wait(60)
        return super().manifest(version)


class OneRoster:
    """A roster without changes: no model is loaded."""

    async def roster(self) -> Roster:
        """Return the roster."""
        return Roster(stages=dict.fromkeys(VERSIONS, ModelStage.RETIRED))

    async def replicas(self) -> list[Any]:
        """Return no workers."""
        return []


async def test_readers_share_one_read_and_leave_the_other_threads_to_others() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(2))
    store = StallingStore(*VERSIONS)
    unused: Any = None
    stored = StoredModels(cast("ModelLifecycle", OneRoster()), store, unused, unused)
    service = ModelService(ServingModels(), stored=stored)
    context: Any = None
    lists = [asyncio.create_task(service.list_models(pb.ListModelsRequest(), context)) for _ in range(CALLERS)]
    gets = [
        asyncio.create_task(service.get_model(pb.GetModelRequest(model_version=version), context))
        for version in VERSIONS * CALLERS
    ]
    async with asyncio.timeout(30):
        try:
            await asyncio.to_thread(store.stalled.wait)
            assert store.reads == [VERSIONS[0]]
            lists[0].cancel()  # the read goes on for the others
        finally:
            store.answers.set()
        for answer in await asyncio.gather(*lists[1:]):
            assert [model.version for model in answer.models] == list(VERSIONS)
        await asyncio.gather(*gets)
    assert sorted(set(store.reads)) == sorted(VERSIONS)
    assert len(store.reads) == 2 * len(VERSIONS)  # the fake's hash reads the manifest again
