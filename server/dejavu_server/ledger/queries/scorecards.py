"""Reads the settled forecasts of a scorecard from the ledger, column by column."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Integer, Select, bindparam, case, false, select, type_coerce

from dejavu_models.arrays import Floats
from dejavu_models.scorecard import Exclusion, SettledForecasts
from dejavu_models.types import Horizon
from dejavu_server.ledger.database.schema import forecasts, settlements
from dejavu_server.ledger.queries.filters import CommonFilter, unindexed
from dejavu_server.records import LateReason

_PARTITION_ROWS = 5000
"""Rows held as Python objects at a time: as objects they take twenty times the memory that they take in arrays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFilter(CommonFilter):
    """Selects settled forecasts of one horizon.

    Attributes:
        min_minutes, max_minutes: bounds of the minute of play.
    """

    horizon: Horizon = Horizon.HALFTIME
    min_minutes: int | None = None
    max_minutes: int | None = None


class SettledByModel(NamedTuple):
    """Settled forecasts, those that do not count included, in order of their outcomes, with their model versions.

    Attributes:
        forecasts: the settled forecasts.
        model: (n,), index of each forecast's model version in `models`.
        models: the model versions.
    """

    forecasts: SettledForecasts
    model: NDArray[np.int64]
    models: list[str]


def settled(connection: Connection, filter_: ScoreFilter) -> SettledByModel:
    """Returns the settled forecasts that match a filter, in order of their outcomes."""
    minutes = {"min_minutes": filter_.min_minutes, "max_minutes": filter_.max_minutes}
    values = filter_.parameters() | {name: minute for name, minute in minutes.items() if minute is not None}
    statement = _settled(frozenset({*values, *(["real"] if filter_.real_only else [])}))
    models: defaultdict[str, int] = defaultdict(lambda: len(models))
    parts: dict[str, list[Floats]] = {name: [np.empty(0)] for name in _COLUMNS}
    with connection.execution_options(yield_per=_PARTITION_ROWS).execute(statement, values) as result:
        for rows in result.partitions():
            model, *numbers = zip(*rows, strict=True)
            for column, part in zip(parts.values(), [[models[version] for version in model], *numbers], strict=True):
                column.append(np.array(part, dtype=np.float64))  # None becomes NaN

    def joined(name: str) -> Floats:
        """Returns a column as one array and frees its parts, so that memory holds it only once."""
        return np.concatenate(parts.pop(name))

    model_index, sequence, first = joined("model"), joined("sequence"), joined("first_sequence")
    # Sort, whatever order the database returns: a sum of floats depends on the order.
    order = np.lexsort((sequence, first))
    game = first[order].astype(np.int64)  # one outcome per game, since there is one horizon
    columns = {name: joined(name)[order].astype(_TYPES.get(name, np.float64), copy=False) for name in [*parts]}
    return SettledByModel(
        SettledForecasts(game=game, order=game, **columns), model_index[order].astype(np.int64), list(models)
    )


# Read booleans as the integers that are stored: converting them takes longer than everything else.
_COLUMNS: dict[str, ColumnElement[Any]] = {
    "model": settlements.c.model_version,
    "sequence": settlements.c.forecast_sequence,
    "first_sequence": settlements.c.first_sequence,
    "minute": settlements.c.minute,
    "error": settlements.c.error,
    "persistence_error": settlements.c.persistence_error,
    "covered": type_coerce(settlements.c.covered, Integer),
    "alpha": settlements.c.alpha,
    "width": settlements.c.width,
    "probability": settlements.c.home_lead_probability,
    "home_led": type_coerce(settlements.c.home_led, Integer),
    "brier": settlements.c.brier,
    "crps": settlements.c.crps,
    "stake": settlements.c.market_stake,
    "profit": settlements.c.market_profit,
    "exclusion": case(
        (settlements.c.late == LateReason.LATER_MINUTE.value, Exclusion.LATER_MINUTE),
        (settlements.c.late == LateReason.TIME.value, Exclusion.LATE_TIME),
        else_=type_coerce(settlements.c.superseded, Integer) * Exclusion.SUPERSEDED,
    ),
}
"""Columns by the fields of `SettledForecasts`; the first three identify and order the forecasts."""

_TYPES: dict[str, type[np.generic]] = {
    "minute": np.int64,
    "covered": np.bool_,
    "home_led": np.bool_,
    "exclusion": np.int64,
}

_probability = settlements.c.home_lead_probability


def _of_forecast(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Returns a condition on the settled forecast, by an index of the forecasts."""
    return settlements.c.forecast_sequence.in_(select(forecasts.c.sequence).where(*conditions))


_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "game": _of_forecast(forecasts.c.game_id == bindparam("game"), forecasts.c.horizon == bindparam("horizon")),
    "team": _of_forecast((forecasts.c.home_team == bindparam("team")) | (forecasts.c.away_team == bindparam("team"))),
    "confidence": (_probability >= bindparam("confidence")) | (1.0 - _probability >= bindparam("confidence")),
    "horizon": settlements.c.horizon == bindparam("horizon"),
    "horizon_unindexed": unindexed(settlements.c.horizon) == bindparam("horizon"),
    "model": settlements.c.model_version == bindparam("model"),
    "first_day": settlements.c.day >= bindparam("first_day"),
    "last_day": settlements.c.day <= bindparam("last_day"),
    "min_minutes": settlements.c.minute >= bindparam("min_minutes"),
    "max_minutes": settlements.c.minute <= bindparam("max_minutes"),
    "real": settlements.c.replay == false(),
}


@cache
def _settled(conditions: frozenset[str]) -> Select[*tuple[Any, ...]]:
    if conditions & {"game", "team"}:  # their indexes lead to fewer rows than that of the horizon
        conditions = (conditions - {"horizon"}) | {"horizon_unindexed"}
    return select(*_COLUMNS.values()).where(
        *(condition for name, condition in _CONDITIONS.items() if name in conditions)
    )
