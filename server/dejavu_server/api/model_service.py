"""ModelService: lists the loaded models."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dejavu.v1 import model_service_pb2 as models_pb
from dejavu_common.clock import utc_now
from dejavu_feed.game_day import game_day
from dejavu_models.registry.registry import Registry
from dejavu_server.api.converters import prediction
from dejavu_server.api.handlers import Context

MODEL_SERVICE = models_pb.DESCRIPTOR.services_by_name["ModelService"]


class ModelService:
    """Lists the loaded models.

    Args:
        registry: the models.
        clock: returns the current time, aware and in UTC.
    """

    def __init__(self, registry: Registry, clock: Callable[[], datetime] = utc_now) -> None:
        self._registry = registry
        self._clock = clock

    async def list_models(self, _: models_pb.ListModelsRequest, __: Context) -> models_pb.ListModelsResponse:
        """Lists the models, the active one first."""
        today = game_day(self._clock())
        infos = self._registry.models()
        return models_pb.ListModelsResponse(
            models=[prediction.model_message(info, today, active=index == 0) for index, info in enumerate(infos)]
        )
