"""GRPCInferenceService of the Open Inference Protocol. The interceptor maps errors to statuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from dejavu.inference import open_inference_pb2 as pb
from dejavu_common import build
from dejavu_common.clock import game_day, utc_now
from dejavu_common.tasks import Turns
from dejavu_ledger.records import IssuedForecast
from dejavu_models.errors import FieldError, quoted
from dejavu_models.results import Failed, Result
from dejavu_models.types import Forecast
from dejavu_server.api.health import HealthService
from dejavu_server.api.inference.answers import infer_response, requested_outputs
from dejavu_server.api.inference.inference_errors import InvalidRequestId, UnknownModelName
from dejavu_server.api.inference.queries import RowReader
from dejavu_server.api.inference.specification import MAX_ID, MODEL_NAME, model_metadata
from dejavu_server.api.inference.tensors import read_inputs
from dejavu_server.forecasting.batcher import CHUNK
from dejavu_server.forecasting.forecast_service import ForecastService
from dejavu_server.forecasting.lifecycle.lifecycle_errors import NotLoaded
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.limits import Caller

INFERENCE_SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]

SERVER_NAME = "dejavu-server"


class OpenInferenceService:
    """Serves forecasts as tensors; they are what-ifs, none is recorded.

    Args:
        forecast_service: makes the forecasts.
        models: the models of the worker.
        health: whether the server is ready.
        clock: returns the current time, aware and in UTC.
    """

    def __init__(
        self,
        forecast_service: ForecastService,
        models: ServingModels,
        health: HealthService,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._forecasts = forecast_service
        self._models = models
        self._health = health
        self._clock = clock

    async def server_live(self, _: pb.ServerLiveRequest, __: Caller) -> pb.ServerLiveResponse:
        """Confirm that the server lives."""
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, _: pb.ServerReadyRequest, __: Caller) -> pb.ServerReadyResponse:
        """Return whether the server is ready."""
        return pb.ServerReadyResponse(ready=self._health.is_serving)

    async def model_ready(self, request: pb.ModelReadyRequest, _: Caller) -> pb.ModelReadyResponse:
        """Return whether a model is ready; raise UnknownModelName or UnknownModel if there is no such model."""
        _check_name(request.name, "name")
        if not self._health.is_serving:
            return pb.ModelReadyResponse(ready=False)
        try:
            self._has_totals(request.version)
        except NotLoaded:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def server_metadata(self, _: pb.ServerMetadataRequest, __: Caller) -> pb.ServerMetadataResponse:
        """Return name and version of the server."""
        return pb.ServerMetadataResponse(name=SERVER_NAME, version=build.release())

    async def model_metadata(self, request: pb.ModelMetadataRequest, _: Caller) -> pb.ModelMetadataResponse:
        """Return versions and tensors of a model."""
        _check_name(request.name, "name")
        return model_metadata(self._models.versions, totals=self._has_totals(request.version))

    async def model_infer(self, request: pb.ModelInferRequest, caller: Caller) -> pb.ModelInferResponse:
        """Forecast the rows of a request."""
        _check_name(request.model_name, "model_name")
        if len(request.id) > MAX_ID:
            raise InvalidRequestId(f"{len(request.id)} characters", f"at most {MAX_ID}")
        tensors = read_inputs(request)
        model = self._models.get(request.model_version)
        outputs = requested_outputs(request, tensors, totals=model.info.totals)
        # By its version, not by an alias: one model answers all rows, even if models are changed meanwhile.
        reader = RowReader(request, tensors, model.version, game_day(self._clock()))
        turns = Turns()
        requests = await turns.map(reader.read, range(tensors.rows))
        results: list[Result[IssuedForecast]] = []
        for start in range(0, tensors.rows, CHUNK):
            results += await self._forecasts.forecast_many(requests[start : start + CHUNK], caller)
        forecasts = await turns.map(partial(_forecast, reader), range(tensors.rows), results)
        return infer_response(request, forecasts, outputs, tensors)

    def _has_totals(self, model_version: str) -> bool:
        """Return whether a model forecasts total points.

        Raises:
            UnknownModel, NotRegistered, NotLoaded: if there is no such model, or it is not loaded; names `version`.
        """
        try:
            return self._models.get(model_version).info.totals
        except FieldError as error:
            error.rename("version")
            raise


def _check_name(name: str, field: str) -> None:
    if name != MODEL_NAME:
        raise UnknownModelName(quoted(name), MODEL_NAME, field=field)


def _forecast(reader: RowReader, row: int, result: Result[IssuedForecast]) -> Forecast:
    if isinstance(result, Failed):
        if isinstance(result.error, FieldError):
            reader.name_row(result.error, row)
        raise result.error
    return result.forecast
