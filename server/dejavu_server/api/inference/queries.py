"""Requests for forecasts from tensors: one for each row. What a valid one is, says ForecastQuery."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from dejavu.inference import open_inference_pb2 as pb
from dejavu_feed.pattern import LastScore, Side
from dejavu_models.errors import (
    FieldError,
    InvalidAlpha,
    InvalidGameDate,
    InvalidHorizon,
    InvalidLastScore,
    InvalidTotalPoints,
    quoted,
)
from dejavu_models.forecast_query import DEFAULT_ALPHA, ForecastQuery, ScorePattern
from dejavu_models.types import Horizon
from dejavu_server.api.converters.fields import iso_date, team
from dejavu_server.api.inference.errors import InvalidParameter, InvalidTensor, rename
from dejavu_server.api.inference.specification import LEVELS, PATTERN, TOTAL_POINTS
from dejavu_server.api.inference.tensors import Tensors, check_parameters
from dejavu_server.records import ForecastRequest

PARAMETERS: Final = ("alpha", "horizon")
"""Parameters of a request, which hold for all rows: the inputs of these names are for each."""

_HORIZONS: Final = {horizon.value: horizon for horizon in Horizon}
_SIDES: Final = {"home": Side.HOME, "away": Side.AWAY}
_NOT_GIVEN: Final = -1
"""A whole number in place of a value that is not given; for floats that is NaN, for texts the empty one."""

_INDEXED: Final = re.compile(r"(\w+)(\[\d+\])")


class RowReader:
    """Reads the rows of a request.

    Args:
        request: the request.
        tensors: its inputs.
        model_version: the model that shall answer.
        today: date of games without one.
        caller: identity of the caller; empty if it is not known.

    Raises:
        InvalidParameter, InvalidTensor, InvalidAlpha, InvalidHorizon: if what holds for all rows is invalid.
    """

    def __init__(
        self, request: pb.ModelInferRequest, tensors: Tensors, model_version: str, today: date, caller: str
    ) -> None:
        self._tensors, self._today = tensors, today
        self._model_version, self._caller = model_version, caller
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
        if ("last_score_side" in tensors.texts) != ("last_score_seconds" in tensors.numbers):
            raise InvalidTensor("one of last_score_side and last_score_seconds", "both, or neither")

    def read(self, row: int) -> ForecastRequest:
        """Returns the request of a row.

        Raises:
            InvalidInput: if a value is invalid; names the tensor and the row, and `others` has further errors.
        """
        try:
            query = self._query(row)
        except FieldError as error:
            self.name_row(error, row)
            raise
        return ForecastRequest("", self._model_version, query, None, self._caller)

    def name_row(self, error: FieldError, row: int) -> None:
        """Makes an error name the tensor or the parameter that has the field, and the row."""
        for each in (error, *error.others):
            rename(each, self._place(each.field, row))

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
        return ForecastQuery(
            pattern=ScorePattern(pattern),
            horizon=_horizon(horizon, "horizon") if horizon else self._horizon,
            alpha=self._alpha if alpha is None else float(alpha),
            home_team=team(text("home_team", row), "home_team"),
            away_team=team(text("away_team", row), "away_team"),
            pregame_margin=None if margin is None else float(margin),
            quantile_levels=self._levels,
            game_date=iso_date(day, "game_date", InvalidGameDate) if day else self._today,
            total_points=_whole(number(TOTAL_POINTS, row), TOTAL_POINTS, InvalidTotalPoints),
            last_score=self._last_score(row),
        )

    def _last_score(self, row: int) -> LastScore | None:
        side = self._text("last_score_side", row)
        if not side:
            return None
        if side not in _SIDES:
            raise InvalidLastScore(quoted(side), "home, away, or an empty text", field="last_score.side")
        given = self._number("last_score_seconds", row)
        seconds = _whole(given, "last_score.seconds", InvalidLastScore)
        if seconds is None:
            raise InvalidLastScore("none", "the seconds since the last score", field="last_score.seconds")
        return LastScore(_SIDES[side], seconds)

    def _text(self, name: str, row: int) -> str:
        values = self._tensors.texts.get(name)
        return "" if values is None else values[row]

    def _number(self, name: str, row: int) -> float | int | None:
        values = self._numbers.get(name)
        if values is None or math.isnan(values[row]):
            return None
        return values[row]


class _Common(NamedTuple):
    """What parameters say of all rows; None where they don't."""

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
    """Returns a number, which may be a text: earlier versions of the protocol have no parameters that are fractions."""
    kind = parameter.WhichOneof("parameter_choice")
    if kind == "string_param":
        try:
            return float(parameter.string_param[:32])
        except ValueError:
            raise InvalidParameter(quoted(parameter.string_param), "a number", field) from None
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


def _whole(value: float | int | None, field: str, error: type[InvalidTotalPoints | InvalidLastScore]) -> int | None:
    """Returns a whole number; None for one that is not given."""
    if value is None or value == _NOT_GIVEN:
        return None
    if not math.isfinite(value) or value != int(value):
        raise error(f"{value}", "a whole number", field=field)
    return int(value)


def _column(values: NDArray[Any]) -> Sequence[float | int]:
    column: Sequence[float | int] = values.ravel().tolist()
    return column


def _without_padding(row: Sequence[float]) -> Sequence[float]:
    """Returns the values before the padding: NaN at the end of a row."""
    length = len(row)
    while length and math.isnan(row[length - 1]):
        length -= 1
    return row[:length]
