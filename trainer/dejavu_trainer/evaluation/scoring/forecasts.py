"""Forecasts of one forecaster with their scores, and files of the scores of folds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.errors import DataError
from dejavu_models.arrays import Singles, from_npz, to_npz

ALPHAS: Final = (0.05, 0.2, 0.5)
"""Miscoverages of the scored intervals."""

ForecastsT = TypeVar("ForecastsT", bound=Any)
ScoresT = TypeVar("ScoresT", bound=Any)


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
    def season(self) -> NDArray[np.int16]:
        """(n,), year in which the season of the game ends."""

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


def pool(folds: Sequence[ScoresT]) -> ScoresT:
    """Pool the games of several folds into one, with the forecasters that all have.

    Fields that are not of games are taken from the first.

    Raises:
        ValueError: if there is no fold.
    """
    if not folds:
        raise ValueError("no fold to pool")
    first = folds[0]
    joined = {
        field.name: np.concatenate([getattr(fold, field.name) for fold in folds])
        for field in fields(first)
        if isinstance(getattr(first, field.name), np.ndarray) and field.name != "cell_games"
    }
    forecasts = {
        name: type(of_first)(
            **{
                field.name: np.concatenate([getattr(fold.forecasts[name], field.name) for fold in folds])
                for field in fields(of_first)
                if getattr(of_first, field.name) is not None
            }
        )
        for name, of_first in first.forecasts.items()
        if all(name in fold.forecasts for fold in folds)
    }
    result: ScoresT = replace(first, forecasts=forecasts, **joined)
    return result


def to_bytes(scores: Any) -> bytes:
    """Serialize scores, a dataclass of arrays, plain values and `forecasts`, as .npz; the same give the same bytes."""
    values = {field.name: getattr(scores, field.name) for field in fields(scores) if field.name != "forecasts"}
    arrays = {name: each for name, each in values.items() if isinstance(each, np.ndarray)}
    plain = {name: each for name, each in values.items() if name not in arrays}
    for name, forecasts in scores.forecasts.items():
        for field in fields(forecasts):
            if (column := getattr(forecasts, field.name)) is not None:
                arrays[f"{name}.{field.name}"] = column
    return to_npz(plain=np.array(json.dumps(plain)), **arrays)


def read_scores(path: Path, scores: type[ScoresT], forecasts: type[Any]) -> ScoresT:
    """Read scores of a class, with forecasts of a class, that `to_bytes` serialized.

    Raises:
        DataError: if the file is not valid.
    """
    try:
        columns = from_npz(path.read_bytes())
        plain = json.loads(str(columns.pop("plain")))
        values = {name: tuple(each) if isinstance(each, list) else each for name, each in plain.items()}
        by_name: dict[str, dict[str, NDArray[Any]]] = {}
        for key, column in columns.items():
            name, _, field = key.rpartition(".")
            (by_name.setdefault(name, {}) if name else values)[field] = column
        result: ScoresT = scores(**values, forecasts={name: forecasts(**each) for name, each in by_name.items()})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: is not a valid walk-forward fold: {error}; use --fresh to recompute it") from error
    return result
