"""ModelService: lists the models, and changes which of them answers. The interceptor maps errors to statuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar

from dejavu.v1 import model_service_pb2 as pb
from dejavu_common.clock import game_day, utc_now
from dejavu_common.tasks import SharedWork
from dejavu_ledger.queries.pages import InvalidPageToken
from dejavu_models.errors import BundleError
from dejavu_models.manifest import Manifest
from dejavu_server.api.converters import models
from dejavu_server.api.models.comparison import ModelComparisons
from dejavu_server.api.models.history import ModelHistory
from dejavu_server.api.paging import decode_key, page_of, page_size
from dejavu_server.forecasting.lifecycle.changes import ModelLifecycle
from dejavu_server.forecasting.lifecycle.lifecycle_errors import NoModelStore
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.limits import Caller
from dejavu_store.bundle_store import ModelStore
from dejavu_store.stages import ModelAction, ModelChange, Roster

_Changed = TypeVar(
    "_Changed",
    pb.LoadModelResponse,
    pb.UnloadModelResponse,
    pb.PromoteModelResponse,
    pb.RollbackModelResponse,
    pb.RetireModelResponse,
)

_LIST = "models"

MODEL_SERVICE = pb.DESCRIPTOR.services_by_name["ModelService"]


class StoredModels(NamedTuple):
    """What changes the models of a server with a model store.

    Attributes:
        lifecycle: changes the models.
        store: contains their bundles.
        history: lists the changes.
        comparisons: compares models.
    """

    lifecycle: ModelLifecycle
    store: ModelStore
    history: ModelHistory
    comparisons: ModelComparisons


class ModelService:
    """Lists the models, and changes which of them answers.

    Args:
        loaded: the models of this worker.
        clock: returns the current time, aware and in UTC.
        stored: what changes the models; None: the server has no model store.
    """

    def __init__(
        self,
        loaded: ServingModels,
        clock: Callable[[], datetime] = utc_now,
        stored: StoredModels | None = None,
    ) -> None:
        self._loaded = loaded
        self._clock = clock
        self._stored_or_none = stored
        self._manifests: dict[str, tuple[Manifest, str]] = {}
        self._reading = SharedWork[None]()
        self._one_at_a_time = asyncio.Lock()

    @property
    def _stored(self) -> StoredModels:
        if self._stored_or_none is None:
            raise NoModelStore
        return self._stored_or_none

    async def list_models(self, request: pb.ListModelsRequest, _: Caller) -> pb.ListModelsResponse:
        """List the models, the active one first."""
        roster = await self._roster()
        in_workers = dict.fromkeys((*roster.loaded, *self._loaded.versions))
        versions, next_page_token = _page([*dict.fromkeys((*in_workers, *roster.stages))], request)
        listed = [await self._model(version, roster) for version in versions]
        for message in listed:
            if message.version not in in_workers:
                models.shorten(message)
        return pb.ListModelsResponse(models=listed, next_page_token=next_page_token)

    async def get_model(self, request: pb.GetModelRequest, _: Caller) -> pb.GetModelResponse:
        """Return a model, and its state in each worker."""
        roster = await self._roster()
        replicas: list[pb.ModelReplica] = []
        if self._stored_or_none is None:
            version = self._loaded.get(request.model_version).version
        else:
            version = roster.version_of(request.model_version) if request.model_version else roster.champion
            roster.stage_of(version)
            replicas = models.replica_messages(version, await self._stored.lifecycle.replicas())
        return pb.GetModelResponse(model=await self._model(version, roster), replicas=replicas)

    async def _roster(self) -> Roster:
        """Return the roster; without a model store, the model that answers is its champion, and in no stage."""
        if self._stored_or_none is None:
            return Roster(champion=self._loaded.get().version)
        return await self._stored.lifecycle.roster()

    async def _model(self, version: str, roster: Roster) -> pb.Model:
        """Describe a model that is loaded here, or any other one by its manifest."""
        info = next((each for each in self._loaded.models() if each.version == version), None)
        manifest, sha256 = await self._manifest(version)
        if info is not None:
            message = models.describe_loaded(info, roster, game_day(self._clock()))
        else:
            message = models.describe_stored(manifest, version, roster)
        if manifest is not None:
            models.set_lineage(message, manifest, sha256)
        return message

    async def _manifest(self, version: str) -> tuple[Manifest | None, str]:
        """Return a manifest of the store and its hash, read once for all callers; None if the store lacks it."""
        if version not in self._manifests and self._stored_or_none is not None:
            await self._reading.run(version, partial(self._read_manifest, self._stored.store, version))
        return self._manifests.get(version, (None, ""))

    async def _read_manifest(self, store: ModelStore, version: str) -> None:
        """Read a manifest: one at a time, since a store that stalls must not take the threads of other work."""
        async with self._one_at_a_time:
            with contextlib.suppress(BundleError):
                manifest, sha256 = await asyncio.to_thread(
                    lambda: (store.manifest(version), store.manifest_sha256(version))
                )
                # Without what can be long, and is not shown: registered models are never removed.
                short: dict[str, object] = {"golden": (), "libraries": {}}
                self._manifests[version] = manifest.model_copy(update=short), sha256

    async def load_model(self, request: pb.LoadModelRequest, caller: Caller) -> pb.LoadModelResponse:
        """Stage a model."""
        version = request.model_version
        change = await self._stored.lifecycle.load(version, request.reason, caller)
        return await self._changed(pb.LoadModelResponse, version, change)

    async def unload_model(self, request: pb.UnloadModelRequest, caller: Caller) -> pb.UnloadModelResponse:
        """Unstage a model."""
        changed = await self._stored.lifecycle.remove(request.model_version, ModelAction.UNLOAD, request.reason, caller)
        return await self._changed(pb.UnloadModelResponse, *changed)

    async def promote_model(self, request: pb.PromoteModelRequest, caller: Caller) -> pb.PromoteModelResponse:
        """Make a model the champion."""
        changed = await self._stored.lifecycle.promote(
            request.model_version, request.reason, caller, force=request.force
        )
        return await self._changed(pb.PromoteModelResponse, *changed)

    async def rollback_model(self, request: pb.RollbackModelRequest, caller: Caller) -> pb.RollbackModelResponse:
        """Make the previous model the champion again."""
        changed = await self._stored.lifecycle.rollback(request.from_version, request.reason, caller)
        return await self._changed(pb.RollbackModelResponse, *changed)

    async def retire_model(self, request: pb.RetireModelRequest, caller: Caller) -> pb.RetireModelResponse:
        """Retire a model."""
        changed = await self._stored.lifecycle.remove(request.model_version, ModelAction.RETIRE, request.reason, caller)
        return await self._changed(pb.RetireModelResponse, *changed)

    async def _changed(self, response: type[_Changed], version: str, change: ModelChange | None) -> _Changed:
        """Return the answer to a change: the model as it is now, and the change."""
        model = await self._model(version, await self._roster())
        return response(model=model, change=models.change_message(change))

    async def compare_models(self, request: pb.CompareModelsRequest, caller: Caller) -> pb.CompareModelsResponse:
        """Compare two models."""
        return await self._stored.comparisons.compare_models(request, caller)

    async def list_model_changes(
        self, request: pb.ListModelChangesRequest, caller: Caller
    ) -> pb.ListModelChangesResponse:
        """List the changes of models."""
        return await self._stored.history.list_model_changes(request, caller)


def _page(versions: Sequence[str], request: pb.ListModelsRequest) -> tuple[Sequence[str], str]:
    """Return the versions of a page, and the token of the next one.

    A page begins after the last model of the one before, wherever that is by now: a model that is staged in between
    moves to the front, and the others keep their order.
    """
    [last] = decode_key(_LIST, request.page_token, ("",))
    if last and last not in versions:
        raise InvalidPageToken("a token of another list of models", "one from this server")
    start = versions.index(str(last)) + 1 if last else 0
    return page_of(_LIST, versions[start:], lambda version: (version,), page_size(request.page_size))
