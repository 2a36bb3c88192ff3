"""Responses from forecasts: a column of values for each output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dejavu.inference import open_inference_pb2 as pb
from dejavu_models.errors import UnsupportedTotals, quoted
from dejavu_models.types import Forecast
from dejavu_server.api.inference.inference_errors import InvalidTensor
from dejavu_server.api.inference.specification import LEVELS, MODEL_NAME, OUTPUTS
from dejavu_server.api.inference.tensors import Tensors, add_output, check_parameters


def requested_outputs(request: pb.ModelInferRequest, tensors: Tensors, *, totals: bool) -> Sequence[str]:
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


def infer_response(
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
