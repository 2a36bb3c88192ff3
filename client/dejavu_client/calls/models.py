"""Model calls of the synchronous client, generated from aio_models.py by `make gen`: edit that file instead."""

from __future__ import annotations

from typing import Final

from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, Horizon
from dejavu.v1.model_comparison_pb2 import ModelComparison
from dejavu.v1.model_service_pb2 import (
    CompareModelsRequest,
    GetModelRequest,
    GetModelResponse,
    ListModelChangesRequest,
    ListModelChangesResponse,
    ListModelsRequest,
    LoadModelRequest,
    LoadModelResponse,
    Model,
    PromoteModelRequest,
    PromoteModelResponse,
    RetireModelRequest,
    RetireModelResponse,
    RollbackModelRequest,
    RollbackModelResponse,
    UnloadModelRequest,
    UnloadModelResponse,
)
from dejavu_client import config
from dejavu_client.transport.caller import Caller

ALIASES: Final = frozenset({"champion", "challenger", "previous"})
"""Aliases of versions."""


class ModelCalls(Caller):
    """The methods of DejavuClient for a server's models.

    A model is named by its version or by an alias: champion, challenger or previous. Every change is safe to repeat:
    if there is nothing to change, the answer has the models as they are, without a `change`. A change by alias first
    resolves the alias to a version, so that a repeated request changes the same model.
    """

    def _version(self, name: str, timeout: float | None) -> str:
        """Return the version that an alias stands for; return any other name unchanged."""
        return (self.get_model(name, timeout=timeout)).model.version if name in ALIASES else name

    def list_models(self, *, timeout: float | None = None) -> list[Model]:
        """List the models, the active one first: the loaded ones and, with a model store, all registered ones.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        response = self._unary("ListModels", lambda stubs: stubs.models.ListModels, ListModelsRequest(), timeout)
        return list(response.models)

    def get_model(self, model_version: str = "", *, timeout: float | None = None) -> GetModelResponse:
        """Return a model, its lineage, and the workers that have it loaded.

        Args:
            model_version: version of the model, or an alias; empty for the champion.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            NotFoundError: if the model is not registered.
        """
        request = GetModelRequest(model_version=model_version)
        return self._unary("GetModel", lambda stubs: stubs.models.GetModel, request, timeout)

    def load_model(
        self, model_version: str, *, reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> LoadModelResponse:
        """Stage a model: every worker loads it and makes shadow forecasts with it. Registers it if it is new.

        Args:
            model_version: its version. Its bundle must be in the server's model store, where `dejavu-trainer publish`
                puts it.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if its bundle is not in the store, incomplete, altered or unfit, or if a worker
                cannot load the model; nothing is changed then.
        """
        request = LoadModelRequest(model_version=model_version, reason=reason)
        return self._unary("LoadModel", lambda stubs: stubs.models.LoadModel, request, timeout)

    def unload_model(
        self, model_version: str, *, reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> UnloadModelResponse:
        """Unstage a model; its stage becomes none.

        Args:
            model_version: its version, or an alias.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if it answers requests.
        """
        version = self._version(model_version, timeout)
        request = UnloadModelRequest(model_version=version, reason=reason)
        return self._unary("UnloadModel", lambda stubs: stubs.models.UnloadModel, request, timeout)

    def promote_model(
        self,
        model_version: str,
        *,
        reason: str = "",
        force: bool = False,
        timeout: float | None = config.MODELS_TIMEOUT,
    ) -> PromoteModelResponse:
        """Make a staged model the champion on all workers, from one position of the ledger on.

        Args:
            model_version: its version, or an alias.
            reason: why, for people; at most 500 characters.
            force: whether to promote it without evidence; the ledger records that the change was forced.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if the evidence does not suffice, or the model is not staged.
        """
        version = self._version(model_version, timeout)
        request = PromoteModelRequest(model_version=version, reason=reason, force=force)
        return self._unary("PromoteModel", lambda stubs: stubs.models.PromoteModel, request, timeout)

    def rollback_model(
        self, *, from_version: str = "", reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> RollbackModelResponse:
        """Make the previous model the champion again, and retire the model that had replaced it.

        Args:
            from_version: the champion to be replaced, so that a repeated call does not roll back twice; empty for the
                champion at the time of the call.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if there is no previous model.
        """
        champion = from_version or self._version("champion", timeout)
        request = RollbackModelRequest(from_version=champion, reason=reason)
        return self._unary("RollbackModel", lambda stubs: stubs.models.RollbackModel, request, timeout)

    def retire_model(
        self, model_version: str, *, reason: str = "", timeout: float | None = config.MODELS_TIMEOUT
    ) -> RetireModelResponse:
        """Retire a model that answers no requests.

        Args:
            model_version: its version, or an alias.
            reason: why, for people; at most 500 characters.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.

        Raises:
            FailedPreconditionError: if it answers requests.
        """
        version = self._version(model_version, timeout)
        request = RetireModelRequest(model_version=version, reason=reason)
        return self._unary("RetireModel", lambda stubs: stubs.models.RetireModel, request, timeout)

    def compare_models(
        self,
        model_version: str = "",
        against_version: str = "",
        *,
        horizon: Horizon.ValueType = HORIZON_HALFTIME,
        include_replays: bool = False,
        timeout: float | None = config.SCORES_TIMEOUT,
    ) -> ModelComparison:
        """Compare two models on exactly the same games and minutes.

        Args:
            model_version: version of the model, or an alias; empty for the challenger.
            against_version: the other model: a version, an alias or "persistence"; empty for the champion.
            horizon: `HALFTIME` or `FINAL`; `HALFTIME` by default.
            include_replays: whether to include games of replays and simulated seasons.
            timeout: deadline of this call, in seconds; longer by default than for other calls. None for the client's.
        """
        request = CompareModelsRequest(
            model_version=model_version,
            against_version=against_version,
            horizon=horizon,
            include_replays=include_replays,
        )
        response = self._unary("CompareModels", lambda stubs: stubs.models.CompareModels, request, timeout)
        return response.comparison

    def list_model_changes(
        self,
        *,
        model_version: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> ListModelChangesResponse:
        """Return a page of the changes of models in the ledger, newest first.

        Args:
            model_version: version of the model, or an alias; empty for all.
            page_size: changes on the page, 1 to 500; 0 for the server's default, 50.
            page_token: `next_page_token` of the page before; empty for the newest changes.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = ListModelChangesRequest(model_version=model_version, page_size=page_size, page_token=page_token)
        return self._unary("ListModelChanges", lambda stubs: stubs.models.ListModelChanges, request, timeout)
