"""Names, datatypes and shapes of the tensors; the one table that metadata and readers share."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from dejavu.inference import open_inference_pb2 as pb
from dejavu_feed import live_inputs
from dejavu_server.api.converters.prediction import MAX_BATCH

MODEL_NAME: Final = "dejavu"
"""Name of the model; the models of a server are versions of it."""

PLATFORM: Final = "dejavu_bundle"
"""Platform of its versions, as the protocol writes it: project and format."""

MAX_ROWS: Final = MAX_BATCH
"""Maximum number of rows of a request: as many as a PredictBatch may have requests."""

MAX_ID: Final = 1024
"""Maximum length of the id of a request, in characters; it is sent back."""


class ValueKind(enum.Enum):
    """Kind of the values of an input."""

    NUMBER = "number"
    TEXT = "text"


class InputTensor(NamedTuple):
    """An input.

    Attributes:
        kind: kind of its values; numbers may be of any numeric datatype.
        datatype: datatype that metadata recommend.
        per_row: whether it has one value for each row.
        shape: as metadata describe it.
    """

    kind: ValueKind
    datatype: str
    per_row: bool = True
    shape: tuple[int, ...] = (-1,)


class OutputTensor(NamedTuple):
    """An output, of datatype FP64.

    Attributes:
        shape: as metadata describe it.
        needs: names of the inputs without which there is no such output.
        of_totals: whether only models of total points have it.
    """

    shape: tuple[int, ...] = (-1,)
    needs: tuple[str, ...] = ()
    of_totals: bool = False


def _live_tensor(part: live_inputs.InputPart) -> InputTensor:
    if part.is_enum:
        return InputTensor(ValueKind.TEXT, "BYTES")
    return InputTensor(ValueKind.NUMBER, "INT32" if issubclass(part.kind, int) else "FP64")


PATTERN: Final = "pattern"
LEVELS: Final = "quantile_levels"
TOTAL_POINTS: Final = "total_points"

INPUTS: Final = {
    PATTERN: InputTensor(ValueKind.NUMBER, "FP64", per_row=False, shape=(-1, -1)),
    "horizon": InputTensor(ValueKind.TEXT, "BYTES"),
    "alpha": InputTensor(ValueKind.NUMBER, "FP64"),
    "home_team": InputTensor(ValueKind.TEXT, "BYTES"),
    "away_team": InputTensor(ValueKind.TEXT, "BYTES"),
    "pregame_margin": InputTensor(ValueKind.NUMBER, "FP64"),
    "game_date": InputTensor(ValueKind.TEXT, "BYTES"),
    **{name: _live_tensor(part) for name, part in live_inputs.COLUMNS.items()},
    LEVELS: InputTensor(ValueKind.NUMBER, "FP64", per_row=False),
}
"""Inputs by name; all but the pattern are optional."""

OUTPUTS: Final = {
    "point": OutputTensor(),
    "lower": OutputTensor(),
    "upper": OutputTensor(),
    "home_lead_probability": OutputTensor(),
    "expected_margin": OutputTensor(),
    "quantiles": OutputTensor((-1, -1), needs=(LEVELS,)),
    "total_point": OutputTensor(needs=(TOTAL_POINTS,), of_totals=True),
    "total_lower": OutputTensor(needs=(TOTAL_POINTS,), of_totals=True),
    "total_upper": OutputTensor(needs=(TOTAL_POINTS,), of_totals=True),
    "total_quantiles": OutputTensor((-1, -1), needs=(TOTAL_POINTS, LEVELS), of_totals=True),
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
