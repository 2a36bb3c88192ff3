"""ModelService: lists the loaded models."""

from __future__ import annotations

from dejavu.v1 import model_service_pb2 as models_pb
from dejavu_models.registry.registry import Registry
from dejavu_server.api.converters import prediction
from dejavu_server.api.handlers import Context

MODEL_SERVICE = models_pb.DESCRIPTOR.services_by_name["ModelService"]


class ModelService:
    """Lists the loaded models; builds the response once."""

    def __init__(self, registry: Registry) -> None:
        self._response = models_pb.ListModelsResponse(
            models=[prediction.model_message(info, active=index == 0) for index, info in enumerate(registry.models())]
        )

    async def list_models(self, _: models_pb.ListModelsRequest, __: Context) -> models_pb.ListModelsResponse:
        """Lists the models, the active one first."""
        return self._response
