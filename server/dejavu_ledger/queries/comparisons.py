"""Reads the forecasts that two models made of the same games and minutes, with the current outcomes.

A model's forecast is its own, or its shadow of another model's. Two forecasts are a pair if they have the same game,
horizon, minute, alpha, expected margin and pattern. They count as on a scorecard: not recorded late, not superseded by
a later revision; a shadow counts if the shadowed forecast does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, literal, select

from dejavu_ledger.database import store
from dejavu_ledger.database.schema import forecasts, outcomes, shadows
from dejavu_ledger.database.standing import FIRST_REPORT, STANDS, in_time
from dejavu_ledger.entries import scored_values
from dejavu_ledger.errors import LedgerCorrupt
from dejavu_ledger.queries.filters import KEPT_FILTERS
from dejavu_ledger.queries.scorecards import CONDITIONS, LATER, SMALL_READ, ScoreFilter, superseded_by_key
from dejavu_models.comparison.gate import PERSISTENCE
from dejavu_models.comparison.scores import PairedForecasts
from dejavu_models.metrics import cramer_distance, leader_probability
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon

_PARTITION_ROWS: Final = 5000
"""Rows held as Python objects at a time."""


_Columns = dict[str, NDArray[Any]]


class PairFilter(NamedTuple):
    """Selects pairs of forecasts.

    Attributes:
        model_version: the model.
        against_version: the other model, or PERSISTENCE.
        horizon: the horizon.
        replays: include games of replays and simulated seasons.
        since: sequence after which forecasts, or those that shadows accompany, count.
        scope: further conditions that the forecasts meet, whose horizon, replays and model are ignored; None: none.
    """

    model_version: str
    against_version: str
    horizon: Horizon = Horizon.HALFTIME
    replays: bool = False
    since: int = 0
    scope: ScoreFilter | None = None


def is_small(connection: Connection, filter_: PairFilter) -> bool:
    """Return whether an index leads to at most SMALL_READ forecasts of the two models."""
    versions = [version for version in filter_[:2] if version != PERSISTENCE]
    counts = (
        connection.execute(count, {"version": version, "most": SMALL_READ + 1}).scalar_one()
        for version in versions
        for count in _COUNTS
    )
    return sum(counts) <= SMALL_READ


def pairs(connection: Connection, filter_: PairFilter) -> PairedForecasts:
    """Return the pairs that match a filter, in the order in which their games were settled.

    A game is numbered by the sequence of its outcome's first report. Forecasts without a
    distribution, and so without a CRPS, are left out.

    Raises:
        LedgerCorrupt: if a row cannot be read back.
    """
    return pairs_of(connection, [filter_.model_version], filter_)[filter_.model_version]


def pairs_of(connection: Connection, versions: Sequence[str], filter_: PairFilter) -> dict[str, PairedForecasts]:
    """Return the pairs of several models with the other model of a filter, by model; see `pairs`.

    Args:
        connection: a read connection.
        versions: the models; that of the filter is ignored.
        filter_: the filter.
    """
    with store.snapshot_read(connection):
        superseded = set(connection.execute(_SUPERSEDED, {"horizon": filter_.horizon.value}).scalars())
        if filter_.against_version == PERSISTENCE:
            other = None
        else:
            other = _forecasts_of(connection, filter_, filter_.against_version, superseded)
        return {
            version: _paired(_forecasts_of(connection, filter_, version, superseded), other) for version in versions
        }


def _paired(model: _Columns, other: _Columns | None) -> PairedForecasts:
    """Return the pairs of a model with another one, or with persistence if that is None."""
    if other is None:
        other = model | _persistence(model)
    else:
        _, left, right = np.intersect1d(model["question"], other["question"], assume_unique=True, return_indices=True)
        model, other = _selected(model, left), _selected(other, right)
    return _pairs(model, other)


def _persistence(model: _Columns) -> _Columns:
    """Return the columns of persistence for the questions of a model: the last known lead as a certain forecast."""
    lead, differential = model["lead"], model["differential"]
    leader = leader_probability(lead)
    return {
        "crps": np.abs(lead - differential),
        "brier": np.square(leader - (differential > 0)),
        "probability": leader,
        "quantiles": np.repeat(lead[:, None], len(DISTRIBUTION_LEVELS), axis=1),
    }


def _selected(columns: _Columns, chosen: NDArray[np.intp]) -> _Columns:
    return {name: column[chosen] for name, column in columns.items()}


def _pairs(model: _Columns, other: _Columns) -> PairedForecasts:
    # Sort, since a sum of floats depends on the order, and the database's is arbitrary.
    order = np.lexsort((model["sequence"], other["sequence"], model["minute"], model["game"]))
    chosen = order[~(np.isnan(model["crps"]) | np.isnan(other["crps"]))[order]]
    model, other = _selected(model, chosen), _selected(other, chosen)
    return PairedForecasts(
        **{name: model[name] for name in ("game", "minute", "alpha", "crps", "brier", "covered", "width")},
        against_crps=other["crps"],
        against_brier=other["brier"],
        crps_divergence=cramer_distance(model["quantiles"], other["quantiles"]),
        brier_divergence=np.square(model["probability"] - other["probability"]),
    )


def _forecasts_of(connection: Connection, filter_: PairFilter, version: str, superseded: set[int]) -> _Columns:
    """Read the forecasts of a model that count: for each question its own, or its shadow if it has none."""
    scope = {} if filter_.scope is None else filter_.scope.parameters()
    values = {**scope, "horizon": filter_.horizon.value, "version": version, "since": filter_.since}
    parts = [_scored([], version)]
    conditions = {*scope} - {"horizon", "model"} | (set() if filter_.replays else {"real"})
    for statement in _statements(frozenset(conditions)):
        # Not an option of the connection, which its later statements would have too.
        with connection.execute(statement, values, execution_options={"yield_per": _PARTITION_ROWS}) as result:
            parts.extend(
                _scored([row for row in rows if row.sequence not in superseded], version)
                for rows in result.partitions()
            )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((columns["sequence"], columns["shadow"], columns["question"]))
    questions = columns["question"][order]
    first = order[np.append(True, questions[1:] != questions[:-1])[: len(questions)]]
    return _selected(columns, first)


def _scored(rows: Sequence[Any], version: str) -> _Columns:
    """Return the inputs of pairs, for some rows of a model."""
    raw: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * 9
    sequence, game, differentials, elapsed, alpha, key, made_by, pattern, values = raw[:9]
    shadow = [maker != version for maker in made_by]
    try:
        scored = scored_values.unpack(values)
    except ValueError as error:
        raise LedgerCorrupt("the ledger is damaged: a forecast cannot be scored") from error
    differential = np.array(differentials, dtype=np.float64)
    quantiles = np.full((len(rows), len(DISTRIBUTION_LEVELS)), np.nan, dtype=np.float32)  # half the memory
    quantiles[scored.has_quantiles] = scored.quantiles.T
    # The key has the version of the model that made the recorded forecast, which is no part of the question.
    asked = (
        hash((text.replace(f'"{maker}"', '""'), slots, lead))
        for text, maker, slots, lead in zip(key, made_by, pattern, scored.last_known.tolist(), strict=True)
    )
    return {
        "sequence": np.array(sequence, dtype=np.int64),
        "question": np.fromiter(asked, dtype=np.int64, count=len(rows)),
        "shadow": np.array(shadow, dtype=np.bool_),
        "game": np.array(game, dtype=np.int64),
        "minute": np.array(elapsed, dtype=np.float64).astype(np.int64) // 60,
        "alpha": np.array(alpha, dtype=np.float64),
        "crps": scored.crps(differential),
        "brier": scored.brier(differential),
        "covered": scored.covered(differential),
        "width": scored.upper - scored.lower,
        "lead": scored.last_known,
        "differential": differential,
        "probability": scored.probability,
        "quantiles": quantiles,
    }


_OF_HORIZON: Final = and_(outcomes.c.horizon == bindparam("horizon"), STANDS, in_time(forecasts))


def _statement(
    made_by: ColumnElement[bool], values: ColumnElement[bytes], conditions: frozenset[str], *, shadow: bool
) -> Select[Any]:
    columns = (
        forecasts.c.sequence,
        FIRST_REPORT,
        outcomes.c.differential,
        forecasts.c.elapsed_s,
        forecasts.c.alpha,
        forecasts.c.key,
        forecasts.c.model_version,
        forecasts.c.pattern,
        values,
    )
    of_game = and_(outcomes.c.game_id == forecasts.c.game_id, outcomes.c.horizon == forecasts.c.horizon)
    source = forecasts.join(shadows, shadows.c.forecast_sequence == forecasts.c.sequence) if shadow else forecasts
    where = (CONDITIONS[name] for name in sorted(conditions))
    return (
        select(*columns)
        .select_from(source.join(outcomes, of_game))
        .where(made_by, _OF_HORIZON, forecasts.c.sequence > bindparam("since"), *where)
    )


@lru_cache(KEPT_FILTERS)
def _statements(conditions: frozenset[str]) -> tuple[Select[Any], Select[Any]]:
    """Return the statements that read the forecasts of a model: its own, and its shadows."""
    own, beside = (table.c.model_version == bindparam("version") for table in (forecasts, shadows))
    return (
        _statement(own, forecasts.c.scored_values, conditions, shadow=False),
        _statement(beside, shadows.c.scored_values, conditions, shadow=True),
    )


_COUNTS: Final = tuple(
    select(func.count()).select_from(
        select(literal(1))
        .select_from(table)
        .where(table.c.model_version == bindparam("version"))
        .limit(bindparam("most"))
        .subquery()
    )
    for table in (forecasts, shadows)
)

_SUPERSEDED: Final = superseded_by_key(LATER.c.horizon == bindparam("horizon"))
