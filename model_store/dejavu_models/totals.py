"""Total points of both teams at both horizons: expected before tip-off, and their distribution from every minute.

Like the distribution of margins (`uncertainty.lattice.margin_model`), it consists of small tables, fitted on all games
before the forecast ones. The points still to come are fitted by least squares, with a scale that depends on them and,
late, on the lead, and the shape of the standardised residuals. Totals below the current points have no probability.

A bundle has tables by the source of the expected total, and the ratings behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, NamedTuple

import numpy as np

from dejavu_models.arrays import Floats, from_npz, stacked, to_npz, unstacked
from dejavu_models.betting import MarketKind, evaluate_market, is_own_market
from dejavu_models.forecast_query import ForecastQuery
from dejavu_models.native import native
from dejavu_models.ratings import RatingSettings, TotalFilter
from dejavu_models.types import (
    CASES,
    DISTRIBUTION_LEVELS,
    MAX_DIFFERENTIAL,
    MAX_SLOTS,
    ROWS,
    WITHOUT_LINE,
    Horizon,
    MarginSource,
    Quantile,
    TotalForecast,
)
from dejavu_models.uncertainty.lattice.calibration import native_shapes
from dejavu_models.uncertainty.lattice.distribution import TOLERANCE, WholeNumberDistribution, around_point
from dejavu_models.uncertainty.lattice.shapes import (
    ONE_SHAPE,
    SHAPE_LEVELS,
    check_log_scales,
    check_tables,
    cumulative,
    mixed,
)

POINT_TERMS: Final = 6
SCALE_TERMS: Final = 4

LATE: Final = 36
"""Minute from which scale and shape of the final total depend on the lead: the trailing team fouls, and a tie goes to
overtime."""

MOST_TO_COME: Final = 400
"""Bound of the points still to come; no game of the NBA ever had more than 370 in all."""


CENTERS: Final[Floats] = np.array([0.0, 4.0, 10.0, 18.0])
"""Sizes of the lead at which there is a late shape, in points; between them shapes are mixed."""

LATE_MINUTES: Final = tuple(range(LATE, MAX_SLOTS + 1))

FORMS: Final = {
    "point": (len(CASES), POINT_TERMS),
    "log_mean": (len(CASES),),
    "scale": (len(CASES), SCALE_TERMS),
    "shapes": (len(CASES), len(SHAPE_LEVELS)),
    "late_shapes": (len(LATE_MINUTES), len(CENTERS), len(SHAPE_LEVELS)),
}
"""Shapes of the tables."""

TABLES: Final = tuple(FORMS)


class TotalInputs(NamedTuple):
    """Inputs of n games after a minute.

    Attributes:
        points: (n,), points of both teams.
        leads: (n,), differentials, in points.
        expected: (n,), expected final totals before tip-off, in points; 0 if unknown.
    """

    points: Floats
    leads: Floats
    expected: Floats

    def __len__(self) -> int:
        return len(self.points)


def point_terms(horizon: Horizon, inputs: TotalInputs) -> Floats:
    """Return the terms of the points still to come, (n, POINT_TERMS).

    For the end, the terms of the lead let a clear lead reduce the points to come, and a small one increase them: fouls
    stop the clock, and a tie goes to overtime. For the half, they are 0.
    """
    result = np.zeros((len(inputs), POINT_TERMS))
    result[:, 0], result[:, 1], result[:, 2] = 1.0, inputs.points, inputs.expected
    if horizon is Horizon.FINAL:
        size = np.abs(inputs.leads)
        result[:, 3] = size / 10
        result[:, 4] = np.maximum(size - 10, 0) / 10
        result[:, 5] = np.maximum(6 - size, 0) / 6
    return result


def scale_terms(horizon: Horizon, minute: int, inputs: TotalInputs, to_come: Floats, log_mean: float) -> Floats:
    """Return the terms of the logarithm of the scale, (n, SCALE_TERMS).

    Args:
        horizon: the horizon.
        minute: number of minutes played.
        inputs: inputs of the games.
        to_come: (n,), expected points still to come.
        log_mean: logarithm of their mean over the games that the model is fitted on.
    """
    result = np.zeros((len(inputs), SCALE_TERMS))
    result[:, 0] = 1.0
    result[:, 1] = np.log(np.maximum(to_come, 1.0)) - log_mean
    if horizon is Horizon.FINAL and minute >= LATE:
        size = np.abs(inputs.leads)
        result[:, 2] = size / 10
        result[:, 3] = np.maximum(10 - size, 0) / 10
    return result


_EDGES: Final[Floats] = np.arange(0.5, MOST_TO_COME)

# The logarithm of the scale is linear between these sizes of the lead and in the logarithm of the points to come.
_LEADS, _LEAST_AND_MOST = (each.ravel() for each in np.meshgrid([0.0, 10.0, MAX_DIFFERENTIAL], [0.0, MOST_TO_COME]))
_OUTERMOST: Final = TotalInputs(np.zeros_like(_LEADS), _LEADS, np.zeros_like(_LEADS))


@dataclass(frozen=True, eq=False)
class TotalModel:
    """Tables of one source of the expected total.

    Attributes:
        point: (cases, POINT_TERMS), coefficients of the points still to come.
        log_mean: (cases,), logarithm of their mean.
        scale: (cases, SCALE_TERMS), coefficients of the logarithms of the scales.
        shapes: (cases, 107), quantiles of the standardised residuals; unused where there are late shapes.
        late_shapes: (LATE_MINUTES, CENTERS, 107), of the final total by the size of the lead.
        games: number of games behind the residuals.

    Raises:
        ValueError: if a shape is wrong, or a value is not finite or too large, or quantiles do not ascend, or a game
            that can be requested has a scale beyond MAX_LOG_SCALE.
    """

    point: Floats
    log_mean: Floats
    scale: Floats
    shapes: Floats
    late_shapes: Floats
    games: int

    def __post_init__(self) -> None:
        check_tables(self, FORMS)
        for (horizon, minute), row in ROWS.items():
            terms = scale_terms(horizon, minute, _OUTERMOST, _LEAST_AND_MOST, float(self.log_mean[row]))
            check_log_scales(terms @ self.scale[row])

    def to_come(self, horizon: Horizon, minute: int, inputs: TotalInputs) -> Floats:
        """Return the expected points still to come until a horizon, (n,), from 0 to MOST_TO_COME.

        Args:
            horizon: the horizon.
            minute: number of minutes played.
            inputs: inputs of the games.
        """
        # Summed term by term, not as a matrix product, whose order of summation depends on the number of games.
        terms = point_terms(horizon, inputs) * self.point[ROWS[horizon, minute]]
        result: Floats = np.clip(terms.sum(axis=1), 0.0, MOST_TO_COME)
        return result

    def distribution(self, horizon: Horizon, minute: int, inputs: TotalInputs) -> WholeNumberDistribution:
        """Return the distributions of the totals of n games at a horizon.

        Args:
            horizon: the horizon.
            minute: number of minutes played.
            inputs: inputs of the games; points must be whole.
        """
        row = ROWS[horizon, minute]
        to_come = self.to_come(horizon, minute, inputs)
        logs = scale_terms(horizon, minute, inputs, to_come, float(self.log_mean[row])) * self.scale[row]
        standardized = (_EDGES - to_come[:, None]) / np.exp(logs.sum(axis=1))[:, None]
        if horizon is Horizon.FINAL and minute >= LATE:
            below = mixed(self.late_shapes[minute - LATE], CENTERS, standardized, np.abs(inputs.leads))
        else:
            below = cumulative(self.shapes[row], standardized)
        mass = np.maximum(np.diff(below, axis=1, prepend=0.0, append=1.0), 0.0)
        mass /= mass.sum(axis=1, keepdims=True)
        return WholeNumberDistribution(mass, inputs.points.astype(np.int64))


def total_tables(model: TotalModel, horizon: Horizon, minute: int) -> Any:
    """Return the tables of one horizon and minute in the compiled models; `TotalModel.distribution` is the reference.

    The distribution of a game is their `game(points, lead, expected)`: of the points of both teams and the lead so far,
    and the expected final total before tip-off, 0 if unknown, all in points. It has a `point`, `cumulative(total)`, the
    probability of a total or less, and `quantiles(levels)`, the least totals not exceeded with these probabilities.
    """
    row, final = ROWS[horizon, minute], horizon is Horizon.FINAL
    late = final and minute >= LATE
    return native.PointTables(
        native_shapes(
            model.late_shapes[minute - LATE] if late else model.shapes[row : row + 1],
            CENTERS.tolist() if late else ONE_SHAPE,
        ),
        final=final,
        late=late,
        point=model.point[row].tolist(),
        scale=model.scale[row].tolist(),
        log_mean=float(model.log_mean[row]),
        tolerance=TOLERANCE,
        most_to_come=MOST_TO_COME,
    )


@dataclass(frozen=True)
class Totals:
    """Tables and ratings of total points.

    Attributes:
        models: tables by the source of the expected total, which has the same sources as an expected margin.
        ratings: state of the filter of totals, with at least one game, for the season that the bundle serves.

    Raises:
        ValueError: if a source has no tables, or the ratings include no game.
    """

    models: Mapping[MarginSource, TotalModel]
    ratings: TotalFilter
    _tables: dict[int, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if missing := [source.name for source in WITHOUT_LINE if source not in self.models]:
            raise ValueError(f"there are no tables for totals that are {', '.join(missing)}")
        if self.ratings.date is None or self.ratings.season is None:
            raise ValueError("ratings of totals include no game")

    def tables(self, source: MarginSource, horizon: Horizon, minute: int) -> Any:
        """Return the `total_tables` of a source; those of ratings if there are none for the line."""
        if source is MarginSource.LINE and source not in self.models:
            source = MarginSource.KNOWN
        # A number, because hashing enums costs more than a forecast's arithmetic.
        key = minute + 64 * ((horizon is Horizon.FINAL) + 2 * source)
        tables = self._tables.get(key)
        if tables is None:
            tables = self._tables[key] = total_tables(self.models[source], horizon, minute)
        return tables

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file; equal totals give equal bytes. Tables are stored as float32."""
        state, sources = self.ratings, sorted(self.models)
        return to_npz(
            sources=np.array([int(source) for source in sources], dtype=np.int16),
            **stacked([self.models[source] for source in sources], TABLES),
            mean=state.mean,
            covariance=state.covariance,
            settings=np.array(list(asdict(state.settings).values())),
            season=np.array(state.season, dtype=np.int16),
            date=np.array(state.date, dtype="datetime64[D]").astype(np.int64),
            awaits_season=np.array(state.awaits_season),
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> Totals:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        if columns["sources"].size > len(MarginSource):  # more rows would only take time and memory
            raise ValueError(f"sources must have at most {len(MarginSource)} rows")
        tables = zip(columns["sources"].tolist(), unstacked(columns, TABLES), strict=True)
        models = {MarginSource(source): TotalModel(**of_source) for source, of_source in tables}
        settings = dict(zip((each.name for each in fields(RatingSettings)), columns["settings"].tolist(), strict=True))
        ratings = TotalFilter(
            RatingSettings(**settings),
            columns["mean"],
            columns["covariance"],
            int(columns["season"]),
            np.datetime64(int(columns["date"]), "D").item(),
            bool(columns["awaits_season"]),
        )
        return cls(models, ratings)


def forecast_total(
    tables: Any,
    query: ForecastQuery,
    expected: float | None,
    *,
    lead_staked: float = 0.0,
    well_known: bool = True,
) -> TotalForecast:
    """Forecast the points of both teams at the horizon of a query.

    The interval is closed and its ends are whole numbers; see `around_point`.

    Args:
        tables: the `total_tables` of the query's horizon and minute, for the source of the expected total.
        query: the query, with the points of both teams; its alpha and quantile levels apply to the total too.
        expected: expected final total before tip-off, in points; None if unknown.
        lead_staked: share of the bankroll staked on the market of the lead in the same query.
        well_known: whether the ratings, if they are used, know the teams well enough for a stake.
    """
    game = tables.game(query.live.total_points, query.pattern.last, 0.0 if expected is None else expected)
    lower, upper = game.quantiles((query.alpha / 2, 1 - query.alpha / 2))
    levels = query.quantile_levels
    market, answer = query.market(MarketKind.TOTAL), None
    if market is not None:
        # The bookmaker knows the teams; the model may not.
        given = query.live.pregame_total
        own = is_own_market(market, given, query.horizon)
        unrated = expected is None or (given is None and not well_known) or own
        answer = evaluate_market(
            market, lambda total: 1 - game.cumulative(total - 1), unrated=unrated, lead_staked=lead_staked
        )
    return TotalForecast(
        point=game.point,
        interval=around_point(game.point, lower, upper),
        quantiles=tuple(Quantile(*each) for each in zip(levels, game.quantiles(levels), strict=True)) if levels else (),
        expected_total=expected,
        distribution=tuple(game.quantiles(DISTRIBUTION_LEVELS)) if query.record else (),
        market=answer,
    )
