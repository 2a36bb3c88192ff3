"""ModelService: lists the models, and changes which of them answers. The interceptor maps errors to statuses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import datetime

from dejavu.v1 import model_service_pb2 as pb
from dejavu_common.clock import utc_now
from dejavu_feed.game_day import game_day
from dejavu_models.registry.registry import Registry
from dejavu_server.api.converters import prediction
from dejavu_server.api.handlers import Context
from dejavu_server.forecasting.lifecycle.errors import NoModelStore

MODEL_SERVICE = pb.DESCRIPTOR.services_by_name["ModelService"]


class ModelService:
    """Lists the loaded models.

    Args:
        registry: the models.
        clock: returns the current time, aware and in UTC.
    """

    def __init__(self, registry: Registry, clock: Callable[[], datetime] = utc_now) -> None:
        self._registry = registry
        self._clock = clock

    async def list_models(self, _: pb.ListModelsRequest, __: Context) -> pb.ListModelsResponse:
        """Lists the models, the active one first."""
        today = game_day(self._clock())
        infos = self._registry.models()
        return pb.ListModelsResponse(
            models=[prediction.model_message(info, today, active=index == 0) for index, info in enumerate(infos)]
        )

    async def get_model(self, request: pb.GetModelRequest, _: Context) -> pb.GetModelResponse:
        """Returns a loaded model."""
        today, version = game_day(self._clock()), request.model_version
        info = self._registry.get(version).info
        active = info.version == self._registry.get().version
        return pb.GetModelResponse(model=prediction.model_message(info, today, active=active))

    def register_bundle(
        self, _: AsyncIterator[pb.RegisterBundleRequest], __: Context
    ) -> AsyncGenerator[pb.RegisterBundleResponse, None]:
        """Uploads a bundle."""
        raise NoModelStore

    async def load_model(self, _: pb.LoadModelRequest, __: Context) -> pb.LoadModelResponse:
        """Stages a model."""
        raise NoModelStore

    async def unload_model(self, _: pb.UnloadModelRequest, __: Context) -> pb.UnloadModelResponse:
        """Takes a staged model back."""
        raise NoModelStore

    async def promote_model(self, _: pb.PromoteModelRequest, __: Context) -> pb.PromoteModelResponse:
        """Makes a model the champion."""
        raise NoModelStore

    async def rollback_model(self, _: pb.RollbackModelRequest, __: Context) -> pb.RollbackModelResponse:
        """Makes the previous model the champion again."""
        raise NoModelStore

    async def retire_model(self, _: pb.RetireModelRequest, __: Context) -> pb.RetireModelResponse:
        """Retires a model."""
        raise NoModelStore

    async def route_games(self, _: pb.RouteGamesRequest, __: Context) -> pb.RouteGamesResponse:
        """Sets the shares of games."""
        raise NoModelStore

    async def compare_models(self, _: pb.CompareModelsRequest, __: Context) -> pb.CompareModelsResponse:
        """Compares two models."""
        raise NoModelStore

    async def list_model_changes(self, _: pb.ListModelChangesRequest, __: Context) -> pb.ListModelChangesResponse:
        """Lists the changes of models."""
        raise NoModelStore
