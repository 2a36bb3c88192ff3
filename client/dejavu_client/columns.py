"""Forecasts of many games as columns: requests and responses as Arrow or numpy arrays or plain lists.

Neither library is needed: columns are buffers, which `numpy.asarray` wraps without a copy.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.prediction_service_pb2 import PredictColumnsRequest, PredictColumnsResponse
from dejavu_client.export import pyarrow


@dataclass(frozen=True, slots=True, eq=False)
class ForecastColumns:
    """Forecasts of n games, in the order of the request.

    Attributes:
        model_version: version of the model that made the forecasts.
        calibration_sequence: sequence of the newest outcome in the ledger that was applied to the model.
        points: (n,) float64, point forecasts of the differentials, in points.
        lower, upper: (n,) float64, ends of the intervals, in points.
        home_lead_probabilities: (n,) float64.
        levels: levels of the quantiles.
        quantiles: (n × levels,) float64, in points: all quantiles of the first game, then all of the second, …
    """

    model_version: str
    calibration_sequence: int
    points: array[float]
    lower: array[float]
    upper: array[float]
    home_lead_probabilities: array[float]
    levels: tuple[float, ...]
    quantiles: array[float]

    def __len__(self) -> int:
        return len(self.points)

    def quantile(self, level: float) -> array[float]:
        """Return the quantiles at one of `levels`, (n,), in points.

        Raises:
            ValueError: if the level was not requested.
        """
        return self.quantiles[self.levels.index(level) :: len(self.levels)]

    def to_arrow(self) -> Any:
        """Return a pyarrow.Table: point, lower, upper, home_lead_probability, and quantile_LEVEL for each level.

        Raises:
            ImportError: if pyarrow is not installed; the message names the extra to install.
        """
        pa = pyarrow()
        columns = {
            "point": self.points,
            "lower": self.lower,
            "upper": self.upper,
            "home_lead_probability": self.home_lead_probabilities,
            **{f"quantile_{level:g}": self.quantile(level) for level in self.levels},
        }
        arrays = {
            name: pa.Array.from_buffers(pa.float64(), len(self), [None, pa.py_buffer(column)])
            for name, column in columns.items()
        }
        version = {"model_version": self.model_version}
        return pa.table(arrays).replace_schema_metadata(version)


class ColumnsOptions(TypedDict, total=False):
    """Options of a column request; all but the margins apply to all games.

    Attributes:
        pregame_margins: expected final differential of each game, in points; NaN or null where unknown. None: all are
            unknown.
        horizon: `HALFTIME`, which is the default, or `FINAL`.
        alpha: miscoverage rate of the intervals, in (0, 1); None for the server's default, 0.05.
        quantile_levels: levels of the quantiles to return, in (0, 1); at most 99.
        model_version: model version to use; empty for the active model.
    """

    pregame_margins: Any
    horizon: Horizon.ValueType
    alpha: float | None
    quantile_levels: Sequence[float]
    model_version: str


def columns_request(patterns: Any, minutes: Any = None, **options: Unpack[ColumnsOptions]) -> PredictColumnsRequest:
    """Build a request; see `DejavuClient.predict_columns`.

    Raises:
        TypeError: if `minutes` is None, and `patterns` does not have one row per game.
    """
    margins = options.get("pregame_margins")
    values = _values(patterns)
    if minutes is None:
        rows = [_without_padding(_values(row)) for row in values]
        values = [value for row in rows for value in row]
        lengths: Iterable[int] = map(len, rows)
    else:
        lengths = map(int, _values(minutes))
    known = [] if margins is None else [math.nan if margin is None else margin for margin in _values(margins)]
    options["pregame_margins"] = known
    return PredictColumnsRequest(patterns=values, minutes=lengths, **options)


def columns_of(response: PredictColumnsResponse, levels: Sequence[float]) -> ForecastColumns:
    """Return the columns of a response with quantiles at these levels."""
    return ForecastColumns(
        model_version=response.model_version,
        calibration_sequence=response.calibration_sequence,
        points=array("d", response.point_forecasts),
        lower=array("d", response.interval_lowers),
        upper=array("d", response.interval_uppers),
        home_lead_probabilities=array("d", response.home_lead_probabilities),
        levels=tuple(levels),
        quantiles=array("d", response.quantiles),
    )


def _values(values: Any) -> list[Any]:
    """Return the elements of an Arrow or numpy array, or of any iterable, as a list: plain numbers, or rows."""
    for method in ("to_pylist", "tolist"):
        if convert := getattr(values, method, None):
            converted: list[Any] = convert()
            return converted
    try:
        return list(values)
    except TypeError as error:
        raise TypeError("patterns must be those of each game; give minutes if they follow one another") from error


def _without_padding(row: list[Any]) -> list[Any]:
    """Return a pattern without the padding of a two-dimensional array: NaN or null at its end."""
    length = len(row)
    while length and (row[length - 1] is None or row[length - 1] != row[length - 1]):
        length -= 1
    return row[:length]
