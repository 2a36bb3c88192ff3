"""Distribution of the differential at both horizons from every minute, on whole numbers, around a point forecast.

Small tables, fitted on the training games (`dejavu_trainer.training.lattice`): a scale that follows pace, lead and
favourite (normalised conformal prediction: Papadopoulos, Gammerman & Vovk, 2008); the shape of the standardised
residuals of the linear models, late in a game by the size of the lead; and one win probability for all minutes, a
logistic regression, averaged with that of the distribution in log-odds. Before that, the distribution is pooled with
those of the other components; see `components.ensemble`.

The last step is conformal: the levels of this distribution are replaced by the ranks in it of the outcomes of the
calibration games, which neither models nor tables have seen. See `ranks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from dejavu_feed.live_inputs import MAX_TOTAL_POINTS
from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, MAX_DIFFERENTIAL, MAX_SLOTS, ROWS, Horizon
from dejavu_models.uncertainty.lattice.distribution import EDGES, VALUES, LatticeDistribution, from_cumulative
from dejavu_models.uncertainty.lattice.inputs import (
    PACE_TERMS,
    SCALE_TERMS,
    SHIFT_TERMS,
    WIN_TERMS,
    LiveColumns,
    LiveKind,
    pace_of,
    scale_terms,
    shift_terms,
    win_terms,
)
from dejavu_models.uncertainty.lattice.ranks import TAILS, calibrated, check_ranks
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS, check_log_scales, check_tables, cumulative, mixed

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
        ranks: (cases, 53), see `dejavu_models.uncertainty.lattice.ranks`.
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
        """Return the distributions of the linear models on n games, before the pool; arguments as of `distribution`."""
        live = self._used(live)
        row = ROWS[horizon, minute]
        pace = np.zeros(len(leads)) if live is None else pace_of(self.pace[row], live)
        # Not a product of matrices, whose rounding depends on the number of games.
        scales = np.exp((scale_terms(horizon, minute, leads, margins, pace) * self.scale[row]).sum(axis=1))
        return Base(self, horizon, minute, centers, leads, margins, live, pace, scales)

    def distribution(
        self,
        horizon: Horizon,
        minute: int,
        points: Floats,
        leads: Floats,
        margins: Floats,
        live: LiveColumns | None = None,
    ) -> LatticeDistribution:
        """Return the distributions of the differentials of n games at a horizon, if only the linear models count.

        Args:
            horizon: the horizon.
            minute: number of minutes played.
            points: (n,), point forecasts of the linear models, in points, with the shifts of the live inputs if they
                are used.
            leads: (n,), differentials after the minute, in points.
            margins: (n,), expected final differentials before tip-off, in points; 0 if unknown.
            live: the live inputs; required if and only if the model uses them.

        Raises:
            ValueError: if live inputs are missing, or of another kind.
        """
        base = self.base(horizon, minute, points, leads, margins, live)
        return base.finished(base.prediction.below)

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
