"""Distribution of the differential at both horizons from every minute, on whole numbers, around a point forecast.

Small tables, fitted on the training games (`dejavu_trainer.training.lattice`): a scale that follows pace, lead and
favourite (normalised conformal prediction: Papadopoulos, Gammerman & Vovk, 2008); the shape of the standardised
residuals of the linear models, late in a game by the size of the lead; and one win probability for all minutes, a
logistic regression, averaged with that of the distribution in log-odds. Before that, the distribution is pooled with
those of the other components; see `components.ensemble`.

The last step is conformal: the levels of this distribution are replaced by the ranks in it of the outcomes of the
calibration games, which neither models nor tables have seen. See `shapes`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from dejavu_feed.live_inputs import MAX_TOTAL_POINTS, POSSESSION_FROM
from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, MAX_DIFFERENTIAL, MAX_SLOTS, ROWS, Horizon
from dejavu_models.uncertainty.lattice.distribution import EDGES, VALUES, LatticeDistribution, from_cumulative
from dejavu_models.uncertainty.lattice.shapes import (
    SHAPE_LEVELS,
    TAILS,
    calibrated,
    check_log_scales,
    check_ranks,
    check_tables,
    cumulative,
    mixed,
)

PACE_TERMS: Final = 3
SHIFT_TERMS: Final = 2
SCALE_TERMS: Final = 6
WIN_TERMS: Final = 19

LATE: Final = 40
"""Minute from which the scale of the final margin also depends on how one-sided or close the game is."""

_LONGEST_SINCE: Final = 24.0
"""Longest possession, in seconds: an earlier score contains no information on the possession of the ball."""


class LiveKind(enum.IntEnum):
    """Live inputs that tables use; the value is stored in bundles."""

    NONE = 0
    SCORES = 1
    """Total points and last score."""
    POSSESSION = 2
    """Total points and possession, from minute POSSESSION_FROM on."""


COLUMNS: Final = {
    LiveKind.SCORES: ("total_points", "last_score_side", "last_score_seconds"),
    LiveKind.POSSESSION: ("total_points", "possession_side", "possession_shot_in_air"),
}
"""Columns of `dejavu_feed.live_inputs.COLUMNS` that tables of a kind use."""

BEST_FIRST: Final = (LiveKind.POSSESSION, LiveKind.SCORES)
"""The kinds with live inputs; a forecast uses the first one whose inputs are all known."""


@dataclass(frozen=True, eq=False, slots=True)
class LiveColumns:
    """The live inputs of n games that tables of a kind use, with one or more axes.

    Attributes:
        total_points: (n,), points of both teams after the minute.
        side: (n,), 1 the home team, −1 the away team, 0 neither: the side of the last score, or the one with the ball.
        phase: (n,), in [0, 1]: for a last score, the time since it as a share of the longest possession, at most 1; for
            a possession, 1 while a shot is in the air.
        kind: the kind of the tables.
    """

    total_points: Floats
    side: Floats
    phase: Floats
    kind: LiveKind = LiveKind.SCORES

    @classmethod
    def of(cls, kind: LiveKind, columns: Sequence[Floats] | Floats) -> LiveColumns:
        """Return the live inputs of a kind from its COLUMNS."""
        total_points, side, third = columns
        phase = np.minimum(third, _LONGEST_SINCE) / _LONGEST_SINCE if kind is LiveKind.SCORES else third
        return cls(total_points, side, phase, kind)

    def __getitem__(self, index: Any) -> LiveColumns:
        return LiveColumns(self.total_points[index], self.side[index], self.phase[index], self.kind)


def is_used(kind: LiveKind, minute: int) -> bool:
    """Return whether tables of a kind are used after a minute."""
    return kind is not LiveKind.POSSESSION or minute >= POSSESSION_FROM


def shift_terms(live: LiveColumns) -> Floats:
    """Return the terms that shift a point forecast, (n, SHIFT_TERMS): after a score, the other team has the ball."""
    return np.stack([live.side, live.side * live.phase], axis=1)


def scale_terms(horizon: Horizon, minute: int, leads: Floats, margins: Floats, pace: Floats) -> Floats:
    """Return the terms of the logarithm of the scale, (n, SCALE_TERMS).

    Args:
        horizon: the horizon.
        minute: number of minutes played.
        leads: (n,), differentials after the minute, in points.
        margins: (n,), expected final differentials before tip-off, in points; 0 if unknown.
        pace: (n,), see `pace_of`; 0 if unknown.
    """
    size = np.abs(leads)
    result = np.zeros((len(leads), SCALE_TERMS))
    result[:, 0] = 1.0
    result[:, 1] = pace
    result[:, 2] = size / 10
    result[:, 3] = np.abs(margins) / 10
    if horizon is Horizon.FINAL and minute >= LATE:
        result[:, 4] = np.maximum(size - 10, 0) / 10
        result[:, 5] = np.maximum(4 - size, 0) / 4
    return result


def pace_of(coefficients: Floats, live: LiveColumns) -> Floats:
    """Return the logarithm of the expected points to come, relative to those of an average game, (n,).

    Args:
        coefficients: (3,): regression coefficients of the points to come, a constant and the slope on the points so
            far; then the logarithm of the mean points to come.
        live: the inputs of n games.
    """
    to_come = coefficients[0] + coefficients[1] * live.total_points
    result: Floats = np.log(np.maximum(to_come, 1.0)) - coefficients[2]
    return result


def win_terms(minute: int, leads: Floats, margins: Floats, pace: Floats, live: LiveColumns | None) -> Floats:
    """Return the terms of the joint win probability, (n, WIN_TERMS).

    Lead and expected margin are in units of a random walk over the remaining time; their coefficients change smoothly
    over the game, and quickly in its last minutes. Without live inputs, the last four terms are 0.

    Args:
        minute: number of minutes played.
        leads: (n,), see `scale_terms`.
        margins: (n,), see `scale_terms`.
        pace: (n,), see `scale_terms`.
        live: the live inputs, if they are used.
    """
    left = (Horizon.FINAL.minutes - minute) / Horizon.FINAL.minutes
    root, late = math.sqrt(left + 0.005), math.exp(-(Horizon.FINAL.minutes - minute) / 1.5)
    walk, before = leads / (12 * root), margins * root / 12
    result = np.zeros((len(leads), WIN_TERMS))
    result[:, 0], result[:, 1] = 0.3, 0.3 * left
    for column, basis in enumerate((1.0, left, left**2, late)):
        result[:, 2 + column] = walk * basis
        result[:, 6 + column] = before * basis
    result[:, 10] = before * np.abs(walk)
    others = [walk * np.abs(walk) / 3, 2 * walk * pace]
    if live is not None:
        others += [live.side / root / 4, live.side * live.phase / root / 4]
    for column, each in enumerate(others):
        result[:, 11 + 2 * column], result[:, 12 + 2 * column] = each, each * late
    return result


CELLS_FROM: Final = 36
"""Minute from which the shape for the end of the game depends on the lead: the trailing team fouls, and a tie goes to
overtime."""

CENTERS: Final[Floats] = np.array([0.0, 3.0, 6.0, 10.0, 15.0, 21.0])
"""Sizes of the lead at which there is a shape, in points; between them shapes are mixed."""

JOINT_WEIGHT: Final = 0.5
"""Weight of the joint win probability, in log-odds; chosen on the seasons 2017 and 2018."""

LATE_MINUTES: Final = tuple(range(CELLS_FROM, MAX_SLOTS + 1))

FORMS: Final = {
    "shift": (len(CASES), SHIFT_TERMS),
    "pace": (len(CASES), PACE_TERMS),
    "scale": (len(CASES), SCALE_TERMS),
    "shapes": (len(CASES), len(SHAPE_LEVELS)),
    "late_shapes": (len(LATE_MINUTES), len(CENTERS), len(SHAPE_LEVELS)),
    "win": (WIN_TERMS,),
    "ranks": (len(CASES), len(TAILS)),
}
"""Shapes of the tables."""

TABLES: Final = tuple(FORMS)

# The logarithm of the scale is linear between these sizes of the lead, in the margin, and in the pace, which rises or
# falls with the points.
_LEADS, _MARGINS, _POINTS = (
    each.ravel()
    for each in np.meshgrid([0.0, 4.0, 10.0, MAX_DIFFERENTIAL], [0.0, MAX_DIFFERENTIAL], [0.0, MAX_TOTAL_POINTS])
)
_OUTERMOST: Final = LiveColumns(_POINTS, np.zeros_like(_POINTS), np.zeros_like(_POINTS))

MAX_SHIFT: Final = 20.0
"""Bound of the coefficients of a shift, in points; those of a bundle are within 2."""

SMALLEST: Final = 1e-6
"""Least win probability of either side."""

MAX_UNIT: Final = 100.0
"""Largest unit of standardised residuals, in points. The unit is the scale, which is below 20 points in any real game.
Tables of few games may give any scale to a game that never was; its forecast must not move with it."""


@dataclass(frozen=True, eq=False)
class MarginModel:
    """Tables of one kind of request: one source of the expected margin, and a kind of live inputs or none.

    Attributes:
        kind: the live inputs that it uses.
        shift: (cases, SHIFT_TERMS), coefficients of the shift of point forecasts, in points; 0 without live inputs.
        pace: (cases, PACE_TERMS), see `pace_of`; 0 without live inputs.
        scale: (cases, SCALE_TERMS), coefficients of the logarithms of the scales.
        shapes: (cases, 107), quantiles of the standardised residuals; unused where there are late shapes.
        late_shapes: (LATE_MINUTES, CENTERS, 107), of the final margin by the size of the lead, towards the leader.
        win: (WIN_TERMS,), coefficients of the joint win probability.
        ranks: (cases, 53), see `dejavu_models.uncertainty.lattice.shapes`.
        games: number of games behind the ranks.

    Raises:
        ValueError: if a shape is wrong, or a value is not finite or too large, or quantiles do not ascend, or a game
            that can be requested has a scale beyond MAX_LOG_SCALE.
    """

    kind: LiveKind
    shift: Floats
    pace: Floats
    scale: Floats
    shapes: Floats
    late_shapes: Floats
    win: Floats
    ranks: Floats
    games: int

    def __post_init__(self) -> None:
        check_tables(self, FORMS)
        if np.abs(self.shift).max() > MAX_SHIFT:
            raise ValueError(f"shift must be within ±{MAX_SHIFT:g} points")
        check_ranks(self.ranks)
        for (horizon, minute), row in ROWS.items():
            pace = pace_of(self.pace[row], _OUTERMOST) if self.kind else np.zeros_like(_LEADS)
            check_log_scales(scale_terms(horizon, minute, _LEADS, _MARGINS, pace) @ self.scale[row])

    def shifts(self, horizon: Horizon, minute: int, live: LiveColumns) -> Floats:
        """Return the shift of n point forecasts by live inputs, (n,), in points; 0 if they are not used."""
        row = ROWS[horizon, minute]
        result: Floats = shift_terms(live) @ self.shift[row]
        return result

    def base(
        self,
        horizon: Horizon,
        minute: int,
        centers: Floats,
        leads: Floats,
        margins: Floats,
        live: LiveColumns | None = None,
    ) -> Base:
        """Return the distributions of the linear models on n games, before the pool.

        Args:
            horizon: the horizon.
            minute: number of minutes played.
            centers: (n,), point forecasts of the linear models, in points, with the shifts of the live inputs if they
                are used.
            leads: (n,), differentials after the minute, in points.
            margins: (n,), expected final differentials before tip-off, in points; 0 if unknown.
            live: the live inputs; required if and only if the model uses them.

        Raises:
            ValueError: if live inputs are missing, or of another kind.
        """
        live = self._used(live)
        row = ROWS[horizon, minute]
        pace = np.zeros(len(leads)) if live is None else pace_of(self.pace[row], live)
        # Not a product of matrices, whose rounding depends on the number of games.
        scales = np.exp((scale_terms(horizon, minute, leads, margins, pace) * self.scale[row]).sum(axis=1))
        return Base(self, horizon, minute, centers, leads, margins, live, pace, scales)

    def shares(self, horizon: Horizon, minute: int, standardized: Floats, leads: Floats) -> Floats:
        """Return the shares of the shapes below standardized edges, (n, edges)."""
        if horizon is Horizon.FINAL and minute >= CELLS_FROM:
            return _mixed(self.late_shapes[minute - CELLS_FROM], standardized, leads)
        return cumulative(self.shapes[ROWS[horizon, minute]], standardized)

    def _used(self, live: LiveColumns | None) -> LiveColumns | None:
        if not self.kind:
            return None
        if live is None or live.kind is not self.kind:
            raise ValueError(f"these tables need live inputs of the kind {self.kind.name}")
        return live


class Distributions(NamedTuple):
    """What a component, or the pool of all, predicts for n games.

    Attributes:
        points: (n,), point forecasts, in points.
        below: (n, 162), probabilities of a differential below each of EDGES; non-decreasing in each row.
    """

    points: Floats
    below: Floats

    @classmethod
    def of(cls, below: Floats) -> Distributions:
        """Return the prediction with these probabilities, (n, 162), whose points are the means of the distributions."""
        return cls(from_cumulative(below, ties=True).mass @ VALUES, below)


@dataclass(frozen=True, eq=False, slots=True)
class Base:
    """The linear models' distributions of n games, to which other components may be relative.

    Attributes:
        model: the tables.
        horizon: the horizon that is forecast.
        minute: number of minutes played.
        centers: (n,), predictions of the linear models, in points.
        leads: (n,), differentials after the minute, in points.
        margins: (n,), expected final differentials before tip-off, in points; 0 if unknown.
        live: the live inputs that the tables use.
        pace: (n,), see `pace_of`; 0 without live inputs.
        scales: (n,), scales of the distributions, in points.
    """

    model: MarginModel
    horizon: Horizon
    minute: int
    centers: Floats
    leads: Floats
    margins: Floats
    live: LiveColumns | None
    pace: Floats
    scales: Floats

    @property
    def units(self) -> Floats:
        """(n,), units of standardised residuals, in points: an outcome is its center plus residual × unit."""
        return np.minimum(self.scales, MAX_UNIT)

    @property
    def distances(self) -> Floats:
        """(n, 162), distances of EDGES from the centers, in points."""
        return EDGES - self.centers[:, None]

    def shares(self, distances: Floats) -> Floats:
        """Return the probabilities of outcomes below distances from the centers, (n, k) in points: (n, k)."""
        return self.model.shares(self.horizon, self.minute, distances / self.scales[:, None], self.leads)

    @property
    def prediction(self) -> Distributions:
        """What the linear models predict."""
        return Distributions(self.centers, self.shares(self.distances))

    def finished(self, below: Floats) -> LatticeDistribution:
        """Return the distributions of a pool, (n, 162), with the joint win probability and the ranks."""
        own = from_cumulative(below, ties=self.horizon is not Horizon.FINAL)
        if self.horizon is Horizon.FINAL:
            joint = win_terms(self.minute, self.leads, self.margins, self.pace, self.live) @ self.model.win
            odds = (1 - JOINT_WEIGHT) * _log_odds(own.home_leads) + JOINT_WEIGHT * joint
            own = own.with_home_leads(np.clip(1 / (1 + np.exp(-odds)), SMALLEST, 1 - SMALLEST))
        ranks = self.model.ranks[ROWS[self.horizon, self.minute]]
        return LatticeDistribution(np.diff(calibrated(ranks, own.below), axis=1, prepend=0.0))


def _mixed(shapes: Floats, standardized: Floats, leads: Floats) -> Floats:
    """Return the shares below, (n, edges), for the sizes of the leads; mirrored where the away team leads."""
    away = leads < 0
    towards_leader = np.where(away[:, None], -standardized, standardized)
    result = mixed(shapes, CENTERS, towards_leader, np.abs(leads))
    return np.where(away[:, None], 1 - result, result)


def _log_odds(probabilities: Floats) -> Floats:
    bounded = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    result: Floats = np.log(bounded / (1 - bounded))
    return result
