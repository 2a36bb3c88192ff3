"""Total points in a bundle: the tables by the source of the expected total, the ratings behind it, and forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from dejavu_models.arrays import from_npz, stacked, to_npz, unstacked
from dejavu_models.betting import MarketKind, evaluate_market, is_own_market
from dejavu_models.forecast_query import ForecastQuery
from dejavu_models.native import native
from dejavu_models.team_filter import RatingSettings, TotalFilter
from dejavu_models.totals.model import CENTERS, LATE, MOST_TO_COME, TABLES, TotalModel
from dejavu_models.types import (
    DISTRIBUTION_LEVELS,
    ROWS,
    WITHOUT_LINE,
    Horizon,
    MarginSource,
    Quantile,
    TotalForecast,
)
from dejavu_models.uncertainty.lattice.distribution import TOLERANCE, around_point
from dejavu_models.uncertainty.lattice.game import native_shapes
from dejavu_models.uncertainty.lattice.shapes import ONE_SHAPE


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
