"""Calibration of a bundle: the tables for each kind of request, and the distribution of one game on whole numbers.

A game's distribution is by the compiled models. The reference is `MarginModel.base`, which the trainer uses:
results equal within rounding. A forecast needs few values of its distribution, the two ends of an interval and a
probability, which are computed in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from dejavu_feed.live_inputs import LIVE_INPUTS
from dejavu_models.arrays import Floats, from_npz, stacked, to_npz, unstacked
from dejavu_models.native import native
from dejavu_models.types import ROWS, WITHOUT_LINE, Horizon, Interval, MarginSource
from dejavu_models.uncertainty.adaptive import LEVEL_SCORES, NORMAL
from dejavu_models.uncertainty.lattice.distribution import FLOOR, LARGEST, TOLERANCE, around_point
from dejavu_models.uncertainty.lattice.margin_model import (
    BEST_FIRST,
    CELLS_FROM,
    CENTERS,
    COLUMNS,
    JOINT_WEIGHT,
    LATE,
    SMALLEST,
    TABLES,
    Base,
    LiveColumns,
    LiveKind,
    MarginModel,
    is_used,
    win_terms,
)
from dejavu_models.uncertainty.lattice.shapes import LEVELS, LOG_STEP, ONE_SHAPE, SHAPE_LEVELS, knots

MIN_PROBABILITY: Final = 1e-9
REACH: Final = -LEVEL_SCORES[0]
AT_REACH: Final = REACH + 1e-5
"""Bound of recorded scores: they are stored with 6 decimals, so the outermost one may come back a little larger."""

ROUNDING: Final = 1e-3


def margin_tables(model: MarginModel, horizon: Horizon, minute: int) -> Any:
    """Return the tables of a horizon and minute in the compiled models; `MarginModel.base` is the reference.

    The distribution of a game is their `game(center, lead, margin, points, side, phase, opinion, others)`: points, side
    and phase as in `LiveColumns`, 0 without live inputs; the others as in `LatticeCalibration.game`.

    Those of n games without live inputs are `columns(centers, leads, margins, grid, opinions, rows)`: of arrays (n,) in
    points; the `grid` of the quantiles; the opinions of all games of a request (`CompiledModels.columns`), and the
    places of these games in them. They are the point forecasts, (n,), P(the home team leads), (n,), not adapted, and
    the quantiles, (n, levels).
    """
    row, final = ROWS[horizon, minute], horizon is Horizon.FINAL
    cells = final and minute >= CELLS_FROM
    at, levels = knots(model.ranks[row])
    return native.MarginTables(
        margin_constants(),
        native_shapes(
            model.late_shapes[minute - CELLS_FROM] if cells else model.shapes[row : row + 1],
            CENTERS.tolist() if cells else ONE_SHAPE,
        ),
        ranks=at.tolist(),
        levels=levels.tolist(),
        live=model.kind is not LiveKind.NONE,
        final=final,
        late=final and minute >= LATE,
        cells=cells,
        scale=model.scale[row].tolist(),
        pace=model.pace[row].tolist(),
        win=_win_coefficients(model.win, minute) if final else (0.0,) * 8,
    )


class LatticeGame:
    """Distribution of one game's differential at a horizon, on whole numbers, around its point forecast.

    Intervals have whole ends, both included. An interval that does not contain the point forecast, a real number, is
    widened to the whole numbers around it.

    Args:
        games: number of games behind the tables.
        compiled: a game of the extension: `MarginGame`, `TabulatedGame` or a mixture.

    Attributes:
        calibration_games: number of games behind the tables.
        point: the point forecast, in points.
    """

    __slots__ = ("_native", "calibration_games", "point")

    def __init__(self, games: int, compiled: native.Game) -> None:
        self.calibration_games, self._native = games, compiled
        self.point = compiled.point

    @property
    def center(self) -> float:
        """The prediction of the linear models, in points; only of a game by the tables of a minute."""
        return self._native.center

    @property
    def unit(self) -> float:
        """The unit of standardised residuals, in points; only of a game by the tables of a minute."""
        return self._native.unit

    def mixed(self, other: LatticeGame, share: float) -> LatticeGame:
        """Return the mixture with the distribution of the same game by other tables, which has this share in [0, 1].

        Its point forecast is that of the mixture, and its number of games the smaller one. This distribution must be of
        the tables of a minute.
        """
        compiled = native.mixed(self._native, other._native, share)
        return LatticeGame(min(self.calibration_games, other.calibration_games), compiled)

    @property
    def home_lead_probability(self) -> float:
        """P(the home team leads), in (0, 1)."""
        return self._native.home_lead_probability

    def cumulative(self, value: int) -> float:
        """Return the probability of a value or less, in [0, 1]."""
        return self._native.cumulative(value)

    def interval(self, alpha: float) -> Interval:
        """Return the interval at a miscoverage rate; nested in alpha, and at most alpha/2 lies beyond each end.

        Raises:
            ValueError: if alpha is less than SMALLEST_ALPHA or not less than 1.
        """
        if not alpha < 1:
            raise ValueError(f"alpha {alpha} is not less than 1")
        check_level(alpha / 2)
        return Interval(*self._native.interval(alpha))

    def interval_at(self, reach: float) -> Interval:
        """Return the interval between the quantiles at standard-normal scores of ±reach, for any reach."""
        return around_point(self.point, *self.values_at((-reach, reach)))

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """Return, for each level, the least whole number that is not exceeded with at least this probability.

        Raises:
            ValueError: if a level is beyond the outermost of SHAPE_LEVELS.
        """
        for level in levels:
            check_level(level)
        return self._native.quantiles(levels)

    def values_at(self, scores: Sequence[float]) -> list[float]:
        """Return quantiles at the levels of standard-normal scores, in points.

        Beyond the outermost level of `types.DISTRIBUTION_LEVELS`, extrapolates in proportion to the score, as
        `adaptive.static_score` does; extrapolated values are whole too.
        """
        return list(self._native.values_at(_grid_at(tuple(scores))))

    def recorded_quantiles(self, scores: tuple[float, ...] = LEVEL_SCORES) -> tuple[float, ...]:
        """Return quantiles as `values_at`, at scores that many forecasts share."""
        return self._native.values_at(_shared_grid(scores))

    def probability_above(self, value: float) -> float:
        """Return P(differential > value), in (0, 1); exact, and constant between whole numbers."""
        return self._native.probability_above(value)


def native_shapes(quantiles: Any, centers: Sequence[float]) -> Any:
    """Return shapes in the compiled models: (centers, 107) quantiles at SHAPE_LEVELS, and the centers."""
    return native.Shapes(levels=LEVELS, centers=centers, quantiles=quantiles, log_step=LOG_STEP)


@cache
def margin_constants() -> Any:
    """Return what all distributions of differentials have in common, in the compiled models."""
    return native.MarginConstants(
        largest=LARGEST,
        tolerance=TOLERANCE,
        least_win=SMALLEST,
        least=MIN_PROBABILITY,
        joint_weight=JOINT_WEIGHT,
        floors=np.cumsum(FLOOR).tolist(),
        floor_at_tie=float(FLOOR[LARGEST]),
    )


def _grid_at(scores: tuple[float, ...]) -> Any:
    """Return a grid in the compiled models; the level of a score beyond the tables is of no use there."""
    return grid(scores, [NORMAL.cdf(score) if abs(score) <= AT_REACH else 0.5 for score in scores])


# A server uses one set of scores per horizon, and a new one after each outcome.
_shared_grid = lru_cache(maxsize=64)(_grid_at)


def grid(scores: Sequence[float], levels: Sequence[float]) -> Any:
    """Return the positions of quantiles in the compiled models.

    Args:
        scores: their standard-normal scores; 0 for levels that are never extrapolated.
        levels: their levels.
    """
    return native.Grid(
        scores,
        levels,
        reach=REACH,
        limit=AT_REACH,
        rounding=ROUNDING,
        ends=(NORMAL.cdf(-REACH), NORMAL.cdf(REACH)),
    )


def check_level(level: float) -> None:
    """Raise ValueError unless a level is within the outermost of SHAPE_LEVELS."""
    if not LEVELS[0] - TOLERANCE <= level <= LEVELS[-1] + TOLERANCE:
        raise ValueError(f"level {level} is not in [{LEVELS[0]}, {LEVELS[-1]}]")


def _win_coefficients(win: Floats, minute: int) -> tuple[float, ...]:
    """Return the coefficients of `joint_log_odds`, read off the log-odds of a few games."""

    def log_odds(lead: float, margin: float, pace: float, side: float, phase: float) -> float:
        leads, margins, paces, sides, phases = np.array([lead, margin, pace, side, phase])[:, None]
        live = LiveColumns(np.zeros(1), sides, phases)
        return float((win_terms(minute, leads, margins, paces, live) @ win)[0])

    base, probes = log_odds(0, 0, 0, 0, 0), [(1, 0, 0, 0, 0), (2, 0, 0, 0, 0), (0, 1, 0, 0, 0), (1, 1, 0, 0, 0)]
    probes += [(1, 0, 1, 0, 0), (0, 0, 0, 1, 0), (0, 0, 0, 1, 1)]
    one, two, before, crossed, paced, side, phased = (log_odds(*each) - base for each in probes)
    curve = two / 2 - one
    return base, 2 * one - two / 2, curve, before, crossed - one - before, paced - one, side, phased - side


SMALLEST_ALPHA: Final = 2 * float(SHAPE_LEVELS[0])
"""Smallest miscoverage rate of an interval; for smaller ones the tails would have to be extrapolated."""


class Situation(NamedTuple):
    """Inputs of the distribution of a game other than its score.

    Attributes:
        minute: minute at which the pattern ends.
        margin_source: source of the expected margin.
    """

    horizon: Horizon
    minute: int
    margin_source: MarginSource


@dataclass(frozen=True)
class LatticeCalibration:
    """Tables by the source of the expected margin, and by the kind of live inputs.

    Raises:
        ValueError: if a source has no tables for requests without live inputs.
    """

    models: Mapping[tuple[MarginSource, LiveKind], MarginModel]
    _tables: dict[int, tuple[int, Any]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _kinds: dict[MarginSource, tuple[LiveKind, ...]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        if missing := [source.name for source in WITHOUT_LINE if (source, LiveKind.NONE) not in self.models]:
            raise ValueError(f"there are no tables for margins that are {', '.join(missing)}")
        for (source, kind), model in self.models.items():
            if model.kind is not kind:
                raise ValueError(f"the tables of {source.name} for {kind.name} were fitted for {model.kind.name}")
        for source in MarginSource:
            of_source = self._with_tables(source)
            self._kinds[source] = tuple(kind for kind in BEST_FIRST if (of_source, kind) in self.models)

    def model(self, source: MarginSource, kind: LiveKind = LiveKind.NONE) -> MarginModel:
        """Return the tables of a kind of request; those of ratings if there are none for the line.

        Raises:
            KeyError: if there are none of this kind.
        """
        return self.models[self._with_tables(source), kind]

    def kinds(self, source: MarginSource) -> tuple[LiveKind, ...]:
        """Return the kinds of live inputs for which there are tables, the best first."""
        return self._kinds[source]

    def _with_tables(self, source: MarginSource) -> MarginSource:
        return MarginSource.KNOWN if source is MarginSource.LINE and not self.has_line else source

    @property
    def has_line(self) -> bool:
        """Whether there are tables for the line of a market."""
        return (MarginSource.LINE, LiveKind.NONE) in self.models

    def live(self, situation: Situation, numbers: Mapping[str, float]) -> LiveColumns | None:
        """Return the live inputs that the forecast of a game uses, (1,) each; None if it uses none.

        Args:
            situation: the situation.
            numbers: the live inputs by their names in `dejavu_feed.live_inputs.COLUMNS`; NaN for unknown ones.
        """
        for kind in self._kinds[situation.margin_source]:
            if not is_used(kind, situation.minute):
                continue
            values = [numbers[name] for name in COLUMNS[kind]]
            if all(map(math.isfinite, values)):
                return LiveColumns.of(kind, np.array(values)[:, None])
        return None

    def game(
        self,
        situation: Situation,
        center: float,
        lead: float,
        margin: float | None = None,
        live: LiveColumns | None = None,
        opinion: Any = None,
        others: Any = None,
    ) -> LatticeGame:
        """Return the distribution of one game around the prediction of the linear models; see `LatticeGame`.

        Args:
            situation: the situation.
            center: that prediction, in points, with the `shift` of the live inputs.
            lead: last known differential, in points.
            margin: expected final differential before tip-off, in points; None if unknown.
            live: the live inputs, (1,) each, see `live`; None: by tables without them.
            opinion: what the other components say, see `CompiledGame.opinion`; None if only the linear models count.
            others: components that are not compiled, see `forecaster.predicted`.
        """
        given, of_live = 0.0 if margin is None else margin, (0.0, 0.0, 0.0)
        if live is not None:
            of_live = float(live.total_points[0]), float(live.side[0]), float(live.phase[0])
        games, tables = self.tables(situation, LiveKind.NONE if live is None else live.kind)
        return LatticeGame(games, tables.game(center, lead, given, *of_live, opinion, others))

    def base(
        self, situation: Situation, center: float, lead: float, margin: float | None, live: LiveColumns | None
    ) -> Base:
        """Return what the linear models predict for one game; arguments as of `game`."""
        horizon, minute, source = situation
        model = self.model(source, LiveKind.NONE if live is None else live.kind)
        return model.base(horizon, minute, np.array([center]), np.array([lead]), np.array([margin or 0.0]), live)

    def tables(self, situation: Situation, kind: LiveKind = LiveKind.NONE) -> tuple[int, Any]:
        """Return the number of games behind the `margin_tables` of a situation, and these tables; see `model`."""
        # A number, because hashing a situation with its enums takes longer than computing the scale.
        horizon, minute, source = situation
        key = minute + 64 * ((horizon is Horizon.FINAL) + 2 * (kind + len(LiveKind) * source))
        tables = self._tables.get(key)
        if tables is None:
            model = self.model(source, kind)
            tables = self._tables[key] = model.games, margin_tables(model, horizon, minute)
        return tables

    def shift(self, situation: Situation, live: LiveColumns | None) -> float:
        """Return the shift of a point forecast by live inputs, (1,) each, in points; 0 without them."""
        if live is None:
            return 0.0
        model = self.model(situation.margin_source, live.kind)
        return float(model.shifts(situation.horizon, situation.minute, live)[0])

    @property
    def inputs(self) -> tuple[str, ...]:
        """Optional fields of a query that its distributions depend on; see `ModelInfo.inputs`."""
        used = {column for _, kind in self.models if kind for column in COLUMNS[kind]}
        return tuple(each.name for each in LIVE_INPUTS if not used.isdisjoint(each.columns))

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file; equal calibrations give equal bytes. Tables are stored as float32."""
        kinds = sorted((int(source), int(kind)) for source, kind in self.models)
        models = [self.models[MarginSource(source), LiveKind(kind)] for source, kind in kinds]
        return to_npz(lattice=np.array(kinds, dtype=np.int16), **stacked(models, TABLES))

    @classmethod
    def from_bytes(cls, content: bytes) -> LatticeCalibration:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        most = len(LiveKind) * len(MarginSource)  # more rows would only take time and memory
        if columns["lattice"].shape != (*columns["games"].shape, 2) or columns["games"].size > most:
            raise ValueError(f"lattice and games must have one row each for up to {most} kinds of requests")
        tables = zip(columns["lattice"].tolist(), unstacked(columns, TABLES), strict=True)
        return cls(
            {
                (MarginSource(source), LiveKind(kind)): MarginModel(kind=LiveKind(kind), **of_kind)
                for (source, kind), of_kind in tables
            }
        )
