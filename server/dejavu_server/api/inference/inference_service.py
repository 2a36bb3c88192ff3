"""GRPCInferenceService of the Open Inference Protocol. The interceptor maps errors to statuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dejavu.inference import open_inference_pb2 as pb
from dejavu_common import build
from dejavu_common.clock import game_day, utc_now
from dejavu_common.tasks import Turns
from dejavu_ledger.records import IssuedForecast
from dejavu_models.errors import FieldError, UnsupportedTotals, quoted
from dejavu_models.results import Failed, Result
from dejavu_models.types import Forecast
from dejavu_server.api.health import HealthService
from dejavu_server.api.inference.queries import RowReader
from dejavu_server.api.inference.specification import (
    LEVELS,
    MAX_ID,
    MODEL_NAME,
    OUTPUTS,
    InvalidRequestId,
    InvalidTensor,
    UnknownModelName,
    model_metadata,
)
from dejavu_server.api.inference.tensors import Tensors, add_output, check_parameters, read_inputs
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
        outputs = _requested_outputs(request, tensors, totals=model.info.totals)
        # By its version, not by an alias: one model answers all rows, even if models are changed meanwhile.
        reader = RowReader(request, tensors, model.version, game_day(self._clock()))
        turns = Turns()
        requests = await turns.map(reader.read, range(tensors.rows))
        results: list[Result[IssuedForecast]] = []
        for start in range(0, tensors.rows, CHUNK):
            results += await self._forecasts.forecast_many(requests[start : start + CHUNK], caller)
        forecasts = await turns.map(partial(_forecast, reader), range(tensors.rows), results)
        return _response(request, forecasts, outputs, tensors)

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


def _requested_outputs(request: pb.ModelInferRequest, tensors: Tensors, *, totals: bool) -> Sequence[str]:
    """Return the names of the requested outputs; all available ones if the request names none.

    Args:
        request: the request.
        tensors: its inputs.
        totals: whether its model forecasts total points.

    Raises:
        InvalidTensor: if it names an output that is unknown, one twice, or one without the input that it needs.
        InvalidParameter: if it has a parameter for an output.
        UnsupportedTotals: if it names an output that the model does not have.
    """
    available = [
        name
        for name, output in OUTPUTS.items()
        if (totals or not output.of_totals) and all(each in tensors.values for each in output.needs)
    ]
    if not request.outputs:
        return available
    names: list[str] = []
    for index, requested in enumerate(request.outputs):
        name, field = requested.name, f"outputs[{index}].name"
        if name not in OUTPUTS:
            raise InvalidTensor(quoted(name), f"one of {', '.join(OUTPUTS)}", field=field)
        if name in names:
            raise InvalidTensor(f"{name!r} again", "each output once", field=field)
        check_parameters(requested.parameters, (), f"{name}.parameters")
        if name not in available:
            needs = [each for each in OUTPUTS[name].needs if each not in tensors.values]
            if needs:
                raise InvalidTensor(f"{name!r}", f"the input {' and '.join(needs)} beside it", field=field)
            raise UnsupportedTotals(f"{name!r}", "a model that forecasts total points", field=field)
        names.append(name)
    return names


def _response(
    request: pb.ModelInferRequest, forecasts: Sequence[Forecast], outputs: Sequence[str], tensors: Tensors
) -> pb.ModelInferResponse:
    """Return the response to a request; its contents are raw if those of the request were.

    Args:
        request: the request.
        forecasts: the forecasts of its rows, all of one model; at least one.
        outputs: names of the tensors to return.
        tensors: its inputs.
    """
    response = pb.ModelInferResponse(model_name=MODEL_NAME, model_version=forecasts[0].model_version, id=request.id)
    for name in outputs:
        add_output(response, name, _values(name, forecasts, tensors), raw=tensors.raw)
    return response


def _values(name: str, forecasts: Sequence[Forecast], tensors: Tensors) -> NDArray[np.float64]:
    value = OUTPUTS[name].value
    if LEVELS not in OUTPUTS[name].needs:
        return np.fromiter(map(value, forecasts), np.float64, len(forecasts))
    table = np.empty((len(forecasts), len(tensors.values[LEVELS])))
    for row, forecast in enumerate(forecasts):
        table[row] = value(forecast)
    return table
