"""Forecasts of one forecaster, with their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Singles

ALPHAS: Final = (0.05, 0.2, 0.5)
"""Miscoverages of the scored intervals."""

ForecastsT = TypeVar("ForecastsT", bound=Any)


class AnyForecasts(Protocol):
    """Forecasts of differentials or of totals; see `Forecasts`."""

    @property
    def point(self) -> Singles | None:
        """(n, cases), point forecasts in points."""

    @property
    def crps(self) -> Singles | None:
        """(n, cases), in points."""

    @property
    def lower(self) -> Singles | None:
        """(n, cases, alphas), lower ends."""

    @property
    def upper(self) -> Singles | None:
        """(n, cases, alphas), upper ends."""

    @property
    def held(self) -> NDArray[np.bool_] | None:
        """(n, cases, alphas), whether the outcome counts as within."""


class AnyScores(Protocol):
    """Forecasts of games with their outcomes, of differentials or of totals."""

    @property
    def outcomes(self) -> NDArray[np.int16]:
        """(n, 2), by horizon, in points."""

    @property
    def forecasts(self) -> Mapping[str, AnyForecasts]:
        """Forecasts by forecaster."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Forecasts:
    """One forecaster's forecasts of n games for every case; the logistic regression has only probabilities.

    Attributes:
        probability: (n, cases), probability that the home team leads at the horizon.
        point: (n, cases), point forecasts in points.
        lower, upper: (n, cases, alphas), ends of the intervals in points; NaN where the calibration is too small.
        crps: (n, cases), in points.
        pit: (n, cases), probability integral transform of the outcomes (Dawid 1984); uniform on (0, 1) if the forecasts
            are calibrated.
        held: (n, cases, alphas), whether the outcome counts as within the interval; None if every outcome between the
            ends (inclusive) counts, and no other. See `WholeNumberScores`.
    """

    probability: Singles
    point: Singles | None = None
    lower: Singles | None = None
    upper: Singles | None = None
    crps: Singles | None = None
    pit: Singles | None = None
    held: NDArray[np.bool_] | None = None


def choose(which: NDArray[np.bool_], one: ForecastsT, other: ForecastsT) -> ForecastsT:
    """Return the forecasts of `one` for the games of a mask, (n,), and of `other` for the rest.

    Both are of one dataclass of arrays; the result has the fields that both have.
    """
    chosen = {}
    for field in fields(one):
        values, others = getattr(one, field.name), getattr(other, field.name)
        if values is not None and others is not None:
            chosen[field.name] = np.where(which.reshape(-1, *[1] * (values.ndim - 1)), values, others)
    result: ForecastsT = type(one)(**chosen)
    return result


def named_columns(forecasts: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the arrays of forecasters, dataclasses of arrays, as FORECASTER.FIELD; without fields that are None."""
    return {
        f"{name}.{field.name}": values
        for name, each in forecasts.items()
        for field in fields(each)
        if (values := getattr(each, field.name)) is not None
    }


def split_columns(
    columns: Mapping[str, NDArray[Any]],
) -> tuple[dict[str, NDArray[Any]], dict[str, dict[str, NDArray[Any]]]]:
    """Split columns into those without a forecaster and, by forecaster and field, those that `named_columns` returned.

    Raises:
        ValueError: if a name has more than one dot.
    """
    others: dict[str, NDArray[Any]] = {}
    forecasts: dict[str, dict[str, NDArray[Any]]] = {}
    for key, values in columns.items():
        if "." not in key:
            others[key] = values
            continue
        name, field = key.split(".")
        forecasts.setdefault(name, {})[field] = values
    return others, forecasts
