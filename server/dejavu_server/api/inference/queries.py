"""PredictRequests from tensors, one for each row. The converter of PredictRequests checks whether they are valid."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from numpy.typing import NDArray

from dejavu.inference import open_inference_pb2 as pb
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_feed.live_inputs import COLUMNS, LIVE_INPUTS
from dejavu_models.errors import FieldError, InvalidHorizon, InvalidInput, InvalidLiveInput, quoted
from dejavu_server.api.converters.prediction import forecast_request
from dejavu_server.api.inference.specification import INPUTS, LEVELS, PATTERN, InvalidParameter, InvalidTensor
from dejavu_server.api.inference.tensors import Tensors, check_parameters
from dejavu_server.forecast_request import ForecastRequest

_MAX_NUMBER: Final = 32
_MAX_WHOLE: Final = 2**31 - 1

_PLAIN: Final = frozenset({FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_STRING})
"""Types of fields that take the values of a tensor as they are."""

_NOT_GIVEN: Final = -1
"""Integer for a missing value; a missing float is NaN, and a missing text is empty."""

_PLAIN_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""Texts that are numbers in every client; float() also takes "1_0", " 1", "nan" and the digits of other scripts."""

_INDEXED: Final = re.compile(r"(\w+)(\[\d+\])")


class _Target(NamedTuple):
    """The field of a PredictRequest that an input sets.

    Attributes:
        path: the field as errors name it: `last_score.side`.
        holder: name of the message that has the field, in the request; empty: the request itself.
        name: name of the field.
        type: its type, of FieldDescriptor.
        choices: numbers of an enum's values by their texts; empty for other types.
    """

    path: str
    holder: str
    name: str
    type: int
    choices: Mapping[str, int]

    @classmethod
    def of(cls, path: str) -> _Target:
        """Return the target of a path."""
        holder, _, name = path.rpartition(".")
        message: Any = PredictRequest.DESCRIPTOR
        field = (message.fields_by_name[holder].message_type if holder else message).fields_by_name[name]
        unspecified, *values = field.enum_type.values if field.enum_type else (None,)
        prefix = unspecified.name.removesuffix("UNSPECIFIED") if unspecified else ""
        choices = {each.name.removeprefix(prefix).lower(): each.number for each in values}
        return cls(path, holder, name, field.type, choices)

    def value(self, given: Any) -> Any:
        """Return the value of a row for the field; None if it is not given.

        Raises:
            InvalidHorizon, InvalidLiveInput: if the field cannot have it.
        """
        if given == "" or given != given:  # noqa: PLR0124 - NaN
            return None
        if self.choices:
            if given not in self.choices:
                raise self.fault(quoted(given), " or ".join(self.choices))
            return self.choices[given]
        if self.type in _PLAIN:
            return given
        if given == _NOT_GIVEN:
            return None
        if self.type == FieldDescriptor.TYPE_BOOL:
            if given not in (0, 1):
                raise self.fault(f"{given:g}", "0 or 1")
            return bool(given)
        if not abs(given) <= _MAX_WHOLE or given != int(given):
            raise self.fault(f"{given}", "a whole number of 32 bits")
        return int(given)

    def set(self, message: PredictRequest, value: Any) -> None:
        """Set the field."""
        setattr(getattr(message, self.holder) if self.holder else message, self.name, value)

    def fault(self, found: str, expected: str) -> InvalidInput:
        """Return the error of a value."""
        return (InvalidHorizon if self.path == "horizon" else InvalidLiveInput)(found, expected, self.path)


_TARGETS: Final = {
    **{name: _Target.of(name) for name in INPUTS if name in PredictRequest.DESCRIPTOR.fields_by_name},
    **{
        column: _Target.of(field)
        for each in LIVE_INPUTS
        for column, field in zip(each.columns, each.fields, strict=True)
    },
}
"""Target of each input."""

_GROUPS: Final = (
    *((name,) for name in _TARGETS if name not in {PATTERN, LEVELS, *COLUMNS}),
    *(each.columns for each in LIVE_INPUTS),
)
"""Inputs that are given together or not at all: those of a live input. The first one tells whether they are given."""


class RowReader:
    """Reads the rows of a request.

    Args:
        request: the request.
        tensors: its inputs.
        model_version: the model that is to answer.
        today: date of the games for which none is given.

    Raises:
        InvalidParameter, InvalidTensor, InvalidHorizon: if a value for all rows is invalid.
    """

    def __init__(self, request: pb.ModelInferRequest, tensors: Tensors, model_version: str, today: date) -> None:
        self._today = today
        values = tensors.values
        self._pattern: NDArray[Any] = values[PATTERN]
        self._common = PredictRequest(model_version=model_version, quantile_levels=values.get(LEVELS, ()))
        check_parameters(request.parameters, tuple(PARAMETERS), "parameters")
        for name, parameter in request.parameters.items():
            if name in values:
                raise InvalidParameter("given beside the input of this name", "one of them", f"parameters.{name}")
            setattr(self._common, name, PARAMETERS[name](parameter))
        self._in_parameters = frozenset(request.parameters)
        given = [group for group in _GROUPS if not values.keys().isdisjoint(group)]
        for group in given:
            if not values.keys() >= {*group}:
                raise InvalidTensor(f"not all of {' and '.join(group)}", "all, or none")
        self._groups = [[(_TARGETS[name], _column(values[name])) for name in group] for group in given]

    def read(self, row: int) -> ForecastRequest:
        """Return the request of a row.

        Raises:
            InvalidInput: if a value is invalid; names the tensor and the row, and `others` has further errors.
        """
        try:
            return forecast_request(self._message(row), self._today)
        except FieldError as error:
            self.name_row(error, row)
            raise

    def name_row(self, error: FieldError, row: int) -> None:
        """Make an error name the tensor or the parameter that has the field, and the row."""
        for each in (error, *error.others):
            each.rename(self._place(each.field, row))

    def _place(self, field: str, row: int) -> str:
        name = field.replace(".", "_")  # last_score.side
        if name in self._in_parameters:
            return f"parameters.{name}"
        if name.startswith(LEVELS) or name == "model_version":
            return name
        indexed = _INDEXED.fullmatch(name)
        return f"{indexed[1]}[{row}]{indexed[2]}" if indexed else f"{name}[{row}]"

    def _message(self, row: int) -> PredictRequest:
        message = PredictRequest()
        message.CopyFrom(self._common)
        message.pattern.extend(_without_padding(self._pattern[row].tolist()))
        for (first, column), *others in self._groups:
            value = first.value(column[row])
            if value is None:
                continue
            first.set(message, value)
            for target, column_ in others:
                value = target.value(column_[row])
                if value is None:
                    raise target.fault("none", COLUMNS[target.path.replace(".", "_")].unit)
                target.set(message, value)
        return message


def _alpha(parameter: pb.InferParameter) -> float:
    """Return a number, which may be sent as a text: earlier versions of the protocol have no fractional parameters."""
    kind, field = parameter.WhichOneof("parameter_choice"), "parameters.alpha"
    if kind == "string_param":
        text = parameter.string_param
        if len(text) > _MAX_NUMBER or not _PLAIN_NUMBER.fullmatch(text):
            raise InvalidParameter(quoted(text), f"a number of at most {_MAX_NUMBER} characters, such as 0.1", field)
        return float(text)
    if kind not in {"double_param", "int64_param", "uint64_param"}:
        raise InvalidParameter("no number", "a number, or a text of one", field)
    return float(getattr(parameter, kind))


def _horizon(parameter: pb.InferParameter) -> int:
    choices, field = _TARGETS["horizon"].choices, "parameters.horizon"
    if parameter.WhichOneof("parameter_choice") != "string_param":
        raise InvalidParameter("no text", " or ".join(choices), field=field)
    if parameter.string_param not in choices:
        raise InvalidHorizon(quoted(parameter.string_param), " or ".join(choices), field=field)
    return choices[parameter.string_param]


PARAMETERS: Final = {"alpha": _alpha, "horizon": _horizon}
"""Readers of the parameters of a request, which apply to all rows; the inputs with these names have a value for each
row."""


def _column(values: NDArray[Any] | Sequence[str]) -> Sequence[Any]:
    return values.ravel().tolist() if isinstance(values, np.ndarray) else values


def _without_padding(row: Sequence[float]) -> Sequence[float]:
    """Return the values before the padding: NaN at the end of a row."""
    length = len(row)
    while length and math.isnan(row[length - 1]):
        length -= 1
    return row[:length]
