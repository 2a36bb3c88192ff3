"""Servers with a model store, and a challenger to the shipped bundle."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from tests.support.builders.bundles import publish_variant
from tests.support.builders.made_once import made_once
from tests.support.processes.servers import settings_in

from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_server.worker.worker import Worker
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_store.default_bundles import default_bundle

if TYPE_CHECKING:
    from dejavu.v1.model_service_pb2_grpc import ModelServiceAsyncStub
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub

CHAMPION = read_manifest(default_bundle()).version
"""Version of the bundle with which a ledger begins."""


def challenger() -> Path:
    """Return the folder of another bundle: one that is light, as most of its life is verification."""
    return made_once("challenger", lambda folder: publish_variant(folder, 0.003, light=True))


def challenger_version() -> str:
    """Return the version of the challenger."""
    return read_manifest(challenger()).version


def store_with_challenger(folder: Path) -> str:
    """Make a store of the shipped bundle and the challenger, verified once a run; return its address."""

    def make(store: Path) -> None:
        for bundle in (default_bundle(), challenger()):
            ModelStore.open(store).put(bundle)

    shutil.copytree(made_once("store-with-challenger", make), folder / "store", dirs_exist_ok=True)
    return str(folder / "store")


class ServedModels:
    """A worker and its stubs."""

    def __init__(self, worker: Worker, channel: grpc.aio.Channel) -> None:
        self.worker = worker
        self.models: ModelServiceAsyncStub = ModelServiceStub(channel)
        self.predictions: PredictionServiceAsyncStub = PredictionServiceStub(channel)


@asynccontextmanager
async def workers_with_store(folder: Path, number: int = 2, **changes: Any) -> AsyncIterator[list[ServedModels]]:
    """Run workers on one ledger and store, in the test's loop."""
    settings = settings_in(folder, model_store=store_with_challenger(folder), **changes)
    async with AsyncExitStack() as stack:
        served = []
        for name in range(number):
            worker = await stack.enter_async_context(Worker(settings, name=f"{name}"))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(worker.address))
            served.append(ServedModels(worker, channel))
        yield served
