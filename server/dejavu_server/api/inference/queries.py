"""Requests for forecasts from tensors: one for each row. ForecastQuery checks whether they are valid."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from dejavu.inference import open_inference_pb2 as pb
from dejavu_feed.live_inputs import LIVE_INPUTS, LiveInput, LiveInputs
from dejavu_models.errors import (
    FieldError,
    InvalidAlpha,
    InvalidGameDate,
    InvalidHorizon,
    InvalidLiveInput,
    quoted,
)
from dejavu_models.forecast_query import DEFAULT_ALPHA, ForecastQuery, ScorePattern
from dejavu_models.types import Horizon
from dejavu_server.api.converters.fields import check_both_teams, iso_date, team
from dejavu_server.api.inference.inference_errors import InvalidParameter, InvalidTensor
from dejavu_server.api.inference.specification import LEVELS, PATTERN
from dejavu_server.api.inference.tensors import Tensors, check_parameters
from dejavu_server.forecast_request import ForecastRequest

PARAMETERS: Final = ("alpha", "horizon")
"""Parameters of a request, which apply to all rows; the inputs with these names have a value for each row."""

_HORIZONS: Final = {horizon.value: horizon for horizon in Horizon}
_MAX_NUMBER: Final = 32

_NOT_GIVEN: Final = -1
"""Integer for a missing value; a missing float is NaN, and a missing text is empty."""

_PLAIN_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""Texts that are numbers in every client; float() also takes "1_0", " 1", "nan" and the digits of other scripts."""

_INDEXED: Final = re.compile(r"(\w+)(\[\d+\])")


class RowReader:
    """Reads the rows of a request.

    Args:
        request: the request.
        tensors: its inputs.
        model_version: the model that is to answer.
        today: date of the games for which none is given.

    Raises:
        InvalidParameter, InvalidTensor, InvalidAlpha, InvalidHorizon: if a value for all rows is invalid.
    """

    def __init__(self, request: pb.ModelInferRequest, tensors: Tensors, model_version: str, today: date) -> None:
        self._tensors, self._today = tensors, today
        self._model_version = model_version
        self._numbers = {name: _column(values) for name, values in tensors.numbers.items() if name != PATTERN}
        self._pattern = tensors.numbers[PATTERN]
        self._levels = tuple(map(float, self._numbers.get(LEVELS, ())))
        common = _read_parameters(request)
        for name in PARAMETERS:
            if getattr(common, name) is not None and (name in tensors.numbers or name in tensors.texts):
                raise InvalidParameter("given beside the input of this name", "one of them", f"parameters.{name}")
        self._alpha = DEFAULT_ALPHA if common.alpha is None else common.alpha
        self._horizon = common.horizon or Horizon.HALFTIME
        self._in_parameters = frozenset(name for name in PARAMETERS if getattr(common, name) is not None)
        names = tensors.texts.keys() | tensors.numbers.keys()
        self._live = [each for each in LIVE_INPUTS if not names.isdisjoint(each.columns)]
        for each in self._live:
            if not names.issuperset(each.columns):
                raise InvalidTensor(f"not all of {' and '.join(each.columns)}", "all, or none")

    def read(self, row: int) -> ForecastRequest:
        """Return the request of a row.

        Raises:
            InvalidInput: if a value is invalid; names the tensor and the row, and `others` has further errors.
        """
        try:
            query = self._query(row)
        except FieldError as error:
            self.name_row(error, row)
            raise
        return ForecastRequest("", self._model_version, query)

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

    def _query(self, row: int) -> ForecastQuery:
        text, number = self._text, self._number
        pattern = tuple(_without_padding(self._pattern[row].tolist()))
        horizon, alpha, day = text("horizon", row), number("alpha", row), text("game_date", row)
        margin = number("pregame_margin", row)
        home_team, away_team = (team(text(name, row), name) for name in ("home_team", "away_team"))
        check_both_teams(home_team, away_team)
        return ForecastQuery(
            pattern=ScorePattern(pattern),
            horizon=_horizon(horizon, "horizon") if horizon else self._horizon,
            alpha=self._alpha if alpha is None else float(alpha),
            home_team=home_team,
            away_team=away_team,
            pregame_margin=None if margin is None else float(margin),
            quantile_levels=self._levels,
            game_date=iso_date(day, "game_date", InvalidGameDate) if day else self._today,
            live=self._live_inputs(row),
        )

    def _live_inputs(self, row: int) -> LiveInputs:
        """Read the live inputs of a row; a live input is not given if its first part is not."""
        given = {}
        for each in self._live:
            first = self._live_part(each, 0, row)
            if first is not None:
                others = [self._live_part(each, index, row) for index in range(1, len(each.parts))]
                if None in others:
                    index = 1 + others.index(None)
                    raise InvalidLiveInput(*each.fault(index, "none", each.parts[index].unit))
                given[each.name] = each.make(first, *others)
        return LiveInputs(**given)

    def _live_part(self, of: LiveInput, index: int, row: int) -> Any:
        """Read a part of a live input; None if it is not given."""
        part, column = of.parts[index], of.columns[index]
        if part.is_enum:
            text, choices = self._text(column, row), part.choices()
            if text and text not in choices:
                raise InvalidLiveInput(*of.fault(index, quoted(text), f"{', '.join(choices)}, or an empty text"))
            return choices[text] if text else None
        value = self._number(column, row)
        whole = issubclass(part.kind, int)
        if value is None or (whole and value == _NOT_GIVEN):
            return None
        if whole and (not math.isfinite(value) or value != int(value)):
            raise InvalidLiveInput(*of.fault(index, f"{value}", "a whole number"))
        if part.kind is bool and value not in (0, 1):
            raise InvalidLiveInput(*of.fault(index, f"{value:g}", "0 or 1"))
        return part.kind(value)

    def _text(self, name: str, row: int) -> str:
        values = self._tensors.texts.get(name)
        return "" if values is None else values[row]

    def _number(self, name: str, row: int) -> float | int | None:
        values = self._numbers.get(name)
        if values is None or math.isnan(values[row]):
            return None
        return values[row]


class _Common(NamedTuple):
    """Values that parameters give for all rows; None if they don't."""

    alpha: float | None
    horizon: Horizon | None


def _read_parameters(request: pb.ModelInferRequest) -> _Common:
    parameters = request.parameters
    check_parameters(parameters, PARAMETERS, "parameters")
    alpha, horizon = None, None
    if "alpha" in parameters:
        alpha = _number_parameter(parameters["alpha"], "parameters.alpha")
        if not 0.0 < alpha < 1.0:
            raise InvalidAlpha(f"{alpha}", "a number strictly between 0 and 1", field="parameters.alpha")
    if "horizon" in parameters:
        given = parameters["horizon"]
        if given.WhichOneof("parameter_choice") != "string_param":
            raise InvalidParameter("no text", _expected_horizon(), field="parameters.horizon")
        horizon = _horizon(given.string_param, "parameters.horizon")
    return _Common(alpha, horizon)


def _number_parameter(parameter: pb.InferParameter, field: str) -> float:
    """Return a number, which may be sent as a text: earlier versions of the protocol have no fractional parameters."""
    kind = parameter.WhichOneof("parameter_choice")
    if kind == "string_param":
        text = parameter.string_param
        if len(text) > _MAX_NUMBER or not _PLAIN_NUMBER.fullmatch(text):
            raise InvalidParameter(quoted(text), f"a number of at most {_MAX_NUMBER} characters, such as 0.1", field)
        return float(text)
    if kind not in {"double_param", "int64_param", "uint64_param"}:
        raise InvalidParameter("no number", "a number, or a text of one", field)
    return float(getattr(parameter, kind))


def _horizon(text: str, field: str) -> Horizon:
    horizon = _HORIZONS.get(text)
    if horizon is None:
        raise InvalidHorizon(quoted(text), _expected_horizon(), field=field)
    return horizon


def _expected_horizon() -> str:
    return " or ".join(_HORIZONS)


def _column(values: NDArray[Any]) -> Sequence[float | int]:
    column: Sequence[float | int] = values.ravel().tolist()
    return column


def _without_padding(row: Sequence[float]) -> Sequence[float]:
    """Return the values before the padding: NaN at the end of a row."""
    length = len(row)
    while length and math.isnan(row[length - 1]):
        length -= 1
    return row[:length]
