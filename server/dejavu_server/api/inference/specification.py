"""Names, datatypes and shapes of the tensors, which metadata, readers and answers share; errors of requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from dejavu.inference import open_inference_pb2 as pb
from dejavu_feed import live_inputs
from dejavu_models.errors import FieldError, InvalidInput
from dejavu_models.types import Forecast, TotalForecast
from dejavu_server.api.converters.prediction import MAX_BATCH

MODEL_NAME: Final = "dejavu"
"""Name of the model; the models of a server are versions of it."""

PLATFORM: Final = "dejavu_bundle"
"""Platform of its versions, as the protocol writes it: project and format."""

MAX_ROWS: Final = MAX_BATCH
"""Maximum number of rows of a request: as many as a PredictBatch may have requests."""

MAX_ID: Final = 1024
"""Maximum length of the id of a request, in characters; it is sent back."""

TEXT: Final = "BYTES"
"""Datatype of texts; inputs of any other one accept all numeric datatypes."""

PATTERN: Final = "pattern"
LEVELS: Final = "quantile_levels"
TOTAL_POINTS: Final = "total_points"


class InvalidTensor(InvalidInput, reason="INVALID_TENSOR", field="inputs"):
    """A tensor is missing, unknown or given twice, or its datatype, shape, contents or a value of it is wrong."""


class InvalidParameter(InvalidInput, reason="INVALID_PARAMETER", field="parameters"):
    """A parameter is unknown, or of the wrong type."""


class InvalidRequestId(InvalidInput, reason="INVALID_REQUEST_ID", field="id"):
    """The id of a request is too long."""


class UnknownModelName(FieldError, reason="UNKNOWN_MODEL", field="model_name", category="NOT_FOUND"):
    """There is no model of this name."""


class InputTensor(NamedTuple):
    """An input.

    Attributes:
        datatype: datatype that metadata recommend.
        shape: as metadata describe it.
    """

    datatype: str
    shape: tuple[int, ...] = (-1,)


class OutputTensor(NamedTuple):
    """An output, of datatype FP64.

    Attributes:
        value: returns the value of a forecast, or one for each level; NaN if it has none.
        needs: names of the inputs without which there is no such output.
    """

    value: Callable[[Forecast], float | Sequence[float]]
    needs: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as metadata describe it."""
        return (-1, -1) if LEVELS in self.needs else (-1,)

    @property
    def of_totals(self) -> bool:
        """Whether only models of total points have it."""
        return TOTAL_POINTS in self.needs


def _datatype(part: live_inputs.InputPart) -> str:
    if part.is_enum:
        return TEXT
    return "INT32" if issubclass(part.kind, int) else "FP64"


def _of_total(
    value: Callable[[TotalForecast], float | Sequence[float]],
) -> Callable[[Forecast], float | Sequence[float]]:
    return lambda forecast: math.nan if forecast.total is None else value(forecast.total)


INPUTS: Final = {
    PATTERN: InputTensor("FP64", (-1, -1)),
    "horizon": InputTensor(TEXT),
    "alpha": InputTensor("FP64"),
    "home_team": InputTensor(TEXT),
    "away_team": InputTensor(TEXT),
    "pregame_margin": InputTensor("FP64"),
    "game_date": InputTensor(TEXT),
    **{name: InputTensor(_datatype(part)) for name, part in live_inputs.COLUMNS.items()},
    LEVELS: InputTensor("FP64"),
}
"""Inputs by name; all but the pattern are optional. Pattern and levels excepted, each has one value for each row."""

OUTPUTS: Final = {
    "point": OutputTensor(lambda forecast: forecast.point),
    "lower": OutputTensor(lambda forecast: forecast.interval.lower),
    "upper": OutputTensor(lambda forecast: forecast.interval.upper),
    "home_lead_probability": OutputTensor(lambda forecast: forecast.home_lead_probability),
    "expected_margin": OutputTensor(
        lambda forecast: math.nan if forecast.expected_margin is None else forecast.expected_margin
    ),
    "quantiles": OutputTensor(lambda forecast: [each.value for each in forecast.quantiles], (LEVELS,)),
    "total_point": OutputTensor(_of_total(lambda total: total.point), (TOTAL_POINTS,)),
    "total_lower": OutputTensor(_of_total(lambda total: total.interval.lower), (TOTAL_POINTS,)),
    "total_upper": OutputTensor(_of_total(lambda total: total.interval.upper), (TOTAL_POINTS,)),
    "total_quantiles": OutputTensor(
        _of_total(lambda total: [each.value for each in total.quantiles]), (TOTAL_POINTS, LEVELS)
    ),
}
"""Outputs by name."""


def model_metadata(versions: tuple[str, ...], *, totals: bool) -> pb.ModelMetadataResponse:
    """Describe the model.

    Args:
        versions: its loaded versions, the active one first.
        totals: whether the requested version forecasts total points.
    """
    response = pb.ModelMetadataResponse(name=MODEL_NAME, versions=versions, platform=PLATFORM)
    for name, tensor in INPUTS.items():
        response.inputs.add(name=name, datatype=tensor.datatype, shape=tensor.shape)
    for name, output in OUTPUTS.items():
        if totals or not output.of_totals:
            response.outputs.add(name=name, datatype="FP64", shape=output.shape)
    return response
