"""ModelService: lists the models, and changes which of them answers. The interceptor maps errors to statuses."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple, TypeVar

from dejavu.v1 import model_service_pb2 as pb
from dejavu_common.clock import game_day, utc_now
from dejavu_common.tasks import SharedWork
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.queries import pages
from dejavu_ledger.queries.model_changes import KnownRoster, newest_changes
from dejavu_ledger.queries.pages import DIGEST_BYTES, Cursor, InvalidPageToken, PageCursor
from dejavu_models.comparison import PERSISTENCE, GateSettings
from dejavu_models.errors import BundleError
from dejavu_models.manifest import Manifest
from dejavu_server.api.converters import models
from dejavu_server.api.converters.fields import InvalidComparison, horizon_of
from dejavu_server.api.paging import decode_key, page_of, page_size
from dejavu_server.api.shared_reads import SharedReads
from dejavu_server.forecasting.lifecycle.changes import ModelLifecycle
from dejavu_server.forecasting.lifecycle.evidence import ModelPair, judged
from dejavu_server.forecasting.lifecycle.lifecycle_errors import NoModelStore
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.limits import Caller
from dejavu_store.bundle_store import ModelStore
from dejavu_store.stages import CHALLENGER, CHAMPION, ModelAction, ModelChange, NotRegistered, Roster

_Changed = TypeVar(
    "_Changed",
    pb.LoadModelResponse,
    pb.UnloadModelResponse,
    pb.PromoteModelResponse,
    pb.RollbackModelResponse,
    pb.RetireModelResponse,
)

_LIST: Final = "models"
_CHANGES: Final = b"model changes "

MODEL_SERVICE = pb.DESCRIPTOR.services_by_name["ModelService"]


class StoredModels(NamedTuple):
    """What changes the models of a server with a model store.

    Attributes:
        lifecycle: changes the models.
        store: contains their bundles.
        reads: reads the ledger, for all services of the worker. A comparison reads the forecasts of a season, and is
            shared and kept like a scorecard.
        gate: the requirements of the gate; their margins are used in comparisons.
    """

    lifecycle: ModelLifecycle
    store: ModelStore
    reads: SharedReads
    gate: GateSettings = GateSettings()


class ModelService:
    """Lists the models, and changes which of them answers.

    Args:
        loaded: the models of this worker.
        clock: returns the current time, aware and in UTC.
        stored: what changes the models; None: the server has no model store.
    """

    def __init__(
        self, loaded: ServingModels, clock: Callable[[], datetime] = utc_now, stored: StoredModels | None = None
    ) -> None:
        self._loaded = loaded
        self._clock = clock
        self._stored_or_none = stored
        self._manifests: dict[str, tuple[Manifest, str]] = {}
        self._reading = SharedWork[None]()
        self._one_at_a_time = asyncio.Lock()
        self._known = KnownRoster()

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

    async def _read_manifest(self, bundles: ModelStore, version: str) -> None:
        """Read a manifest: one at a time, since a store that stalls must not take the threads of other work."""
        async with self._one_at_a_time:
            with contextlib.suppress(BundleError):
                manifest, sha256 = await asyncio.to_thread(
                    lambda: (bundles.manifest(version), bundles.manifest_sha256(version))
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
        return response(model=model, change=None if change is None else models.change_message(change))

    async def compare_models(self, request: pb.CompareModelsRequest, caller: Caller) -> pb.CompareModelsResponse:
        """Compare two models on the games that both forecast."""
        stored = self._stored
        roster = await stored.reads.look_up(self._known.read, caller.turn)
        pair = _pair(request, roster)
        anchor = roster.anchor if pair.against_version == roster.champion else ""

        def build(connection: Connection) -> pb.CompareModelsResponse:
            found, compared = judged(connection, pair, stored.gate, anchor)
            message = models.comparison_message(pair, compared[pair.horizon], found, stored.gate)
            return pb.CompareModelsResponse(comparison=message)

        # Settled pairs change only with the outcomes, since no shadow is recorded once the outcome is.
        return await stored.reads.get((pair, anchor), build, caller.turn, compares=True)

    async def list_model_changes(
        self, request: pb.ListModelChangesRequest, caller: Caller
    ) -> pb.ListModelChangesResponse:
        """List the changes of models, newest first."""
        size = page_size(request.page_size)
        page = partial(self._changes, name=request.model_version, token=request.page_token, size=size)
        changes, token = await self._stored.reads.look_up(page, caller.turn)
        return pb.ListModelChangesResponse(changes=map(models.change_message, changes), next_page_token=token)

    def _changes(self, connection: Connection, name: str, token: str, size: int) -> tuple[list[ModelChange], str]:
        """Return a page of changes, and the token of the next one."""
        with sql.snapshot(connection):
            identity = store.identity(connection)
            version = self._known.read(connection).version_of(name) if name else ""
            digest = hashlib.blake2b(_CHANGES + version.encode(), digest_size=DIGEST_BYTES).digest()
            before = pages.decode_token(token, identity, digest).before.sequence if token else None
            found = newest_changes(connection, size + 1, before, version)
        if len(found) <= size:
            return found, ""
        last = found[size - 1].sequence
        return found[:size], pages.encode_token(identity, digest, PageCursor(last, Cursor(0, last)))


def _pair(request: pb.CompareModelsRequest, roster: Roster) -> ModelPair:
    """Return the models of a request by their versions, and its horizon."""
    horizon = horizon_of(request.horizon)
    model = _version(request.model_version or CHALLENGER, roster, "model_version")
    against = request.against_version or CHAMPION
    if against != PERSISTENCE:
        against = _version(against, roster, "against_version")
    if model == against:
        raise InvalidComparison(f"{model}, the same model", "another one", field="against_version")
    return ModelPair(model, against, horizon, request.include_replays)


def _version(name: str, roster: Roster, field: str) -> str:
    """Return the version of a registered model.

    Raises:
        NotRegistered: if there is no such model; names the field.
    """
    try:
        version = roster.version_of(name)
        roster.stage_of(version)
    except NotRegistered as error:
        error.rename(field)
        raise
    return version


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
