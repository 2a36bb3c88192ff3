"""The settled forecasts that a scorecard is of, read from the ledger column by column."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Integer, Select, bindparam, false, select, type_coerce

from dejavu_models.arrays import Floats
from dejavu_models.scorecard import SettledForecasts
from dejavu_models.types import Horizon
from dejavu_server.ledger.database.schema import settlements

_AT_ONCE = 5000
"""Rows that are Python's at one time: as such they take twenty times the room that they take as arrays."""


@dataclass(frozen=True, slots=True)
class ScoreFilter:
    """Which settled forecasts count; of each, the newest revision.

    Attributes:
        model_version: empty: any.
        first_day, last_day: of the game, as `date.toordinal()`.
        min_minutes, max_minutes: the first and the last minute of play.
        replays: games of replays too.
    """

    horizon: Horizon = Horizon.HALFTIME
    model_version: str = ""
    first_day: int | None = None
    last_day: int | None = None
    min_minutes: int | None = None
    max_minutes: int | None = None
    replays: bool = False


class SettledByModel(NamedTuple):
    """Settled forecasts, in order of their outcomes, and whose they are.

    Attributes:
        model: of each forecast, the place of its model version among `models`.
        models: the model versions there are.
    """

    forecasts: SettledForecasts
    model: NDArray[np.int64]
    models: list[str]


def settled(connection: Connection, wanted: ScoreFilter) -> SettledByModel:
    """The settled forecasts that count, in order of their outcomes."""
    values = {
        "horizon": wanted.horizon.value,
        "model": wanted.model_version or None,
        "first_day": wanted.first_day,
        "last_day": wanted.last_day,
        "min_minutes": wanted.min_minutes,
        "max_minutes": wanted.max_minutes,
    }
    asked = {name for name, value in values.items() if value is not None} | {"newest"}
    statement = _settled(frozenset(asked if wanted.replays else asked | {"real"}))
    models: defaultdict[str, int] = defaultdict(lambda: len(models))
    columns: list[list[Floats]] = [[np.empty(0)] for _ in _COLUMNS]
    with connection.execution_options(yield_per=_AT_ONCE).execute(statement, values) as result:
        for rows in result.partitions():
            model, *numbers = zip(*rows, strict=True)
            for column, its in zip(columns, [[models[version] for version in model], *numbers], strict=True):
                column.append(np.array(its, dtype=np.float64))  # None becomes NaN
    columns.reverse()

    def joined() -> Floats:
        """The next column as one array; its parts are let go, so that it is not held twice."""
        return np.concatenate(columns.pop())

    whose, sequence, first = joined(), joined(), joined()
    # Whichever way the database took: a sum of floats depends on their order.
    order = np.lexsort((sequence, first))
    game = first[order].astype(np.int64)  # one outcome a game, as of one horizon
    forecasts = SettledForecasts(
        game=game,
        minute=joined()[order].astype(np.int64),
        error=joined()[order],
        persistence_error=joined()[order],
        covered=joined()[order].astype(np.bool_),
        alpha=joined()[order],
        width=joined()[order],
        probability=joined()[order],
        home_led=joined()[order].astype(np.bool_),
        brier=joined()[order],
        crps=joined()[order],
        stake=joined()[order],
        profit=joined()[order],
        order=game,
    )
    return SettledByModel(forecasts, whose[order].astype(np.int64), list(models))


# Truth values as the numbers that they are stored as: making them true and false takes longer than all else.
_COLUMNS = (
    settlements.c.model_version,
    settlements.c.forecast_sequence,
    settlements.c.first_sequence,
    settlements.c.minute,
    settlements.c.error,
    settlements.c.persistence_error,
    type_coerce(settlements.c.covered, Integer),
    settlements.c.alpha,
    settlements.c.width,
    settlements.c.home_lead_probability,
    type_coerce(settlements.c.home_led, Integer),
    settlements.c.brier,
    settlements.c.crps,
    settlements.c.market_stake,
    settlements.c.market_profit,
)

_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "horizon": settlements.c.horizon == bindparam("horizon"),
    "model": settlements.c.model_version == bindparam("model"),
    "first_day": settlements.c.day >= bindparam("first_day"),
    "last_day": settlements.c.day <= bindparam("last_day"),
    "min_minutes": settlements.c.minute >= bindparam("min_minutes"),
    "max_minutes": settlements.c.minute <= bindparam("max_minutes"),
    "newest": settlements.c.superseded == false(),
    "real": settlements.c.replay == false(),
}


@cache
def _settled(conditions: frozenset[str]) -> Select[*tuple[Any, ...]]:
    return select(*_COLUMNS).where(*(condition for name, condition in _CONDITIONS.items() if name in conditions))
