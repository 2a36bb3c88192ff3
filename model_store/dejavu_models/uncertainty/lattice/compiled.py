"""Distribution of one game on whole numbers by the compiled models: equal to `LatticeGame` to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from dejavu_models.arrays import Floats
from dejavu_models.native import native
from dejavu_models.types import Interval
from dejavu_models.uncertainty.conformal_scores import LEVEL_GRID, NORMAL, ScoreGrid
from dejavu_models.uncertainty.issued import AdaptedScores
from dejavu_models.uncertainty.lattice import distribution, game, margin_model
from dejavu_models.uncertainty.lattice.distribution import around_point
from dejavu_models.uncertainty.lattice.game import GameTables, check_level
from dejavu_models.uncertainty.lattice.inputs import LiveColumns
from dejavu_models.uncertainty.lattice.shapes import LEVELS, LOG_STEP


class CompiledTables:
    """Tables of one horizon and minute in the compiled models.

    Args:
        tables: the same as plain numbers.
    """

    def __init__(self, tables: GameTables) -> None:
        self.games = tables.games
        self.live = tables.live
        self._tables = native.MarginTables(
            _constants(),
            compiled_shapes(tables.arrays, tables.centers),
            live=tables.live,
            final=tables.final,
            late=tables.late,
            cells=tables.cells,
            scale=tables.scale,
            pace=tables.pace,
            win=tables.win if tables.final else (0.0,) * 8,
        )

    def game(self, point: float, lead: float, margin: float, live: LiveColumns | None) -> CompiledLatticeGame:
        """Returns the distribution of one game; see `LatticeGame`."""
        if not self.live:
            return CompiledLatticeGame(self.games, point, self._tables.game(point, lead, margin, 0.0, 0.0, 0.0))
        if live is None:
            raise ValueError("this model needs live inputs")
        points, side, recency = float(live.total_points[0]), float(live.last_score_side[0]), float(live.recency[0])
        return CompiledLatticeGame(self.games, point, self._tables.game(point, lead, margin, points, side, recency))

    def columns(self, points: Floats, leads: Floats, margins: Floats, at: AdaptedScores) -> tuple[Floats, Floats]:
        """Returns the numbers of many games; see `LatticeCalibration.columns`."""
        columns: tuple[Floats, Floats] = self._tables.columns(points, leads, margins, _grid(*at))
        return columns


class CompiledLatticeGame:
    """Distribution of one game on whole numbers; implements `GameDistribution`, see `LatticeGame`.

    Args:
        games: number of games behind the tables.
        point: point forecast, in points.
        compiled: a `MarginGame` of the extension.
    """

    __slots__ = ("_games", "_native", "_point")

    def __init__(self, games: int, point: float, compiled: Any) -> None:
        self._games, self._point, self._native = games, point, compiled

    @property
    def calibration_games(self) -> int:
        """Number of games behind the tables."""
        return self._games

    @property
    def home_lead_probability(self) -> float:
        """P(the home team leads), in (0, 1)."""
        probability: float = self._native.home_lead_probability
        return probability

    def cumulative(self, value: int) -> float:
        """Returns the probability of a value or less, in [0, 1]."""
        probability: float = self._native.cumulative(value)
        return probability

    def interval(self, alpha: float) -> Interval:
        """See `GameDistribution.interval`; at most alpha/2 lies beyond each end."""
        if not alpha < 1:
            raise ValueError(f"alpha {alpha} is not less than 1")
        check_level(alpha / 2)
        return Interval(*self._native.interval(alpha))

    def interval_at(self, reach: float) -> Interval:
        """See `GameDistribution.interval_at`."""
        return around_point(self._point, *self.values_at((-reach, reach)))

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """See `LatticeGame.quantiles`."""
        for level in levels:
            check_level(level)
        quantiles: list[float] = self._native.quantiles(levels)
        return quantiles

    def values_at(self, scores: Sequence[float]) -> list[float]:
        """See `GameDistribution.values_at`; extrapolated values are whole too."""
        levels = [NORMAL.cdf(score) if abs(score) <= game.AT_REACH else 0.5 for score in scores]
        return list(self._native.values_at(_grid(scores, levels)))

    def recorded_quantiles(self, grid: ScoreGrid | None) -> tuple[float, ...]:
        """See `GameDistribution.recorded_quantiles`."""
        values: tuple[float, ...] = self._native.values_at(_recorded(LEVEL_GRID if grid is None else grid))
        return values

    def probability_above(self, value: float) -> float:
        """See `GameDistribution.probability_above`; exact, between whole numbers it does not change."""
        probability: float = self._native.probability_above(value)
        return probability


def compiled_shapes(quantiles: Any, centers: Sequence[float]) -> Any:
    """Returns shapes in the compiled models: (centers, 107) quantiles at SHAPE_LEVELS, and the centers."""
    return native.Shapes(levels=LEVELS, centers=centers, quantiles=quantiles, log_step=LOG_STEP)


@cache
def _constants() -> Any:
    return native.MarginConstants(
        largest=distribution.LARGEST,
        tolerance=distribution.TOLERANCE,
        inner=game.INNER,
        clear=game.CLEAR,
        least_win=margin_model.SMALLEST,
        least=game.MIN_PROBABILITY,
        joint_weight=margin_model.JOINT_WEIGHT,
        floors=game.FLOORS,
        floor_at_tie=game.FLOOR_AT_TIE,
    )


@lru_cache(maxsize=64)
def _recorded(grid: ScoreGrid) -> Any:
    """Returns a grid in the compiled models. A server has one for each horizon, new after each outcome."""
    return _grid(grid.scores.tolist(), game.levels_of(grid).tolist())


def _grid(scores: Sequence[float], levels: Sequence[float]) -> Any:
    return native.Grid(
        scores,
        levels,
        reach=game.REACH,
        limit=game.AT_REACH,
        rounding=game.ROUNDING,
        ends=(NORMAL.cdf(-game.REACH), NORMAL.cdf(game.REACH)),
    )
