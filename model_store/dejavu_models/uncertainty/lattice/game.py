"""Distribution of one game on whole numbers: the same numbers as `MarginModel.distribution`, at a fraction of its cost.

A forecast alone needs few values of its distribution: the two ends of an interval and a probability. They are computed
from plain numbers, in closed form; a table of all values is made only where many quantiles are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import HORIZONS, Horizon, Interval
from dejavu_models.uncertainty.conformal_scores import LEVEL_GRID, LEVEL_SCORES, NORMAL, ScoreGrid
from dejavu_models.uncertainty.lattice.distribution import EDGES, FLOOR, LARGEST, TOLERANCE, around_point
from dejavu_models.uncertainty.lattice.inputs import LATE, LiveColumns, win_terms
from dejavu_models.uncertainty.lattice.margin_model import (
    CELLS_FROM,
    CENTERS,
    JOINT_WEIGHT,
    ROWS,
    SMALLEST,
    MarginModel,
)
from dejavu_models.uncertainty.lattice.shapes import LEVELS, ONE_SHAPE, Mixture

_CENTERS: Final[list[float]] = CENTERS.tolist()
_UPPER_EDGES: Final[Floats] = EDGES[1:]
FLOOR_AT_TIE: Final = float(FLOOR[LARGEST])
_FLOOR_BELOW: Final[Floats] = np.cumsum(FLOOR)
FLOORS: Final[list[float]] = _FLOOR_BELOW.tolist()
MIN_PROBABILITY: Final = 1e-9
REACH: Final = -LEVEL_SCORES[0]
AT_REACH: Final = REACH + 1e-5
"""Scores are stored with 6 decimals: the outermost recorded one may come back a little larger."""
ROUNDING: Final = 1e-3

_MANY: Final = 4
"""Quantiles from which on a table of values costs less than one after the other."""

_NO_FLOORS: Final = (0.0,) * (2 * LARGEST + 1)
INNER: Final = 0.01
CLEAR: Final = 0.05
"""Part of a point by which the inverse of a shape is off at most between the levels INNER and 1 − INNER, because it
leaves out the floors: those sum to 3e-6, and between two of these levels 0.01 lies on at most 160 points."""


class GameTables:
    """Tables of one horizon and minute as plain numbers.

    Args:
        model: tables of one kind of request.
        horizon: the horizon.
        minute: minute after which the games are.
    """

    def __init__(self, model: MarginModel, horizon: Horizon, minute: int) -> None:
        row = ROWS[HORIZONS.index(horizon), minute]
        self.games = model.games
        self.live = model.live
        self.final = horizon is Horizon.FINAL
        self.late = self.final and minute >= LATE
        self.cells = self.final and minute >= CELLS_FROM
        self.arrays = model.late_shapes[minute - CELLS_FROM] if self.cells else model.shapes[row : row + 1]
        self.shapes: list[list[float]] = self.arrays.tolist()
        self.centers = _CENTERS if self.cells else ONE_SHAPE
        self.scale: list[float] = model.scale[row].tolist()
        self.pace: list[float] = model.pace[row].tolist()
        if self.final:
            self.win = _win_coefficients(model.win, minute)

    def game(self, point: float, lead: float, margin: float, live: LiveColumns | None) -> LatticeGame:
        """Returns the distribution of one game; see `LatticeGame`."""
        return LatticeGame(self, point, lead, margin, live)

    def log_scale(self, size: float, margin: float, pace: float) -> float:
        """Returns the logarithm of the scale; see `scale_terms`."""
        terms = self.scale
        result = terms[0] + terms[1] * pace + terms[2] * size / 10 + terms[3] * abs(margin) / 10
        if not self.late:
            return result
        return result + (terms[4] * (size - 10) / 10 if size > 10 else terms[5] * (4 - size) / 4 if size < 4 else 0.0)

    def joint_log_odds(self, lead: float, margin: float, pace: float, side: float, recency: float) -> float:
        """Returns the joint win probability, in log-odds; see `win_terms`."""
        base, linear, square, before, both, of_pace, of_side, of_recency = self.win
        size = abs(lead)
        return (
            base
            + lead * (linear + square * size + of_pace * pace)
            + margin * (before + both * size)
            + side * (of_side + of_recency * recency)
        )


def _win_coefficients(win: Floats, minute: int) -> tuple[float, ...]:
    """Returns the coefficients of `joint_log_odds`, read off the log-odds of a few games."""

    def log_odds(lead: float, margin: float, pace: float, side: float, seconds: float) -> float:
        leads, margins, paces, sides, since = np.array([lead, margin, pace, side, seconds])[:, None]
        live = LiveColumns(np.zeros(1), sides, since)
        return float((win_terms(minute, leads, margins, paces, live) @ win)[0])

    base = log_odds(0, 0, 0, 0, 0)
    one, two = (log_odds(lead, 0, 0, 0, 0) - base for lead in (1, 2))
    before = log_odds(0, 1, 0, 0, 0) - base
    side = log_odds(0, 0, 0, 1, 0) - base
    return (
        base,
        2 * one - two / 2,
        two / 2 - one,
        before,
        log_odds(1, 1, 0, 0, 0) - base - one - before,
        log_odds(1, 0, 1, 0, 0) - base - one,
        side,
        log_odds(0, 0, 0, 1, math.inf) - base - side,
    )


class _GridLevels:
    """Levels at which quantiles are taken.

    Args:
        levels: in (0, 1).
        beyond: index → score of those that lie beyond the tables, whose values are extrapolated.
    """

    def __init__(self, levels: Floats, beyond: dict[int, float]) -> None:
        self.targets: Floats = levels - TOLERANCE
        self.least, self.most = float(levels.min()), float(levels.max())
        self.beyond = beyond


@lru_cache(maxsize=64)
def _levels_of(grid: ScoreGrid) -> _GridLevels:
    """Returns the levels of a grid. A server has a grid for each horizon, new after each outcome."""
    beyond = np.flatnonzero(np.abs(grid.scores) > AT_REACH).tolist()
    return _GridLevels(levels_of(grid), {index: float(grid.scores[index]) for index in beyond})


def levels_of(grid: ScoreGrid) -> Floats:
    """Returns the levels of a grid's scores; ½ for those that lie beyond the tables."""
    beyond = np.abs(grid.scores) > AT_REACH
    levels: Floats = np.where(beyond, 0.5, np.where(grid.lower, grid.tails, 1 - grid.tails))
    return levels


class LatticeGame:
    """Distribution of one game on whole numbers; implements `GameDistribution`.

    Intervals have whole ends and hold both. One that does not reach the point forecast, a real number, is widened to
    the whole numbers around it.

    Args:
        tables: tables of the horizon and minute.
        point: point forecast, in points, with the shift of the live inputs if the tables use them.
        lead: last known differential, in points.
        margin: expected final differential before tip-off, in points; 0 if unknown.
        live: the live inputs, (1,) each; required if and only if the tables use them.
    """

    def __init__(
        self,
        tables: GameTables,
        point: float,
        lead: float,
        margin: float,
        live: LiveColumns | None = None,
    ) -> None:
        self._tables, self._point = tables, point
        size, pace, side, recency = abs(lead), 0.0, 0.0, 0.0
        if tables.live:
            if live is None:
                raise ValueError("this model needs live inputs")
            start, slope, mean = tables.pace
            pace = math.log(max(start + slope * float(live.total_points[0]), 1.0)) - mean
            side, recency = float(live.last_score_side[0]), float(live.recency[0])
        self._scale = math.exp(tables.log_scale(size, margin, pace))
        self._mirrored = tables.cells and lead < 0
        self._shape = Mixture(tables.arrays, tables.shapes, tables.centers, size)
        if not tables.final:
            self._home = 1 - self._below_edge(0.5)
            return
        # As `from_cumulative` and `with_home_leads`: nothing at 0, no side impossible, each side scaled.
        below_tie = self._below_edge(-0.5)
        self._tie = self._below_edge(0.5) - below_tie + FLOOR_AT_TIE
        self._total = 1 + FLOORS[-1] - self._tie
        own = 1 - (below_tie + FLOORS[LARGEST - 1]) / self._total
        bounded = _within(own, SMALLEST)
        joint = tables.joint_log_odds(lead, margin, pace, side, recency)
        odds = (1 - JOINT_WEIGHT) * math.log(bounded / (1 - bounded)) + JOINT_WEIGHT * joint
        self._home = _within(_expit(odds), SMALLEST)
        self._above_ratio, self._below_ratio = self._home / own, (1 - self._home) / (1 - own)

    @property
    def calibration_games(self) -> int:
        """Number of games behind the tables."""
        return self._tables.games

    @property
    def home_lead_probability(self) -> float:
        """P(the home team leads), in (0, 1)."""
        return _within(self._home, MIN_PROBABILITY)

    def interval(self, alpha: float) -> Interval:
        """See `GameDistribution.interval`; at most alpha/2 lies beyond each end."""
        if not alpha < 1:
            raise ValueError(f"alpha {alpha} is not less than 1")
        check_level(alpha / 2)
        return around_point(self._point, self._quantile(alpha / 2), self._quantile(1 - alpha / 2))

    def interval_at(self, reach: float) -> Interval:
        """See `GameDistribution.interval_at`."""
        return around_point(self._point, *self.values_at((-reach, reach)))

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """Returns the least whole numbers with at least a level at or below them, in the order of the levels.

        Raises:
            ValueError: if a level is beyond the outermost of SHAPE_LEVELS.
        """
        for level in levels:
            check_level(level)
        if len(levels) > _MANY:
            many: list[float] = self._quantiles(_GridLevels(np.array(levels), {})).tolist()
            return many
        return [float(self._quantile(level)) for level in levels]

    def values_at(self, scores: Sequence[float]) -> list[float]:
        """See `GameDistribution.values_at`; extrapolated values are whole too."""
        return [
            float(self._quantile(NORMAL.cdf(score))) if abs(score) <= AT_REACH else self._extrapolated(score)
            for score in scores
        ]

    def recorded_quantiles(self, grid: ScoreGrid | None) -> tuple[float, ...]:
        """See `GameDistribution.recorded_quantiles`."""
        levels = _levels_of(LEVEL_GRID if grid is None else grid)
        values = self._quantiles(levels)
        for index, score in levels.beyond.items():
            values[index] = self._extrapolated(score)
        return tuple(values.tolist())

    def _quantiles(self, levels: _GridLevels) -> Floats:
        """Returns many quantiles from one table of the values between the outermost of them."""
        first, last = self._quantile(levels.least), self._quantile(levels.most)
        values: Floats = first + self.below(first, last).searchsorted(levels.targets).astype(np.float64)
        return values

    def _extrapolated(self, score: float) -> float:
        """Returns the value that is as many times as far from the median as the score is from 0, outwards."""
        median, end = self._quantile(0.5), self._quantile(NORMAL.cdf(math.copysign(REACH, score)))
        value = median + (end - median) * abs(score) / REACH
        whole = math.floor(value + ROUNDING) if score < 0 else math.ceil(value - ROUNDING)
        if whole == 0 and self._tables.final:
            return math.copysign(1.0, score)
        return float(whole)

    def probability_above(self, value: float) -> float:
        """See `GameDistribution.probability_above`; exact, between whole numbers it does not change."""
        return _within(1 - self.cumulative(math.floor(value)), MIN_PROBABILITY)

    def cumulative(self, value: int) -> float:
        """Returns the probability of a value or less, in [0, 1]."""
        if value >= LARGEST:
            return 1.0
        if value < -LARGEST:
            return 0.0
        share = self._below_edge(value + 0.5)
        if not self._tables.final:
            return share
        share += FLOORS[value + LARGEST]
        if value < 0:
            return share / self._total * self._below_ratio
        return 1 - (1 - (share - self._tie) / self._total) * self._above_ratio

    def below(self, first: int, last: int) -> Floats:
        """Returns `cumulative` of the whole numbers from one to another, both within ±LARGEST, (last − first + 1,)."""
        tables, range_ = self._tables, slice(first + LARGEST, last + LARGEST + 1)
        standardized = (_UPPER_EDGES[range_] - self._point) / self._scale
        if self._mirrored:
            standardized = -standardized
        share = self._shape.cumulative(standardized)
        if self._mirrored:
            share = 1 - share
        if tables.final:
            share += _FLOOR_BELOW[range_]
            below, above = share[: max(-first, 0)], share[max(-first, 0) :]
            below *= self._below_ratio / self._total
            # 1 − (1 − (share − tie) / total) · ratio
            above -= self._tie + self._total
            above *= self._above_ratio / self._total
            above += 1
        if last == LARGEST:
            share[-1] = 1.0
        result: Floats = share
        return result

    def _below_edge(self, edge: float) -> float:
        """Returns the share of the shape below an edge, before ties and the joint probability count."""
        standardized = (edge - self._point) / self._scale
        if self._mirrored:
            standardized = -standardized
        result = self._shape.share_below(standardized)
        return 1 - result if self._mirrored else result

    def _quantile(self, level: float) -> int:
        """Returns the least value with at least a level at or below it."""
        target, least, most = level - TOLERANCE, -LARGEST, LARGEST
        floors: Sequence[float] = _NO_FLOORS
        if self._tables.final:
            # The share of the shape, with the floor, that the target is.
            floors = FLOORS
            if target <= 1 - self._home:
                target, most = target / self._below_ratio * self._total, -1
            else:
                target, least = (1 - (1 - target) / self._above_ratio) * self._total + self._tie, 1
        level = 1 - target if self._mirrored else target
        # A mixture's quantile lies between those of its parts.
        parts = [self._value_at(each) for each in self._shape.inverses(level)]
        value, end = math.ceil(min(parts) - CLEAR), math.ceil(max(parts) + CLEAR)
        if INNER < level < 1 - INNER:
            most = max(min(most, end), least)
        value = min(max(value, least), most)
        if not INNER < level < 1 - INNER:  # the inverse does not know the tails
            while value > least and self._below_edge(value - 0.5) + floors[value + LARGEST - 1] >= target:
                value -= 1
        while value < most and self._below_edge(value + 0.5) + floors[value + LARGEST] < target:
            value += 1
        return value

    def _value_at(self, standardized: float) -> float:
        """Returns the real number of which the whole number above is the value of a standardised quantile."""
        return self._point + self._scale * (-standardized if self._mirrored else standardized) - 0.5


def check_level(level: float) -> None:
    """Raises ValueError unless a level is within the outermost of SHAPE_LEVELS."""
    if not LEVELS[0] - TOLERANCE <= level <= LEVELS[-1] + TOLERANCE:
        raise ValueError(f"level {level} is not in [{LEVELS[0]}, {LEVELS[-1]}]")


def _expit(log_odds: float) -> float:
    # Either form overflows on one side.
    if log_odds < 0:
        odds = math.exp(log_odds)
        return odds / (1 + odds)
    return 1 / (1 + math.exp(-log_odds))


def _within(probability: float, least: float) -> float:
    return least if probability < least else min(probability, 1 - least)
