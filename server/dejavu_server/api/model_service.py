"""ModelService: the models that the server holds."""

from __future__ import annotations

import grpc

from dejavu.v1 import model_service_pb2 as models_pb
from dejavu_models.registry.registry import Registry
from dejavu_server.api.converters import prediction
from dejavu_server.api.prediction_service import Context

MODEL_SERVICE = models_pb.DESCRIPTOR.services_by_name["ModelService"].full_name


class ModelService:
    """Tells which models the server holds; the answer is made once."""

    def __init__(self, registry: Registry) -> None:
        self._answer = models_pb.ListModelsResponse(
            models=[prediction.model_message(info, active=place == 0) for place, info in enumerate(registry.models())]
        )

    async def list_models(self, _: models_pb.ListModelsRequest, __: Context) -> models_pb.ListModelsResponse:
        """Lists the models, the active one first."""
        return self._answer

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service's methods, for a server to be given."""
        return grpc.method_handlers_generic_handler(
            MODEL_SERVICE,
            {
                "ListModels": grpc.unary_unary_rpc_method_handler(
                    self.list_models,
                    models_pb.ListModelsRequest.FromString,
                    models_pb.ListModelsResponse.SerializeToString,
                )
            },
        )
